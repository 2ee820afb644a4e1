"""Runs of DreamerV3 itself, runs with gaps, and published curves of another unit, on one axis."""

import gzip
import json
import pickle

import numpy as np
import pytest

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.studies import comparable, comparison, report
from vid2act_plugin.training import scores

NAN = float('nan')


@pytest.fixture
def plot(tmp_path, capsys, monkeypatch):
  """Return a function that plots tmp_path/runs and returns the output."""
  monkeypatch.setattr(comparison, 'REPS', 50)
  def fn(*args):
    cli.main(['plot', str(tmp_path / 'runs'), '--out', str(tmp_path / 'out'), *map(str, args)])
    return capsys.readouterr().out
  return fn


def upstream(folder, config='task: dmc_walker_walk\nseed: 3\nmethod: name\n', log='metrics.jsonl'):
  """Write the logdir of a run of DreamerV3 itself."""
  folder.mkdir(parents=True)
  (folder / 'config.yaml').write_text(config, encoding='utf-8')
  (folder / log).write_text(''.join(
      json.dumps({'step': 10 * i, 'episode/score': float(i)}) + '\n' for i in range(5)))
  return folder


def row(method='stock', seed=0, ys=(1, 2, 3), task='metaworld_door-lock', **more):
  return dict(task=task, method=method, seed=seed, xs=[0, 10, 20], ys=list(ys), **more)


def ours(folder, rows, metric='score'):
  scores.save(folder / f'{metric}.json.gz', rows)


@pytest.mark.parametrize('config, log, found', [
    ('task: dmc_walker_walk\nseed: 3\nmethod: name\n', 'metrics.jsonl', ('dreamerv3', 3)),
    ('task: dmc_walker_walk\nseed: 0\nmethod: mine\n', 'scores.jsonl', ('mine', 0)),
    ('task: dmc_walker_walk\nagent: {typ: other}\n', 'scores.jsonl', ('other', 0)),
    ('task: dmc_walker_walk\nmethod: 方法\n', 'metrics.jsonl', ('方法', 0))])
def test_a_logdir_of_dreamerv3_is_read(tmp_path, config, log, found):
  upstream(tmp_path / 'a/b', config, log)
  rows = scores.read([tmp_path])
  assert list(rows) == ['train_score']
  assert rows['train_score'] == [dict(
      task='dmcontrol_walker_walk', method=found[0], seed=found[1], xs=[0, 10, 20, 30, 40],
      ys=[0, 1, 2, 3, 4])]


@pytest.mark.parametrize('config', [
    'task: x_y\nscript: eval_only\n', 'task: [x', 'seed: 3\n', '- 1\n', 'task: x_y\nvid2act: {cache: x}\n', ''])
def test_what_is_no_such_run_is_left_alone(tmp_path, config):
  """Runs of ours that have not ended, and settings of anything else."""
  upstream(tmp_path / 'a', config)
  assert scores.read([tmp_path]) == {}


@pytest.mark.parametrize('every, found', [('0', ['train_score']), ('0.0', ['train_score']), ('0.5', []), ('20', [])])
def test_a_run_by_dreamerv3_s_scripts_is_read_where_it_knows_us_as_well(tmp_path, every, found):
  config = f'task: metaworld_door-lock\nseed: 3\nmethod: stock\nrun:\n  eval_every: {every}\nvid2act: {{cache: x}}\n'
  rows = scores.read([upstream(tmp_path / 'a', config)])
  assert list(rows) == found and all(x['method'] == 'stock' for x in rows.get('train_score', ()))


def test_a_run_with_score_files_counts_once(tmp_path):
  folder = upstream(tmp_path / 'a')
  ours(folder / 'scores', [row()])
  assert list(scores.read([tmp_path])) == ['score']


def test_seeds_that_are_none_are_one_sentence(tmp_path):
  upstream(tmp_path / 'a', 'task: x_y\nseed: some\n')
  with pytest.raises(UserError, match='The run .*a cannot be read .*seed is no whole number'):
    scores.read([tmp_path])


def test_runs_of_dreamerv3_are_plotted(plot, tmp_path):
  for seed in range(2):
    upstream(tmp_path / f'runs/{seed}', f'task: dmc_walker_walk\nseed: {seed}\n')
  text = plot()
  assert '| dmcontrol_walker_walk | dreamerv3 | train_score_auc | 2 |' in text
  assert 'train_score is of training episodes' in text
  with pytest.raises(UserError, match='metric score .*train_score alone'):
    plot('--metric', 'score')


def test_runs_without_the_metric_are_named(plot, tmp_path):
  upstream(tmp_path / 'runs/a', 'task: metaworld_door_lock\nseed: 0\nmethod: theirs\n')
  ours(tmp_path / 'runs/b', [row()])
  ours(tmp_path / 'runs/b', [row()], 'train_score')
  text = plot()
  assert 'without score, and so left out: 1 run; the first is theirs with the seed 0' in text
  text = plot('--metric', 'train_score')
  assert 'left out; the first' not in text


def test_the_policy_alone_where_nobody_else_acts_is_the_agent(plot, tmp_path):
  ours(tmp_path / 'runs', [row(seed=s) for s in range(2)], 'success_any')
  assert 'policy_success_any_auc | 2 |' in plot('--metric', 'policy_success_any')
  with pytest.raises(UserError, match='metric policy_score below .*; there are success_any. Finished runs'):
    plot('--metric', 'policy_score')


def test_methods_without_a_common_seed_are_told(plot, tmp_path):
  rows = [row(m, s, (s, s, k), t) for k, m in enumerate(('stock', 'mine')) for s in range(4) for t in ('a_b', 'c_d')]
  kept = lambda x: x['task'] == 'c_d' or (x['seed'] < 2) == (x['method'] == 'stock')
  ours(tmp_path / 'runs', list(filter(kept, rows)))
  assert 'Note: mine and stock have no seed in common on a_b, so that no difference is told there.' in plot()
  ours(tmp_path / 'runs', rows)
  assert 'in common' not in plot()


@pytest.mark.parametrize('gaps', [(NAN, 5, 5), (5, NAN, 5), (5, 5, NAN), (NAN, NAN, 5)])
def test_a_gap_in_one_run_is_no_loss(plot, tmp_path, gaps):
  """Better wherever it has a value, it is better."""
  ours(tmp_path / 'runs', [
      *[row(seed=s, ys=(0, 0, 0)) for s in range(3)], *[row('mine', s, (5, 5, 5)) for s in range(2)],
      row('mine', 2, gaps)])
  text = plot()
  assert '| all | mine | probability_of_improvement | 1 |' in text
  assert '| all | mine | paired_difference | 5 |' in text


RATES = {'APV': {'metaworld_door_lock': np.array([[0, 0.5], [0.25, 1]])}}


@pytest.mark.parametrize('name, content, metric, cure', [
    ('apv.pkl', RATES, 'score', 'success_any'),
    ('apv.pkl', RATES, 'length', 'success_any'),
    ('rates.json.gz', [row('x', ys=(0, 0.5, 1))], 'score', 'success_any'),
    ('success_last.json.gz', [row('x', ys=(0, 0, 0.7))], 'success_any', 'success_last'),
    ('success_any.json.gz', [row('x', ys=(0, 0, 70))], 'policy_score', 'success_any'),
    ('policy_success_any.json.gz', [row('x', ys=(0, 0, 1))], 'policy_score', 'success_any'),
    ('score.json.gz', [row('x', ys=(0, 0.5, 1))], 'success_any', 'score'),
    ('train_score.json.gz', [row('x', ys=(0, 0.5, 1))], 'policy_success_any', 'score'),
    ('x.json.gz', [row('x', ys=(0, 50, 900))], 'success_any', 'score')])
def test_a_reference_of_another_metric_is_refused(plot, tmp_path, name, content, metric, cure):
  """One of the same quantity is drawn, whether agent or policy acts, and in which episodes."""
  for kind in ('score', 'success_any', 'success_last', 'length', 'policy_score', 'policy_success_any'):
    ours(tmp_path / 'runs', [row(ys=(0, 0.5, 1))], kind)
  path = tmp_path / name
  path.write_bytes(pickle.dumps(content) if name.endswith('pkl') else
                   gzip.compress(json.dumps(content).encode()))
  with pytest.raises(UserError, match=f'of metaworld_door-lock, but the picture shows {metric}; add --metric {cure}, or'):
    plot('--metric', metric, '--reference', path)
  assert not (tmp_path / 'out').exists()
  for good in [cure, *[f'policy_{cure}'] * (cure != 'success_last')]:
    assert 'Wrote' in plot('--metric', good, '--reference', path)


def test_a_rate_above_all_is_refused(plot, tmp_path):
  ours(tmp_path / 'runs', [row()], 'success_any')
  path = tmp_path / 'success_any.json.gz'
  path.write_bytes(gzip.compress(json.dumps([row('x', ys=(0, 5, 700))]).encode()))
  with pytest.raises(UserError, match='success rate of 700 % on metaworld_door-lock; give it shares'):
    plot('--metric', 'success_any', '--reference', path)


def test_rates_in_percent_are_drawn_as_shares(tmp_path):
  given = {'APV': {'metaworld_door_lock': np.array([[0, 50.0], [25, 100]])}}
  path = tmp_path / 'apv.pkl'
  path.write_bytes(pickle.dumps(given))
  kinds, rows = scores.measured(path, scores.reference(path))
  assert kinds == ['success_any'] * 2 and [x['ys'] for x in rows] == [[0, 0.5], [0.25, 1]]
  path = tmp_path / 'success_any.json.gz'
  path.write_bytes(gzip.compress(json.dumps([row('x', ys=(0, 50, 100))]).encode()))
  assert scores.measured(path, scores.reference(path))[1][0]['ys'] == [0, 0.5, 1]
  path = tmp_path / 'apv.pkl'
  given['APV']['dmc_walker_walk'] = np.array([[300.0, 700]])
  path.write_bytes(pickle.dumps(given))
  kinds, rows = scores.measured(path, scores.reference(path))
  assert kinds == ['success_any', 'success_any', 'score'] and rows[2]['ys'] == [300, 700]


@pytest.mark.parametrize('methods, expected', [
    (('vid2act', 'stock'), 'stock'), (('vid2act', 'dreamerv3'), 'dreamerv3'), (('dreamerv3', 'stock'), 'stock'),
    (('vid2act', 'finetune'), 'stock')])
def test_runs_are_compared_with_stock_by_either_of_its_names(methods, expected, tmp_path, capsys):
  """DreamerV3 calls a run without --method dreamerv3."""
  for method in methods:
    scores.save(tmp_path / method / 'score.json.gz', [
        dict(task='metaworld_reach', method=method, seed=s, xs=[0, 10], ys=[s, s + 1]) for s in range(2)])
  cli.main(['plot', str(tmp_path), '--out', str(tmp_path / 'out')])
  text = (tmp_path / 'out/comparison.md').read_text()
  assert f'differences to {expected}' in text
  page = report.write(tmp_path).read_text(encoding='utf-8')
  assert f'Differences to {expected}' in page or expected not in methods


def test_nothing_to_plot(tmp_path):
  with pytest.raises(UserError, match='does not exist'):
    cli.main(['plot', str(tmp_path / 'none'), '--out', str(tmp_path / 'out')])
  with pytest.raises(UserError, match='no scores of the metric score'):
    cli.main(['plot', str(tmp_path), '--out', str(tmp_path / 'out')])
  assert not (tmp_path / 'out').exists()


def test_runs_of_several_versions_and_teachers_are_told():
  about = lambda **more: dict(method='ours', task='a_b', **more)
  assert comparable.mixed([about(code='1', teacher='x'), about(code='1'), about(teacher='')]) == []
  code, teacher = comparable.mixed([about(code='1', teacher='x'), about(code='2', teacher='y')])
  assert '2 versions of the code (1, 2)' in code and 'ours on a_b had 2 teachers' in teacher


def test_a_reference_that_is_none_is_not_called_a_checkpoint(tmp_path):
  (tmp_path / 'curves.pkl').write_bytes(b'nonsense')
  with pytest.raises(UserError, match=r"The file .*curves.pkl holds no curves .*; name a score file \(.json.gz\) or one of APV's"):
    scores.reference(tmp_path / 'curves.pkl')
