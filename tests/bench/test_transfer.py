"""The studies of transfer: their arithmetic, their fixed stream, and the results that are committed."""

import argparse
import csv
import gzip
import importlib
import itertools
import json
import re
import shutil
import types

import numpy as np
import pytest

from bench.transfer import study
from vid2act_plugin.sources import dataset
from vid2act_plugin.studies import comparison, matrix, plot
from vid2act_plugin.training import scores

RESULTS = study.RESULTS
README = RESULTS.parent / 'README.md'
rng = np.random.default_rng(0)


def test_reach_is_the_first_crossing():
  from bench.transfer import dynamics
  assert dynamics.reach([10, 20, 40], [3, 2, 1], 2.5) == 15
  assert dynamics.reach([10, 20, 40], [3, 2, 1], 1.5) == 30
  assert dynamics.reach([10, 20, 40], [3, 2, 1], 5) == 10
  assert dynamics.reach([10, 20, 40], [3, 1, 2], 1) == 20
  assert dynamics.reach([10, 20], [3, 2], 1) == float('inf')


def test_a_probe_explains_what_is_linear_and_nothing_else():
  from bench.transfer import why
  x, noise = rng.normal(size=(600, 5)), rng.normal(size=(600, 2))
  y = x[:, :2] @ [[1, 2], [0, 1]]
  assert why.explained(x[:300], y[:300], x[300:], y[300:]) > 0.99
  assert why.explained(x[:300], noise[:300], x[300:], noise[300:]) < 0.05


def test_ranks_of_weights():
  from bench.transfer import relevance
  assert relevance.spearman([0.5, 0.2, 0.2, 0.1, 0], [3, 2, 2, 1, 0]) == pytest.approx(1)
  assert relevance.spearman([0, 0.1, 0.2, 0.5], [3, 2, 1, 0]) == pytest.approx(-1)


def test_settings_of_a_study_are_typed_and_checked(tmp_path):
  args = types.SimpleNamespace(
      matrix=study.MATRIX, out=tmp_path, set=[study.setting('agent.vid2act.floor=0.25')])
  assert args.set == [('agent.vid2act.floor', 0.25)]
  assert study.setting('vid2act.sources=[a, b]') == ('vid2act.sources', ['a', 'b'])
  config = study.configured(args, matrix.Run('stock', 'metaworld_door-lock', 3))
  assert (config.agent.vid2act.floor, config.seed) == (0.25, 3)
  with pytest.raises(argparse.ArgumentTypeError, match="'floor' is not of the form"):
    study.setting('floor')
  with pytest.raises(argparse.ArgumentTypeError, match='not valid YAML'):
    study.setting('agent.vid2act.floor=[')
  args.set = [('agent.vid2act.flor', 1)]
  with pytest.raises(ValueError, match="no setting has the key 'agent.vid2act.flor'"):
    study.configured(args, matrix.Run('stock', 'metaworld_door-lock', 3))


def test_methods_of_a_study_are_its_own_or_the_matrix_s(monkeypatch, capsys, tmp_path):
  def ask(name, **kwargs):
    monkeypatch.setattr('sys.argv', ['study', '--out', str(tmp_path), '--methods', name])
    return study.arguments('', ['stock'], 'study', [1], **kwargs)
  assert ask('stock').methods == ['stock']
  args = ask('vid2act_six', more=True)
  config = study.configured(args, matrix.Run('vid2act_six', 'metaworld_door-lock', 0), **{
      'agent.vid2act': {'distill': False, 'guide': False, 'init': False}})
  assert (config.agent.vid2act.floor, [*config.vid2act.sources]) == (0.6, ['auto'])
  with pytest.raises(SystemExit):
    ask('vid2act_six')
  assert "'vid2act_six' is none of stock" in capsys.readouterr().err
  monkeypatch.setattr('sys.argv', ['study', '--out', str(tmp_path), '--methods'])
  with pytest.raises(SystemExit):
    study.arguments('', ['stock'], 'study', [1])
  assert f'{tmp_path}/scores is reported, but it does not exist' in capsys.readouterr().err


def test_every_method_sees_the_same_stream(configure, make_agent, tmp_path):
  from bench.transfer import dynamics, relevance
  config = configure(**{
      'task': 'metaworld_door-lock', 'vid2act.cache': str(tmp_path), 'env.metaworld.size': [16, 16]})
  data = dataset.Sources([relevance.noise_images(config)], seed=0)
  agent = make_agent(configure())
  drawn = [list(itertools.islice(iter(dynamics.stream(agent, data)), 3)) for _ in range(2)]
  for one, other in zip(*drawn):
    assert one.keys() == other.keys()
    for key in one:
      np.testing.assert_array_equal(one[key], other[key], key)
  assert (drawn[0][0]['image'] != drawn[0][1]['image']).any()
  assert drawn[0][0]['action'].shape[-1] == 3  # Of the task; padding is taken off.
  assert drawn[0][0]['is_first'][:, config.replay_context].all()
  wanted = data.sample(0, config.batch_size, config.batch_length + config.replay_context)
  np.testing.assert_array_equal(drawn[0][0]['reward'], wanted['reward'])


def test_studies_keep_the_results_of_other_methods(tmp_path):
  args = types.SimpleNamespace(matrix=study.MATRIX, out=tmp_path)
  row = lambda method, seed, y: dict(method=method, seed=seed, updates=[250, 500], kl=[y, y / 2])
  study.save(args, [row('stock', 0, 4), row('stock', 1, 6), row('finetune', 0, 3)], ['kl'])
  found = study.save(args, [row('stock', 1, 8), row('vid2act', 0, 2)], ['kl'])['kl']
  assert found == scores.load(tmp_path / 'scores' / 'kl.json.gz')
  assert {(x['method'], x['seed']): x['ys'][0] for x in found} == {
      ('stock', 0): 4, ('stock', 1): 8, ('finetune', 0): 3, ('vid2act', 0): 2}


def test_results_of_other_settings_are_not_taken_for_those_asked_for(tmp_path, monkeypatch, capsys):
  args = types.SimpleNamespace(matrix=study.MATRIX, out=tmp_path, one='stock/a_b/0', set=[('a', 1)], updates=[5])
  assert not study._made(args, args.one)
  study.write(args, kl=[1])
  assert study._made(args, args.one)
  made = lambda **other: study._made(types.SimpleNamespace(**{**vars(args), **other}), args.one)
  for other in (dict(updates=[5, 9]), dict(set=[('a', 2)]), dict(set=[]), dict(matrix=study.MATRIX.with_name('far.yaml'))):
    with pytest.raises(SystemExit, match='stock-a_b-0.json was made with .*; name another --out, or delete '):
      made(**other)
  plan = tmp_path / 'cpu.yaml'
  plan.write_text(study.MATRIX.read_text().replace('seeds: [0, ', 'seeds: [10, 0, ') + '# More.')
  assert made(matrix=plan)
  path = study.result(args, args.one)
  path.write_text('{}')  # As earlier versions left it.
  assert made(updates=[9])
  monkeypatch.setattr('sys.argv', ['why', '--set', 'a=1'])
  with pytest.raises(SystemExit):
    study.arguments('', ['stock'], 'why', [5])
  assert 'are the results without it; name another --out' in capsys.readouterr().err


def test_weights_of_other_methods_and_seeds_are_kept(tmp_path):
  from bench.transfer import relevance, study
  load = relevance.load
  row = lambda method, seed, x: dict(method=method, seed=seed, kinship=[1, 0], weights=[[[x, 1 - x]]])
  study.merge(tmp_path / 'w.json.gz', [row('graded', 0, 0.5), row('flat', 0, 0.75)], load)
  found = study.merge(tmp_path / 'w.json.gz', [row('flat', 0, 0.25), row('flat', 1, 1)], load)
  assert found == [row('flat', 0, 0.25), row('flat', 1, 1), row('graded', 0, 0.5)]
  assert found == study.merge(tmp_path / 'w.json.gz', [], load)


def test_committed_results_give_the_committed_table(tmp_path):
  plot.plot([RESULTS / 'control'], tmp_path)
  read = lambda path: list(csv.DictReader(path.read_text().splitlines()))
  before, now = read(RESULTS / 'comparison.csv'), read(tmp_path / 'comparison.csv')
  assert len(now) == len(before) > 0
  for old, new in zip(before, now):
    for key, value in old.items():
      if key in ('method', 'task', 'metric'):
        assert new[key] == value
      else:
        assert float(new[key]) == pytest.approx(float(value), rel=1e-3, abs=1e-3, nan_ok=True)
  methods = {x['method'] for x in now}
  assert {'stock', 'vid2act'} <= methods
  assert all(int(x['seeds']) >= 5 for x in now)


@pytest.mark.parametrize('name', ['dynamics', 'relevance'])
def test_committed_studies_are_reported_and_kept(monkeypatch, capsys, tmp_path, name):
  module, out = importlib.import_module(f'bench.transfer.{name}'), tmp_path / name
  shutil.copytree(RESULTS / name, out)
  (picture := next(out.glob('*.png'))).unlink()
  read = lambda: {x: json.loads(gzip.decompress(x.read_bytes())) for x in out.rglob('*.gz')}
  before = read()
  monkeypatch.setattr('sys.argv', [name, '--out', str(out), '--methods'])
  module.main()
  assert picture.exists()
  assert read() == before
  lines = capsys.readouterr().out.splitlines()
  rows = [x for x in README.read_text().splitlines() if x.startswith('|')]
  told = lambda method, values: any(
      x.startswith(f'| {method}') and f"| {' | '.join(values)} |" in x for x in rows)
  if name == 'relevance':
    for method, label in dict(graded='default', flat='flat').items():
      weights = [x.split()[-5][1:] for x in lines if x.startswith(f'{method}: ')]
      assert len(weights) == 5 and told(label, weights)
    assert json.loads(lines[-1])['graded']['figure'] >= 0.8
    mean, low, high = (f"{1e4 * json.loads(lines[-1])['irrelevant_minus_stock'][x]:.1f}e-4" for x in ('mean', 'low', 'high'))
    assert f"image error minus stock's is {mean} ({low} to {high}, mean" in README.read_text()
  else:
    means = [x for x in lines if x.startswith('openloop_image of')]
    assert len(means) >= 4
    for line in means:
      method, values = line.split(' of ')[1].split(',')[0], line.split(': ')[1].split(', ')
      assert told(method, [f'{1000 * float(x.split()[0]):.2f}' for x in values]), line


def test_the_readme_has_the_committed_comparison():
  found = {(x['task'], x['method'], x['metric']): x for x in csv.DictReader(
      (RESULTS / 'comparison.csv').read_text().splitlines())}
  tasks = {x: f'metaworld_{x}' for x in ('button-press-topdown', 'door-lock')} | {'both': 'all'}
  keys = {
      'score_auc': ('mean', 'iqm', 'low', 'high'), 'final_score': ('mean', 'iqm', 'low', 'high'),
      'paired_difference': ('mean', 'low', 'high'), 'probability_of_improvement': ('mean', 'low', 'high')}
  lines = README.read_text().splitlines()
  start = next(i for i, x in enumerate(lines) if x.startswith('| target | method | seeds |'))
  rows = list(itertools.takewhile(lambda x: x.startswith('|'), lines[start + 2:]))
  assert len(rows) == len({x[:2] for x in found})
  task = None
  for row in rows:
    target, method, seeds, *cells = (x.strip() for x in row.strip('|').split('|'))
    task = tasks.get(target, task)
    for (metric, names), cell in zip(keys.items(), cells):
      if method == 'stock' and not cell:
        continue
      have = found[task, method, metric]
      assert seeds == have['seeds']
      values = [float(x) for x in re.findall(r'-?[\d.]+', cell)]
      assert values == pytest.approx([float(have[x]) for x in names], rel=5e-3, abs=0.06), row


def test_the_readme_has_the_other_differences():
  rows = scores.load(RESULTS / 'control' / 'scores' / 'score.json.gz')
  tasks = 'all', 'metaworld_button-press-topdown', 'metaworld_door-lock'
  told = re.findall(r'^\| (\w+) minus (\w+) \|(.*)\|$', README.read_text(), re.M)
  assert len(told) == 3
  for method, against, cells in told:
    table = comparison.compare([x for x in rows if x['method'] in (method, against)], against)
    found = {x['task']: x for x in table if x['metric'] == 'paired_difference'}
    for task, cell in zip(tasks, cells.split('|'), strict=True):
      have = [found[task][x] for x in ('mean', 'low', 'high')]
      assert [float(x) for x in re.findall(r'-?[\d.]+', cell)] == pytest.approx(have, abs=0.06)


def test_the_verdict_repeats_the_tables():
  verdict, tables = README.read_text().split('## Control')
  rows = [x for x in tables.splitlines() if x.startswith('|')]
  cells = {x for row in rows for x in row.strip('| ').split(' | ')}
  cells |= set(re.findall(r'a difference of (-?[\d.]+ \([^()]*\))', ' '.join(tables.split())))
  verdict = re.sub(r'^\|.*', '', verdict, flags=re.M)  # For its own table see test_verdict.py.
  told = re.findall(r'-?[\d.]+\s+\([^()]*\d\s+to\s+[^()]*\)', verdict)
  assert len(told) == 4
  front = (README.parents[2] / 'README.md').read_text().split('## Does it help?')[1].split('## Start')[0]
  told += re.findall(r'-?[.\d]+ \([^()]*\d to [^()]*\)', front)
  assert len(told) == 20
  for text in told:
    cell = ' '.join(text.split()).replace('95 % interval ', '')
    assert cell in cells, cell


def test_the_teachers_of_the_studies_are_whole():
  """Their hash stands beside the results that were had with them."""
  from vid2act_plugin.teacher import bundle
  for folder in (RESULTS.parent / 'teachers').iterdir():
    found = bundle.load(folder)
    assert f"`{found.manifest['hash'][:16]}`" in README.read_text() and found.clones
