"""The table of timings in bench/README.md is made from the results that are committed."""

import json
import subprocess
import sys

import pytest


@pytest.fixture(scope='module')
def results():
  from bench.timings import run
  return json.loads(run.RESULTS.read_text())


def test_readme_shows_the_results(results):
  from bench.timings import run
  readme = run.README.read_text()
  assert list(results) == [x for x in run.ROWS if x in results]
  assert not set(run.TIMINGS) - set(results)
  assert run.insert(readme, run.table(results)) == readme
  assert run.insert(readme, '') != readme


def test_readme_shows_how_cost_grows():
  from bench.timings import scale
  readme, found = scale.README.read_text(), json.loads(scale.RESULTS.read_text())
  assert found and set(found) <= {*scale.PARTS}
  assert scale.insert(readme, scale.table(found)) == readme


def test_readme_tells_the_speed_as_it_is(results):
  from bench.timings import run
  told = ' '.join(run.README.read_text().split(run.BEGIN)[0].split())
  alone = [f"{results[x]['method_alone']:.2f}" for x in ('overhead', 'overhead_48')]
  assert f'an update {alone[0]} times as long** with 6 sources and {alone[1]} times with 48' in told
  whole = f"{results['overhead']['figure']:.2f}".removeprefix('0')
  assert f"{whole} of stock's on one two-core machine (the table)" in told


def test_figures_follow_from_the_samples(results):
  from bench.timings import measure
  pairs = {
      'overhead': ('vid2act', 'stock'), 'overhead_48': ('vid2act', 'stock'),
      'acting': ('vid2act', 'stock'), 'pretrain': ('pretrain', 'stock'),
      'collect': ('1 workers', '2 workers'), 'startup': ('second', 'first')}
  for name, pair in pairs.items():
    found = results[name]
    assert measure.ratio(found['samples'], *pair) == pytest.approx(found['figure'], rel=0.02), name
    enough = found['figure'] <= found['aim']
    if name == 'collect':
      enough = found['figure'] >= found['aim']
    assert found['met'] == enough, name


def test_time_of_the_suite_counts_every_process(tmp_path):
  """A checkout's tests are here a child that works for a while, and one that nobody waits for."""
  work = "import time\nwhile time.process_time() < {}: pass"
  for name, seconds in (('before', 0.8), ('after', 0.2)):
    python = tmp_path / name / '.venv/bin/python'
    python.parent.mkdir(parents=True)
    python.write_text('\n'.join([
        '#!/bin/sh', f'{sys.executable} -c "{work.format(seconds)}"',
        f'({sys.executable} -c "{work.format(seconds)}" > /dev/null &)',
        'test -z "$(ls $HOME)" && touch $HOME/used && echo "== 3 passed, 1 skipped in 1.00s =="']))
    python.chmod(0o755)
  from bench.timings import run
  before = run.RESULTS.read_bytes(), run.README.read_bytes()
  done = subprocess.run(
      [sys.executable, '-m', 'bench.timings.suite', *map(tmp_path.joinpath, ('before', 'after')),
       '--print'],
      stdout=subprocess.PIPE, text=True, check=True, cwd=run.BENCH.parent)
  found = json.loads(done.stdout.splitlines()[-1])
  used = {k: v[0] for k, v in found['samples'].items()}
  assert 1.6 <= used['before'] < 2.6 and 0.4 <= used['after'] < used['before'] / 1.5
  assert found['figure'] == pytest.approx(used['after'] / used['before'], abs=1e-3)
  assert found['tests'] == dict.fromkeys(('before', 'after'), '3 passed, 1 skipped')
  assert (run.RESULTS.read_bytes(), run.README.read_bytes()) == before
  row = run.table({'suite': {**found, 'seconds': 9}})
  assert '| CPU time of all tests, 3cf70db / 660db1a; ' in row
  assert '; 3 passed, 1 skipped / 3 passed, 1 skipped | ' in row
