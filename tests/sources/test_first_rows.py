"""Tables without names: a first row in which a number is missing is a row, and none is lost."""

import pytest
from helpers.foreign import check, play, write_png

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import importing as imports
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.sources.formats import separated

GOOD = play(9, 3)
ROWS = [(float(x), float(y)) for x, y in GOOD['action']]
LAST = 8  # Of whose action nothing is read.


def run(tmp_path, lines):
  write_png(tmp_path / 'in' / 'ep', GOOD['image'])
  (tmp_path / 'in' / 'ep.csv').write_text('\n'.join([*lines, '']))
  return imports.run(tmp_path / 'in', tmp_path / 'out')


def table(tmp_path, *lines):
  (tmp_path / 'a.csv').write_text('\n'.join([*lines, '']))
  found = separated.read(tmp_path / 'a.csv')
  return {k: found[k].to_pylist() for k in found.column_names}


@pytest.mark.parametrize('row', ['{x},{y},', '{x};{y};', '{x}, {y},', '"{x}","{y}",', '{x},{y}'])
@pytest.mark.parametrize('head', [[], ['# action_0,action_1'], ['action_0,action_1,'], ['0,1,'], ['# in 2024']])
def test_a_delimiter_at_the_end_is_no_column(tmp_path, row, head):
  head = [x.replace(',', ';') if ';' in row else x for x in head]
  head = head if row.endswith((',', ';')) else [x.rstrip(',;') for x in head]
  found = table(tmp_path, *head, *(row.format(x=x, y=y) for x, y in ROWS))
  assert [*zip(*found.values())] == ROWS
  assert [*found] == ['f0', 'f1'] if not head or '2024' in head[0] else head[0].strip('# ,;').split(row[-1:])


@pytest.mark.parametrize('count', [9, 8])
@pytest.mark.parametrize('ends', [',', ''])
def test_every_action_is_at_its_picture(tmp_path, count, ends):
  """With as many rows as pictures, and with rows that are steps between two."""
  run(tmp_path, [f'{x},{y}{ends}' for x, y in ROWS[:count]])
  check(tmp_path / 'out', [GOOD], reward=False, success=False)


MISSING = ['', 'NA', 'NaN', 'nan', 'null', '#N/A', 'N/A']  # As Arrow reads them.
TEXT = ['None', '<NA>', '-', '?', 'Na', '#VALUE!', '#DIV/0!']  # And as it does not.


@pytest.mark.parametrize('place', [0, 1])
@pytest.mark.parametrize('cell', [*MISSING, *TEXT])
def test_a_number_that_is_missing_in_the_first_row(tmp_path, cell, place):
  first = [0.25, 0.5]
  first[place] = cell
  found = table(tmp_path, '{},{}'.format(*first), '0.125,0.75')
  known = None if cell in MISSING else cell
  assert [*found] == ['f0', 'f1']
  assert found[f'f{1 - place}'] == [first[1 - place], (0.75, 0.125)[place]]
  value, other = found[f'f{place}']
  assert (value is None or value != value) if known is None else (value, other) == (cell, ('0.125', '0.75')[place])


@pytest.mark.parametrize('first, words', [
    ('0.5,', 'values of action that are not finite; mend them'), ('0.5,NA', 'not finite'), (',0.5', 'not finite'),
    ('0.5,None', 'type object'), ('0.5,,', 'not finite')])
@pytest.mark.parametrize('count', [9, 8])
def test_episodes_that_lack_a_number_are_refused(tmp_path, capsys, first, words, count):
  lines = [f'{x},{y}' + ',' * (first.count(',') - 1) for x, y in ROWS[1:count]]
  with pytest.raises(UserError, match='no episode that can be imported'):
    run(tmp_path, [first, *lines])
  assert words in capsys.readouterr().out and not (tmp_path / 'out' / recordings.MANIFEST).exists()


@pytest.mark.parametrize('first', ['0,,', '0.1,,0.3', ',,', ',0.5,1', '1,NA,', '7,,0'])
def test_missing_numbers_between_others(tmp_path, first):
  """An index of which the first row has no actions is none of the names either."""
  found = table(tmp_path, first, '1,0.1,0.2', '2,0.3,0.4')
  assert [*found] == ['f0', 'f1', 'f2'] and {len(x) for x in found.values()} == {3}
  assert [x[0] for x in found.values()] == [float(x) if x.strip('NA') else None for x in first.split(',')]


def test_a_number_that_is_missing_in_the_last_row_alone(tmp_path):
  """It would be an action at the last image, and there is none."""
  run(tmp_path, [*(f'{x},{y}' for x, y in ROWS[:LAST]), '0.0,'])
  check(tmp_path / 'out', [GOOD], reward=False, success=False)


def test_a_column_that_is_not_empty_throughout_stays(tmp_path):
  lines = ['0.1,0.2,', *['0.3,0.4,'] * 1500, '0.5,0.6,0.7']
  assert table(tmp_path, *lines)['f2'] == [None] * 1501 + [0.7]
  found = table(tmp_path, '0,1,', '1,0.5,0.2')  # Neither is its first row of names.
  assert found == dict(f0=[0, 1], f1=[1.0, 0.5], f2=[None, 0.2])
  assert [*table(tmp_path, 'a,b,c', '0.1,0.2,', '0.3,0.4,')] == ['a', 'b', 'c']  # It has a name, so it is missing.


@pytest.mark.parametrize('first, rest', [
    ('0.0.png,0.1,0.2', '1.0.png,0.3,0.4'), ('2024-01-01 00:00,0.5,1', '2024-01-01 00:01,0.5,1'),
    ('left,0.5', 'right,0.25'), (',0,1', '0.5,0.3,0.2'), (',0,1', ',0.3,0.2'), (',0,1', '1,0.3,0.2')])
def test_what_may_be_a_row_or_names(tmp_path, first, rest):
  with pytest.raises(ValueError, match='may be the names of its columns or a row; give it a first line of names'):
    table(tmp_path, first, rest, rest)


@pytest.mark.parametrize('index', [range(9), range(0, 90, 10), 'abcdefghi'])
def test_an_index_and_digits_are_names(tmp_path, index):
  """Where actions are whole numbers too."""
  found = table(tmp_path, ',0,1', *(f'{i},{t % 2},0' for t, i in enumerate(index)))
  assert [*found] == ['Unnamed: 0', '0', '1'] and found['0'] == [t % 2 for t in range(9)]


def test_rows_of_truths_are_rows(tmp_path):
  assert table(tmp_path, 'True,false', 'false,true') == dict(f0=[True, False], f1=[False, True])


def test_faults_of_a_table_program_are_no_comment(tmp_path):
  assert table(tmp_path, '#N/A,0.5', '0.1,0.2') == dict(f0=[None, 0.1], f1=[0.5, 0.2])
  assert table(tmp_path, '#NA stands for nothing', '#a,b', '0.1,0.2') == dict(a=[0.1], b=[0.2])
  assert table(tmp_path, '# 0.1,NA', '0.1,0.2') == dict(f0=[0.1], f1=[0.2])  # A comment of values names nothing.
