"""Tables of actions as people's programs write them: every value at the image that it belongs to."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from helpers.foreign import check, play, write_png

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import importing as imports
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.sources.formats import columns, separated

GOOD = play(9, 3)
ROWS = [(float(x), float(y)) for x, y in GOOD['action']]


def text(head, row='{x},{y}', rows=ROWS, **more):
  lines = [row.format(x=x, y=y, t=t, r=GOOD['reward'][t], **more) for t, (x, y) in enumerate(rows)]
  return '\n'.join([head, *lines]) + '\n'


def run(tmp_path, content, **options):
  write_png(tmp_path / 'in' / 'ep', GOOD['image'])
  (tmp_path / 'in' / 'ep.csv').write_bytes(content.encode())
  return imports.run(tmp_path / 'in', tmp_path / 'out', **options)


READ = {
    'names in a comment': text('# action_0,action_1'),
    'comments before it': text('# of a robot, 2024\n\n# action_0 , action_1'),
    'a comment before the names': text('# of a robot\naction_0,action_1'),
    'blanks': text('action_0, action_1', '{x}, {y}'),
    'semicolons': text('action_0;action_1', '{x};{y}'),
    'decimal commas': text('action_0;action_1', '{x};{y}').replace('.', ','),
    'decimal commas without names': text('', '{x};{y}').replace('.', ','),
    'tabs': text('action_0\taction_1', '{x}\t{y}'),
    'blanks alone': text('', '{x:.18e} {y:.18e}'),
    'quotes': text('"action_0", "action_1"'),
    'mark of the order of bytes': '\ufeff' + text('action_0,action_1'),
    'ends of lines': text('action_0,action_1').replace('\n', '\r\n'),
    'a comma at the end': text('action_0,action_1,', '{x},{y},'),
    'a line for Excel': 'sep=;\n' + text('action_0;action_1', '{x};{y}'),
    'an index without a name': text(',action_0,action_1', '{t},{x},{y}'),
    'an index of pandas': text('Unnamed: 0,action_0,action_1', '{t},{x},{y}'),
    'an index and digits': text(',0,1', '{t},{x},{y}'),
    'two indices': text('Unnamed: 0.1,level_0,dx,dy', '{t},{t},{x},{y}'),
    'digits': text('0,1'), 'digits from one': text('1,2'),
    'other columns': text(
        'Time (s),Action X,Action Y,done,state_0,task', '{t},{x},{y},False,{y},push'),
    'an index and names that say nothing': text('__index_level_0__,dx,dy', '{t},{x},{y}'),
    'time and names that say nothing': text('timestamp_ms,dx,dy', '{t},{x},{y}')}


@pytest.mark.parametrize('kind', READ)
def test_only_actions_are_actions(tmp_path, kind):
  run(tmp_path, READ[kind])
  check(tmp_path / 'out', [GOOD], reward=False, success=False)


@pytest.mark.parametrize('head', ['# action_0,action_1', '# by x\n#  "action_0" , action_1'])
def test_names_in_comments_are_named(tmp_path, head):
  layout, = run(tmp_path, text(head))['columns']
  assert layout['taken']['action'] == ['action_0', 'action_1']


def test_names_with_blanks_are_named_without(tmp_path):
  run(tmp_path, text('dx , dy , reward ', '{x}, {y} ,{r}'), keys=dict(action='dx,dy'))
  check(tmp_path / 'out', [GOOD], success=False)


@pytest.mark.parametrize('name', ['reward', 'Reward', ' rewards'])
def test_capital_letters_and_blanks(tmp_path, name):
  run(tmp_path, text(f'ACTION_0,Action_1,{name}', '{x},{y},{r}'))
  check(tmp_path / 'out', [GOOD], success=False)


def test_digits_as_names_where_rows_are_steps_between(tmp_path):
  """With a row less than images the counts would fit as well if names were an action."""
  run(tmp_path, text('0,1', rows=ROWS[:-1]))
  check(tmp_path / 'out', [GOOD], reward=False, success=False)


SHUFFLED = np.random.default_rng(0).permutation(len(ROWS))
ORDERS = {
    'frame': range(9), 'frame_index': range(5, 14), 'step': range(0, 18, 2), 'Frame Number': range(9),
    'timestamp': [1e9 + x ** 1.5 for x in range(9)], 'time_s': [-1 + x / 7 for x in range(9)],
    'datetime': [f'2024-01-01 00:00:{x:02}' for x in range(9)],
    'image': [f'frame{x}.png' for x in range(9)], 'file_name': [f'ep/frame{x}' for x in range(9)]}


@pytest.mark.parametrize('name', ORDERS)
def test_rows_come_in_the_order_that_a_column_says(tmp_path, name, capsys):
  lines = [f'{ORDERS[name][t]},{ROWS[t][0]},{ROWS[t][1]},{GOOD["reward"][t]}' for t in SHUFFLED]
  run(tmp_path, '\n'.join([f'{name},action_0,action_1,reward', *lines]))
  check(tmp_path / 'out', [GOOD], success=False)
  assert f'order from {name}' in capsys.readouterr().out


REFUSED = {
    'dx,dy,reward': ('{x},{y},{t}', 'reward, which are known, and dx, dy, which may be'),
    'dx,dy,done': ('{x},{y},0', '--key action=dx,dy (in vid2act.sources: PATH#action=dx,dy).'),
    'dx,dy,state_x': ('{x},{y},{t}', '--key action=dx,dy (in vid2act.sources: PATH#action=dx,dy).'),
    'reward,Reward,action': ('{t},{t},{x}', 'each of which may be the reward'),
    'action,action': ('{x},{y}', "two columns called 'action'"),
    'frame,action': ('3,{x}', "has 3 twice in its column 'frame'"),
    'timestamp,action': ('{t},{x}', "empty cells in its column 'timestamp'"),
    'time,reward': ('{t},{x}', 'no column of actions'),
    '0': ('{x}', 'may be the names of its columns or a row'),
    '0,1': ('1,2', 'may be the names of its columns or a row')}


@pytest.mark.parametrize('head', REFUSED)
def test_what_may_be_actions_or_not_is_refused(tmp_path, head, capsys):
  row, words = REFUSED[head]
  with pytest.raises(UserError, match='no episode that can be imported'):
    run(tmp_path, text(head, row).replace('\n4,', '\n,' if 'timestamp' in head else '\n4,'))
  assert words in capsys.readouterr().out
  assert not (tmp_path / 'out' / recordings.MANIFEST).exists()


@pytest.mark.parametrize('gone, read', [(8, True), (0, True), (4, False)])
def test_a_row_that_is_missing_between_others(tmp_path, capsys, gone, read):
  """Without the last frame, or the first, rows are steps between; without another they are not."""
  rows = [f'{t},{t / 9}' for t in range(9) if t != gone]
  try:
    run(tmp_path, '\n'.join(['frame,action', *rows]))
    assert read and ('the first image is not: each row led to its image' in capsys.readouterr().out) == (gone == 0)
  except UserError:
    assert not read and 'no row between 3 and 5' in capsys.readouterr().out


def test_the_advice_is_one_that_helps(tmp_path, capsys):
  with pytest.raises(UserError):
    run(tmp_path, text('t,dx,dy,done,reward', '{t},{x},{y},0,{r}'))
  advice = re.search(r'such as (--key \S+) \(in vid2act.sources', capsys.readouterr().out).group(1)
  cli.main(['import', str(tmp_path / 'in'), '--out', str(tmp_path), '--name', 'out', *advice.split()])
  check(tmp_path / 'out', [GOOD], success=False)
  assert 'image from the pictures; action from dx, dy; reward from reward; order from t. Left: done ' \
      '(where episodes end, which need not be terminal).\n' in capsys.readouterr().out


def test_terminated_is_terminal_and_done_need_not_be(tmp_path):
  for i, name in enumerate(('terminated', 'done')):
    rows = text(f'action_0,action_1,{name}', '{x},{y},{t}')
    run(tmp_path / str(i), re.sub(r',(\d)\n', lambda x: f",{int(x[1] == '8')}\n", rows))
    _, (found,) = recordings.load(tmp_path / str(i) / 'out')
    assert found['is_terminal'][-1] == (name == 'terminated')


def test_an_index_in_parquet(tmp_path):
  write_png(tmp_path / 'in' / 'ep', GOOD['image'])
  data = dict(zip(('action_0', 'action_1'), GOOD['action'].T), __index_level_0__=np.arange(9))
  pa.parquet.write_table(pa.table(data), tmp_path / 'in' / 'ep.parquet')
  imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', [GOOD], reward=False, success=False)


@pytest.mark.parametrize('folders, values', [
    (('episode_000000', 'episode_000001'), (0, 1)), (('0', '1'), ('0.0', '1.0')),
    (('a', 'b'), ('a.mp4', 'b.mp4')), (('007', '008'), (7, 8)), (('e1', 'e2'), ('x/e1', 'x/e2')),
    (('run-3', 'run-11'), (3.0, 11.0)), (('demo_1', 'demo_2'), ('ep 1', 'ep 2')),
    (('a', 'b', 'later'), ('a', 'b'))])
@pytest.mark.parametrize('key', ['episode', 'episode_index'])
def test_one_table_for_all(tmp_path, folders, values, key):
  plays = [play(6, 0), play(7, 1)]
  rows = [f'{key},action_0,action_1']
  for x in folders:
    write_png(tmp_path / 'in' / x, plays[folders.index(x) % 2]['image'])
  for value, x in zip(values, plays):
    rows += [f'{value},{u},{v}' for u, v in x['action']]
  (tmp_path / 'in' / 'actions.csv').write_text('\n'.join(rows))
  manifest = imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', plays, reward=False, success=False)
  assert ['later' in x and 'has a, b; write later there' in x for x in manifest['skipped']] == (
      [True] * (len(folders) - 2))


@pytest.mark.parametrize('folders, values', [
    (('episode_1', 'episode_2'), (0, 1)), (('1', '2'), (0, 1)), (('a_0', 'b_0'), (0, 1)),
    (('x', 'y'), (0, 1)), (('5', '6'), ('0.5', '0.6'))])
def test_numbers_that_are_counted_otherwise_are_not_guessed_at(tmp_path, folders, values, capsys):
  rows = ['episode,action']
  for x, value in zip(folders, values):
    write_png(tmp_path / 'in' / x, play(3)['image'])
    rows += [f'{value},{t / 4}' for t in range(3)]
  (tmp_path / 'in' / 'actions.csv').write_text('\n'.join(rows))
  with pytest.raises(UserError, match='no episode'):
    imports.run(tmp_path / 'in', tmp_path / 'out')
  assert f'has {values[0]}, {values[1]}; write {folders[0]} there' in capsys.readouterr().out


def test_columns_in_another_order_are_not_mixed_up(tmp_path):
  for i in range(3):
    write_png(tmp_path / 'in' / f'e{i}', GOOD['image'])
    row = '{y},{x}' if i == 1 else '{x},{y}'
    head = row.replace('{', 'action_').replace('}', '')
    (tmp_path / 'in' / f'e{i}.csv').write_text(text(head, row))
  manifest = imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', [GOOD] * 2, reward=False, success=False)
  assert 'e1 has the actions action_y,action_x and most others action_x,action_y; give their ' \
      'order with --key action=action_x,action_y (in vid2act.sources: PATH#action=action_x,action_y).' in manifest['skipped'][0]
  imports.run(tmp_path / 'in', tmp_path / 'all', keys={'action': 'action_x,action_y'})
  check(tmp_path / 'all', [GOOD] * 3, reward=False, success=False)


def test_columns_of_other_names_are_not_mixed_up(tmp_path):
  for i, head in enumerate(('action_x,action_y', 'action_u,action_v', 'action_x,action_y')):
    write_png(tmp_path / 'in' / f'e{i}', GOOD['image'])
    (tmp_path / 'in' / f'e{i}.csv').write_text(text(head))
  manifest = imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', [GOOD] * 2, reward=False, success=False)
  assert manifest['skipped'][0].endswith('most others action_x,action_y; give them the same names.')


def test_meanings_of_names():
  for kind, names in dict(
      action=['action', 'action_0', 'Action.x', 'actions'], index=['', 'Unnamed: 0', 'index', 'ID'],
      frame=['frame', 'Frame Index', 'step', 'time_step', 'timestep', 'image_name'],
      time=['t', 'time', 'Timestamp', 'time [s]', 'timestamp_ns'],
      clock=['wall_time', 'action_time', 'date', 'remaining_time'],
      end=['done', 'is_first', 'truncated'], is_terminal=['is_terminal', 'terminated'],
      other=['next.reward', 'state_x', 'obs', 'observation.x', 'info/x', 'action_id', 'action_is_pad']).items():
    assert [columns.meaning(x) for x in names] == [kind] * len(names), kind
  assert {columns.meaning(x) for x in ('dx', 'x', 'gripper', '0', 'torque', 'tx')} == {None}


@pytest.mark.parametrize('content', ['', '\n\n', '# nothing\n', ','.join(map(str, range(20_000)))])
def test_a_table_without_rows_or_with_too_many_columns(tmp_path, content):
  (tmp_path / 'a.csv').write_text(content)
  with pytest.raises(ValueError, match='it has'):
    separated.read(tmp_path / 'a.csv')
