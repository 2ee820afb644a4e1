"""Statistics of several methods over paired seeds, and what is drawn and written of them."""

import csv
import gzip
import json
import pickle
import tracemalloc

import numpy as np
import pytest
import scipy.stats

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.studies import comparable, comparison, plot, study_page
from vid2act_plugin.training import scores

rng = np.random.default_rng(0)


def row(method, seed, ys, xs=(0, 10, 20), task='metaworld_door-lock'):
  return dict(task=task, method=method, seed=seed, xs=list(xs), ys=list(ys))


def pick(table, method, metric, task='all'):
  return next(
      x for x in table if (x['method'], x['metric'], x['task']) == (method, metric, task))


def test_mean_over_training_is_the_area_below_the_curve():
  assert comparison.mean_over(row('a', 0, [0, 10, 10]), 0, 20) == 7.5
  assert comparison.mean_over(row('a', 0, [0, 10, 10]), 5, 15) == pytest.approx(8.75)
  assert comparison.mean_over(row('a', 0, [4], [7]), 7, 7) == 4


def test_the_interquartile_mean_leaves_out_a_quarter_at_either_end():
  assert comparison.iqm(np.array([9., 1, 2, 3, 4, 5, 6, 100])) == 4.5
  assert comparison.iqm(np.array([1., 2, 9])) == 4
  assert comparison.iqm(np.array([1., 100]), np.array([5., 3])) == 4  # Over runs of all tasks.


def test_improvement_counts_pairs_and_halves_of_equal_ones():
  one, other, third = np.array([1., 3]), np.array([0., 1, 2]), np.array([5.])
  assert comparison.improvement(one, other) == pytest.approx(4.5 / 6)
  assert comparison.improvement(one, third, other, third) == pytest.approx((4.5 / 6 + 0.5) / 2)


@pytest.mark.parametrize('statistic, samples', [
    (comparison.mean, 2), (comparison.iqm, 2), (comparison.improvement, 4)])
def test_intervals_are_those_of_a_plain_loop(statistic, samples):
  """Seeds are drawn with replacement, of every task by itself."""
  local = np.random.default_rng(1)
  samples = [local.normal(3 * i, 1 + i, 5 + i) for i in range(samples)]
  found = [statistic(*(local.choice(x, len(x)) for x in samples)) for _ in range(1500)]
  low, high = comparison.interval(statistic, samples)
  wanted = np.percentile(found, [2.5, 97.5]).tolist()
  assert [float(low), float(high)] == pytest.approx(wanted, abs=0.25 * np.std(found))


def test_a_seed_alone_has_no_interval_but_the_other_method_s_seeds_have():
  assert comparison.interval(comparison.mean, [np.array([3.])]) == (3, 3)
  low, high = comparison.interval(comparison.improvement, [np.arange(5.), np.array([2.5])])
  assert low < comparison.improvement(np.arange(5.), np.array([2.5])) < high


def test_curves_have_an_interval_at_every_step():
  found = comparison.curves([row('a', s, [s, s + 1, s]) for s in range(4)])
  xs, iqm, low, high = found['a']
  assert xs.shape == iqm.shape == low.shape == high.shape == (comparison.POINTS,)
  assert iqm[0] == iqm[-1] == 1.5 and (low < iqm).all() and (iqm < high).all()
  np.testing.assert_allclose(high - low, high[0] - low[0])


def test_differences_are_paired_by_seed():
  """Seeds differ by far more than methods, and one of them is missing in one method."""
  base = [0, 100, 200, 300, 400]
  rows = [row('stock', s, [x] * 3) for s, x in enumerate(base)]
  rows += [row('ours', s, [x + 1 + s % 2] * 3) for s, x in enumerate(base) if s != 2]
  table = comparison.compare(rows, 'stock')
  found = pick(table, 'ours', 'paired_difference')
  assert found['mean'] == pytest.approx(1.5) and found['seeds'] == 4 and found['steps'] == 20
  assert [found['low'], found['high']] == pytest.approx([0.5813, 2.4187], abs=1e-4)
  assert pick(table, 'stock', 'score_auc')['mean'] == 200
  assert not any(x['method'] == 'stock' and 'difference' in x['metric'] for x in table)
  assert {x['task'] for x in table} == {'metaworld_door-lock', 'all'}


def test_runs_are_compared_up_to_the_step_that_all_reached():
  rows = [row('stock', 0, [0, 10]), row('ours', 0, [0, 10, 1000])]
  rows[0]['xs'] = rows[0]['xs'][:2]
  table = comparison.compare(rows, 'stock')
  assert pick(table, 'ours', 'final_score')['mean'] == 10
  assert pick(table, 'ours', 'paired_difference')['mean'] == 0
  assert pick(table, 'ours', 'probability_of_improvement')['mean'] == 0.5


def test_each_task_counts_the_same_over_all_however_many_seeds_it_has(capsys):
  rows = [row(m, s, [s + k] * 3, task=t) for k, m in enumerate(('stock', 'ours')) for t in ('a_b', 'c_d') for s in range(6)]
  for x in rows:
    x['ys'] = [y * (1 + (x['task'] == 'c_d')) for y in x['ys']]
  rows = [x for x in rows if (x['method'], x['task']) != ('ours', 'c_d') or x['seed'] in (1, 5)]
  table = comparison.compare(rows, 'stock')
  assert [pick(table, 'ours', 'score_auc', x)['seeds'] for x in ('a_b', 'c_d', 'all')] == [6, 2, 2]
  for metric in ('score_auc', 'paired_difference'):
    means = [pick(table, 'ours', metric, x)['mean'] for x in ('a_b', 'c_d', 'all')]
    assert means == ([3.5, 8, 5.75] if metric == 'score_auc' else [1, 2, 1.5])
  assert pick(table, 'ours', 'probability_of_improvement', 'all')['seeds'] == 2
  assert any('seeds: ours (2 on c_d)' in x for x in comparable.remarks(rows, 'score', 'stock'))
  # A method that a task lacks is not in the rows of all, and this is told.
  rows = [x for x in rows if (x['method'], x['task']) != ('ours', 'c_d')]
  table = comparison.compare(rows, 'stock')
  assert not any(x['method'] == 'ours' and x['task'] == 'all' for x in table)
  assert any('ours has no run on c_d, so' in x for x in comparable.remarks(rows, 'score', 'stock'))
  # And so is that it has few on another.
  rows = [x for x in rows if (x['method'], x['seed']) != ('ours', 0) and (x['method'] != 'ours' or x['seed'] < 4)]
  notes = comparable.remarks(rows, 'score', 'stock')
  assert any('ours has no run on c_d, so' in x for x in notes) and any('seeds: ours (3 on a_b)' in x for x in notes)


def test_bounds_of_differences_are_student_s():
  local = np.random.default_rng(2)
  one, other = local.normal(1, 1, 5), local.normal(3, 2, 3)
  wanted = scipy.stats.ttest_1samp(one, 0).confidence_interval()
  assert comparison.student(one) == pytest.approx((wanted.low, wanted.high))
  # A mean of two means is half the difference of one and the other's negative, which Welch's test bounds.
  wanted = scipy.stats.ttest_ind(one, -other, equal_var=False).confidence_interval()
  assert comparison.student(one, other) == pytest.approx((wanted.low / 2, wanted.high / 2))
  assert comparison.student(one, np.zeros(2)) == pytest.approx(np.array(comparison.student(one)) / 2)
  for alike in ((np.full(5, .1),), (np.ones(3), np.zeros(2)), (one, np.ones(1))):
    assert np.isnan(comparison.student(*alike)).all()  # They do not tell how far they spread.


def test_one_pair_has_no_interval_and_no_verdict(tmp_path, capsys):
  rows = [row(m, 0, [k] * 3) for k, m in enumerate(('stock', 'ours'))]
  scores.save(tmp_path / 'runs/scores/score.json.gz', rows)
  cli.main(['plot', str(tmp_path / 'runs'), '--out', str(tmp_path / 'out')])
  assert '| paired_difference | 1 | 1 |  | 1 | 20 |' in capsys.readouterr().out
  lead = [*study_page.content(tmp_path / 'runs')['lead']]
  assert any(x.startswith('ours: +1, of one pair in a task, or of') for x in lead) and not any('more than' in x for x in lead)


def test_a_better_method_has_an_interval_above_zero_and_an_equal_one_has_not():
  noise = rng.normal(size=(3, 6))
  rows = [row(m, s, [shift + noise[i, s]] * 3) for i, (m, shift) in enumerate(
      (('stock', 0), ('equal', 0), ('better', 5))) for s in range(6)]
  table = comparison.compare(rows, 'stock')
  equal, better = (pick(table, x, 'paired_difference') for x in ('equal', 'better'))
  assert equal['low'] < 0 < equal['high'] and better['low'] > 2
  assert pick(table, 'better', 'probability_of_improvement')['mean'] == 1


def test_intervals_are_the_same_each_time_and_leave_the_global_generator_alone():
  rows = [row(m, s, rng.normal(size=3)) for m in ('stock', 'ours') for s in range(7)]
  np.random.seed(3)
  wanted = np.random.rand()
  np.random.seed(3)
  first = comparison.compare(rows, 'stock')
  assert np.random.rand() == wanted
  assert comparison.compare(rows, 'stock') == first


@pytest.fixture
def runs(tmp_path):
  """Two methods with two seeds, each in its logdir, and a joined file of the same beside them."""
  rows = [row(m, s, [0, 5 + s, 10 + k]) for k, m in enumerate(('stock', 'vid2act')) for s in (0, 1)]
  for x in rows:
    scores.save(tmp_path / 'runs' / x['method'] / str(x['seed']) / 'scores' / 'score.json.gz', [x])
  scores.save(tmp_path / 'runs' / 'results' / 'scores' / 'score.json.gz', rows)
  return tmp_path / 'runs'


def test_plot_writes_table_csv_and_picture(runs, tmp_path, capsys):
  cli.main(['plot', str(runs), '--out', str(tmp_path / 'out')])
  text = capsys.readouterr().out
  with open(tmp_path / 'out' / 'comparison.csv') as file:
    table = list(csv.DictReader(file))
  assert set(table[0]) == set(comparison.COLUMNS)
  assert {x['metric'] for x in table} == {
      'score_auc', 'final_score', 'paired_difference', 'probability_of_improvement'}
  found = pick(table, 'vid2act', 'paired_difference')
  assert float(found['mean']) == 0.25 and found['seeds'] == '2'
  assert (tmp_path / 'out' / 'comparison.png').stat().st_size > 5000
  assert '| all | vid2act | paired_difference | 0.25 |' in text
  assert 'fewer than 5 seeds: stock (2), vid2act (2)' in text


def test_published_curves(tmp_path):
  given = {'APV': {'metaworld_door_lock': np.array([[0, 0.5], [0.25, 1]])}}
  (tmp_path / 'apv.pkl').write_bytes(pickle.dumps(given))
  assert scores.reference(tmp_path / 'apv.pkl') == [
      dict(task='metaworld_door-lock', method='APV', seed=0, xs=[10000, 20000], ys=[0, 0.5]),
      dict(task='metaworld_door-lock', method='APV', seed=1, xs=[10000, 20000], ys=[0.25, 1])]
  scores.save(tmp_path / 'dmc.json.gz', [row('dreamerv3', 0, [1, 2, 3], task='dmc_walker_walk')])
  assert scores.reference(tmp_path / 'dmc.json.gz')[0]['task'] == 'dmcontrol_walker_walk'
  rows = [row('stock', s, [0, 1, 2]) for s in range(2)]
  plot.picture(tmp_path / 'with.png', rows, comparison.compare(rows, 'stock'), 'stock', 'score',
               scores.reference(tmp_path / 'apv.pkl'))
  plot.picture(tmp_path / 'without.png', rows, comparison.compare(rows, 'stock'), 'stock', 'score')
  assert (tmp_path / 'with.png').read_bytes() != (tmp_path / 'without.png').read_bytes()


class Evil:

  def __reduce__(self):
    return print, ('executed',)


def test_published_curves_execute_nothing(tmp_path, capsys):
  path = tmp_path / 'evil.pkl'
  path.write_bytes(pickle.dumps({'APV': Evil()}))
  with pytest.raises(UserError, match='evil.pkl'):
    scores.reference(path)
  assert 'executed' not in capsys.readouterr().out


@pytest.mark.parametrize('rows, words', [
    ('{', ('JSON',)), ([dict(task='a')], ('xs',)), ([row('a', 0, [1, 2], [5, 5])], ('do not grow',)),
    ([row('a', 0, [1], [5, 6])], ('not as many',))], ids=['json', 'keys', 'order', 'lengths'])
def test_spoilt_score_files(tmp_path, rows, words):
  content = rows if isinstance(rows, str) else json.dumps(rows)
  (tmp_path / 'score.json.gz').write_bytes(gzip.compress(content.encode()))
  with pytest.raises(UserError) as error:
    scores.read([tmp_path])
  assert all(x in str(error.value) for x in (*words, 'score.json.gz', 'cannot be read'))


def test_a_score_file_that_is_no_gzip(tmp_path):
  (tmp_path / 'score.json.gz').write_bytes(b'none')
  with pytest.raises(UserError, match='score.json.gz cannot be read'):
    scores.read([tmp_path])


def test_two_different_runs_of_one_name(runs, tmp_path):
  scores.save(tmp_path / 'other' / 'score.json.gz', [row('stock', 0, [1, 2, 3])])
  with pytest.raises(UserError, match='different runs of the method .stock. with the seed 0'):
    scores.read([runs, tmp_path / 'other'])


def test_intervals_of_many_seeds_take_little_memory(monkeypatch):
  monkeypatch.setattr(comparison, 'REPS', 1000)
  tracemalloc.start()
  try:
    comparison.interval(comparison.improvement, [np.arange(200.), np.arange(200.)])
    assert tracemalloc.get_traced_memory()[1] < 5e8
  finally:
    tracemalloc.stop()
