"""The table of timings in bench/README.md is made from the results that are committed."""

import json

import pytest


@pytest.fixture(scope='module')
def results():
  from bench.timings import run
  return json.loads(run.RESULTS.read_text())


def test_readme_shows_the_results(results):
  from bench.timings import run
  readme = run.README.read_text()
  assert list(results) == list(run.TIMINGS)
  assert run.insert(readme, run.table(results)) == readme
  assert run.insert(readme, '') != readme


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
