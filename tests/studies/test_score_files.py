"""Score files of others: read rightly, left out with a note, or refused in one sentence."""

import gzip
import json
import os
import pickle

import numpy as np
import pytest
from helpers.nasty import MEANS, NASTY, plain

from vid2act_plugin import cli
from vid2act_plugin.common import images
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.studies import comparable, comparison
from vid2act_plugin.training import curves, scores

NAN, FAR = float('nan'), 1e308


def row(method='stock', seed=0, ys=(1, 2, 3), xs=(0, 10, 20), task='a_b', **more):
  return dict(task=task, method=method, seed=seed, xs=xs, ys=ys, **more)


@pytest.fixture
def plot(tmp_path, capsys, monkeypatch):
  """Return a function that runs `vid2act plot` on rows and returns its output."""
  monkeypatch.setattr(comparison, 'REPS', 50)
  def fn(rows, *args):
    content = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
    (tmp_path / 'in').mkdir(exist_ok=True)
    (tmp_path / 'in' / 'score.json.gz').write_bytes(gzip.compress(content))
    cli.main(['plot', str(tmp_path / 'in'), '--out', str(tmp_path / 'out'), *map(str, args)])
    text = capsys.readouterr().out
    assert plain(text) and (tmp_path / 'out' / 'comparison.png').stat().st_size > 3000
    for name in ('comparison.md', 'comparison.csv'):
      assert plain((tmp_path / 'out' / name).read_text())
    assert len(list((tmp_path / 'out').iterdir())) == 3
    return text
  return fn


def test_more_than_a_score_file_may_hold_is_left_out(tmp_path, monkeypatch, capsys):
  """Or a study would write what it refuses to read."""
  monkeypatch.setattr(scores, 'VALUES', 40)
  path = tmp_path / 'scores/score.json.gz'
  for count in (1, 3, 3):  # A row of three points has eleven numbers.
    scores.replace(path, [row(seed=i) for i in range(count)])
    assert not path.exists() or len(scores.load(path)) == count
  assert path.exists()
  for _ in range(2):
    scores.replace(path, [row(seed=i) for i in range(4)])
  assert not path.exists() and capsys.readouterr().out.count('is left out, as it would have more than 40 numbers') == 1
  scores.replace(path, [])
  assert not path.exists() and not capsys.readouterr().out


FAULTS = {
    'no seed': ([{k: v for k, v in row().items() if k != 'seed'}], 'row 0: seed'),
    'seed None': ([row(seed=None)], 'seed is no whole number'),
    'seed list': ([row(seed=[1])], 'seed'), 'seed word': ([row(seed='one')], 'seed'),
    'seed half': ([row(), row(seed=1.5)], 'row 1: seed'), 'seed yes': ([row(seed=True)], 'seed'),
    'seed NaN': ([row(seed=NAN)], 'seed'), 'seed long': ([row(seed=10 ** 30)], 'seed'),
    'empty': ([row(ys=[], xs=[])], 'there are none'), 'flat': ([row(ys=1, xs=1)], 'there are none'),
    '3-d': ([row(ys=[[[1]]], xs=[[[1]]])], 'not as many'), 'ragged': ([row(ys=[1, [2]])], 'row 0'),
    '2-d': ([row(ys=[[1], [2]], xs=[[1], [2]])], 'not as many'),
    'words': ([row(ys=['a', 'b', 'c'])], 'row 0'), 'objects': ([row(ys=[{}, {}, {}])], 'row 0'),
    'long': ([row(ys=[10 ** 400] * 3)], 'row 0'),
    'back': ([row(xs=[-1, 0, 1])], 'do not grow'), 'far': ([row(xs=[0, 1, FAR])], 'do not grow'),
    'NaN steps': ([row(xs=[0, NAN, 1])], 'do not grow'),
    'no task': ([row(task='')], 'no name'), 'task': ([row(task=3)], 'no name'),
    'method': ([row(method=['x'])], 'no name'), 'name': ([row(method='x' * 10 ** 6)], 'no name'),
    'no rows': (dict(a=1), 'no list'), 'no row': ([3], 'row 0'), 'null': (None, 'no list'),
    'deep': (b'[' * 10 ** 5, 'RecursionError'), 'binary': (os.urandom(99), 'cannot be read'),
    'lists': (b'[' + b'[],' * 2 ** 18 + b'[]]', 'lists'),
    'numbers': (b'[' + b'0,' * (2 ** 22 + 1) + b'0]', 'numbers')}


@pytest.mark.parametrize('fault', FAULTS)
def test_what_is_no_score_file_is_one_sentence(fault, plot, tmp_path):
  rows, words = FAULTS[fault]
  with pytest.raises(UserError) as error:
    plot(rows)
  text = str(error.value)
  assert words in text and 'score.json.gz' in text and text.isprintable() and len(text) < 600
  assert not (tmp_path / 'out').exists()


def test_neither_a_pipe_nor_a_bomb_is_read(tmp_path):
  os.mkfifo(tmp_path / 'score.json.gz')
  with pytest.raises(UserError, match='no file|a pipe'):
    scores.read([tmp_path])
  (tmp_path / 'score.json.gz').unlink()
  (tmp_path / 'score.json.gz').write_bytes(gzip.compress(b' ' * (scores.LARGEST + 1), 1))
  with pytest.raises(UserError, match='bytes'):
    scores.read([tmp_path])


@pytest.mark.parametrize('given', [
    {'a': {'b': np.zeros((2, 2, 2))}}, {'a': {'b': np.zeros((1, 0))}}, {'a': {'b': 3}}, {'a': []},
    {3: {'b': np.zeros((1, 2))}}, [1], {'a': {'b': [['x', 'y']]}}])
def test_published_pickles_of_another_shape(given, tmp_path):
  (tmp_path / 'apv.pkl').write_bytes(pickle.dumps(given))
  with pytest.raises(UserError, match='apv.pkl holds no curves'):
    scores.reference(tmp_path / 'apv.pkl')


def test_seeds_are_numbers_however_they_are_written(plot):
  text = plot([row(seed='2'), row(seed=3.0), row('ours', 2, (2, 3, 4)), row('ours', 3, (2, 3, 4))])
  assert '| a_b | ours | paired_difference | 1 | 1 |  | 2 | 20 |' in text


def test_names_are_shown_as_they_are_written(plot):
  """No formula, no markup, nothing left out of the legend, no row of the table broken."""
  names = ['$\\frac$', '$a$b$', '_hidden', 'a|b', NASTY, '[red]', 'x' * 200]
  text = plot([row(x, s, task=f't_{MEANS}') for x in names for s in range(2)], '--against', '[red]')
  assert all(f'| {x} |' in text for x in ('$\\frac$', '_hidden', 'a\\|b', '[red]', 'x' * 200))
  assert {x.count(' | ') for x in text.splitlines() if x.startswith('| t_')} == {7}


def test_legends_and_titles_take_names_for_names(tmp_path):
  with images.figure(tmp_path / 'a.png', 1, 1) as (_, ax):
    for name in ('$\\frac$', '_a', '\\$b$', 'x' * 10 ** 5, NASTY):
      ax.plot([0, 1], [0, 1], label=images.label(name))
    ax.set_title(images.label('$\\frac$'))
    shown = [x.get_text() for x in ax.legend().get_texts()]
    drawn = [x._preprocess_math(x.get_text()) for x in ax.legend().get_texts()]
  assert len(shown) == 5 and not any(math for _, math in drawn) and all(map(plain, shown))
  assert [x for x, _ in drawn][:3] == ['$\\frac$', ' _a', '\\$b$'] and len(shown[3]) == 40


def test_values_that_are_no_numbers_are_left_out_with_a_word(plot):
  """Published curves of DreamerV3 begin with such values."""
  values = (NAN, 2, 3, 4), (1, None, FAR, 4), (NAN,) * 4
  text = plot([row(seed=i, ys=x, xs=(0, 10, 20, 30)) for i, x in enumerate(values)])
  note, = [x for x in text.splitlines() if 'no numbers' in x]
  assert note.startswith('Note: the curves of score leave out 7 values') and 'in 3 runs' in note
  assert '1 of these runs entirely' in note and 'stock with the seed 0 on a_b' in note
  assert '| a_b | stock | score_auc |' in text and 'nan' not in text
  with pytest.raises(UserError, match='nothing to compare below .*no numbers'):
    plot([row(ys=(NAN, NAN, NAN))])


def test_numbers_at_the_bounds_are_drawn(plot):
  text = plot([row(seed=s, ys=(-1e100, 0, 1e100), xs=(0, 1, 2 ** 53 - 1)) for s in range(3)])
  assert '1e+100' in text and 'Note: the curves' not in text


def test_tasks_without_a_common_step_are_left_out_with_a_word(plot):
  rows = [row(), row('ours', xs=(30, 40, 50)), row(task='c_d'), row('ours', task='c_d')]
  text = plot(rows)
  note, = [x for x in text.splitlines() if 'leave out a_b' in x]
  assert 'stock with the seed 0 ends at 20' in note and 'ours with the seed 0 begins at 30' in note
  assert '| a_b |' not in text and '| all | ours | paired_difference | 0 |' in text
  with pytest.raises(UserError, match='nothing to compare.*ends at 20'):
    plot(rows[:2])


def test_published_curves_are_held_to_the_same(plot, tmp_path):
  known = tmp_path / 'known.json.gz'
  others = [row('x', task=f'other_{i}') for i in range(200)]  # As many as there may be.
  scores.save(known, [row(NASTY, ys=(NAN, 1, 2)), row('x', 1, (0, 0, 0), (60, 70, 80), task='c_d'),
                      row('x', task='c_d'), *others])
  text = plot([row(), row(task='c_d')], '--reference', known)
  assert 'the published curves leave out 1 values' in text
  assert 'the published curves leave out c_d' in text


@pytest.mark.parametrize('key, count', [('method', 20_000), ('task', 101), ('seed', 201)])
def test_more_than_a_picture_can_show_is_refused_at_once(key, count, plot, tmp_path):
  rows = [row(**{key: i if key == 'seed' else f'n{i}'}) for i in range(count)]
  with pytest.raises(UserError, match=f'There are {count:,} {key}s in the curves of score, more'):
    plot(rows)
  assert not (tmp_path / 'out').exists()
  with pytest.raises(UserError, match='pairs of method and task'):
    comparable.comparable([row(f'{i}', task=f'{j}') for i in range(40) for j in range(40)], 'them')


def test_the_same_run_twice_counts_once_also_with_gaps(tmp_path):
  for name in ('one', 'two'):
    scores.save(tmp_path / name / 'score.json.gz', [row(ys=[NAN, 2, 3])])
  assert len(scores.read([tmp_path])['score']) == 1


def test_scores_of_a_long_run_take_no_time_that_grows_with_its_square(tmp_path):
  rows = [dict(step=i, **{'eval/score': float(i)}) for i in range(50_000)]
  rows[30_000:30_000] = [dict(step=20_000, **{'eval/score': -1.0})]
  (tmp_path / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, rows)))
  xs, ys = scores.points(curves.metrics(tmp_path), 'eval/score')
  assert len(xs) == 40_001 and xs[20_000:20_002] == [20_000, 30_000] and ys[20_000] == -1


def test_the_policy_alone_is_compared_where_nobody_else_acts(tmp_path, capsys):
  """Its evaluations are the others' whole ones; the metric that is asked for comes first."""
  found = {
      'score': [row(x, s) for x in ('stock', 'ours') for s in (0, 1)],
      'success_any': [row(x, s, [y + s / 10] * 3) for x, y in (('stock', .1), ('ours', .8)) for s in (0, 1)],
      'policy_success_any': [row('ours', s, [.5 + s / 5] * 3) for s in (0, 1)]}
  found['success_any'].append(row('ours', 2, [.3] * 3))  # No source could act in it.
  found['success_any'].append(row('stock', 2, [.3] * 3))
  for name, rows in found.items():
    scores.save(tmp_path / f'in/{name}.json.gz', rows)
  cli.main(['plot', str(tmp_path / 'in'), '--out', str(tmp_path / 'out'), '--metric', 'policy_success_any'])
  lines = [[y.strip() for y in x.split('|')[1:-1]] for x in capsys.readouterr().out.splitlines() if x.startswith('| all')]
  assert lines[0][2] == 'policy_success_any_auc'
  told = {(x[1], x[2]): float(x[3]) for x in lines}
  assert told['ours', 'paired_difference_policy_success_any'] == pytest.approx(.3)  # .4, .5 and 0.
  assert told['ours', 'paired_difference_success_any'] == pytest.approx(1.4 / 3, abs=.001)
