"""Several episodes in one file, and actions at other images, are noticed: else rows are mixed without a word."""

import re

import numpy as np
import pytest
from helpers.foreign import check, play, skipped, write_png, write_v2

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import importing as imports
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.sources.formats import columns

GOOD = play(6, 3)


def run(tmp_path, rows=range(6), **more):
  """Import pictures and a table with these columns, whose rows are written in an order."""
  write_png(tmp_path / 'in' / 'ep', GOOD['image'])
  cells = {**more, 'action_0': GOOD['action'][:, 0], 'action_1': GOOD['action'][:, 1]}
  lines = [','.join(cells), *(','.join(str(x[t]) for x in cells.values()) for t in rows)]
  (tmp_path / 'in' / 'ep.csv').write_text('\n'.join(lines) + '\n')
  return imports.run(tmp_path / 'in', tmp_path / 'out')


FALSE = [False] * 6
GLUED = {
    'times': (dict(timestamp=[0, .1, .2, 0, .1, .2]), 'goes back from 0.2 to 0.0 in row 3 of 0 to 5 in its column'),
    'of other ends': (dict(time=[0, .1, .2, .3, 0.05, .15]), "0.05 in row 4 of 0 to 5 in its column 'time'"),
    'dates': (dict(datetime=[f'2024-01-01 00:00:0{x}' for x in (1, 2, 3, 1, 2, 3)]), '2024-01-01T00:00:03 to 2024'),
    'beside frames': (dict(frame=range(6), t=[0, 1, 2, 0, 1, 2]), "row 3 of 0 to 5 in its column 't'"),
    'numbers of episodes': (dict(episode=[0, 0, 0, 1, 1, 1]), "has 0, 1 in its column 'episode'"),
    'names of episodes': (dict(demo_name=[*'aaaabb']), "has a, b in its column 'demo_name'"),
    'done': (dict(done=[0, 0, 1, 0, 0, 1]), "has done in row 2 of 0 to 5"),
    'true': (dict(truncated=['False', 'False', 'True', '', 'False', 'True']), 'has truncated in row 2 of 0 to 5'),
    'in another order': (dict(frame=range(6), timeout=[0, 0, 1, 0, 0, 1]), 'has timeout in row 2 of 0 to 5'),
    'first': (dict(is_first=[1, 0, 0, 1, 0, 0]), 'has is_first in row 3 of 0 to 5')}


@pytest.mark.parametrize('kind', GLUED)
def test_tables_of_several_episodes_are_none(tmp_path, capsys, kind):
  more, words = GLUED[kind]
  with pytest.raises(UserError, match='no episode that can be imported'):
    run(tmp_path, rows=[5, 3, 4, 0, 1, 2] if kind == 'in another order' else range(6), **more)
  said = capsys.readouterr().out
  assert words in said and 'so several episodes; write one file for each' in said and 'ep.csv' in said


ONE = {
    'an episode': dict(episode=[3] * 6), 'one that is named once': dict(episode=['3', *[''] * 5]),
    'its end': dict(done=[0] * 5 + [1]), 'its start': dict(is_first=[1] + [0] * 5),
    'no end': dict(done=FALSE), 'a clock of whole seconds': dict(time=[1, 1, 1, 2, 2, 2]),
    'times beside frames': dict(frame=range(6), timestamp=[0, .1, .1, .2, .3, .4])}


@pytest.mark.parametrize('kind', ONE)
def test_tables_of_one_episode_are_read(tmp_path, kind):
  run(tmp_path, **ONE[kind])
  check(tmp_path / 'out', [GOOD], False, False)


@pytest.mark.parametrize('rows', [[3, 4, 5, 0, 1, 2], [5, 4, 3, 2, 1, 0], [2, 0, 5, 1, 4, 3]])
def test_rows_in_another_order_are_no_other_episode(tmp_path, rows):
  """Those that were turned, that run backwards, or that are mixed."""
  run(tmp_path, rows=rows, timestamp=[0, .1, .2, .3, .4, .5])
  check(tmp_path / 'out', [GOOD], False, False)


def test_the_cures_of_times_help(tmp_path, capsys):
  test_tables_of_several_episodes_are_none(tmp_path / 'a', capsys, 'times')
  run(tmp_path, timestamp=[0, 0, .1, .1, .2, .2])  # Sorted, it is one.
  check(tmp_path / 'out', [GOOD], False, False)


def test_a_column_of_the_user_tells_no_episodes(tmp_path):
  table = {'video': np.arange(3.0), 'done': np.ones(3), 'x': np.ones(3)}
  columns.single(table, 'a.csv', {'video', 'done'})
  with pytest.raises(UserError, match="0.0, 1.0, 2.0 in its column 'video'"):
    columns.single(table, 'a.csv', {'done'})


def ends(*rows):
  return np.isin(np.arange(9), rows)


@pytest.mark.parametrize('key, value, words', [
    ('done', ends(3, 8), 'done in row 3 of 0 to 8'), ('terminals', ends(5), 'terminals in row 5 of 0 to 8'),
    ('timeouts', 1.0 * ends(2)[:, None], 'timeouts in row 2 of 0 to 8'), ('first', ends(0, 4), 'first in row 4 of 0 to 8'),
    ('truncated', ends(8), None), ('terminated', ends(), None), ('first', ends(0), None), ('done', np.ones(4), None)])
def test_keys_of_arrays_that_tell_ends_by_their_names(tmp_path, key, value, words, capsys):
  write_v2(tmp_path / 'in' / 'a.npz', wrote := play(9), **{key: value})
  write_v2(tmp_path / 'in' / 'b.npz', wrote)
  imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', [wrote] * (2 - bool(words)))
  found = [re.search('a.npz has (.*), so several episodes; write one', x)[1] for x in skipped(tmp_path / 'out')]
  assert found == [words] * bool(words)


def test_terminals_are_lives_where_is_first_tells_episodes(tmp_path):
  write_v2(tmp_path / 'in' / 'a.npz', wrote := play(9), is_first=ends(0), terminals=ends(3, 8))
  imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', [wrote])


ALIGNED = 'Actions are taken as those that led to the image of their row'


def test_how_actions_are_aligned_is_said_and_a_first_one_of_any_file_that_is_not_zero(tmp_path, capsys):
  for name in 'abcd':
    wrote = play(6, 5)
    write_v2(tmp_path / 'in' / f'{name}.npz', wrote, **({'action': wrote['action']} if name in 'cd' else {}))
  imports.run(tmp_path / 'in', tmp_path / 'out')
  said = capsys.readouterr().out
  assert said.count(ALIGNED) == 1 and '--key action_at=image (in vid2act.sources: PATH#action_at=image)' in said
  assert said.count('Note: the first action in') == 1 and 'c.npz is not zero' in said


def test_actions_that_were_taken_at_their_image(tmp_path, capsys):
  wrote = play(6, 5)
  write_v2(tmp_path / 'in' / 'a.npz', wrote, action=wrote['action'])
  layout, = imports.run(tmp_path / 'in', tmp_path / 'out', keys={'action_at': 'image'})['columns']
  check(tmp_path / 'out', [wrote])
  said = capsys.readouterr().out
  assert 'Note' not in said and ALIGNED not in said and 'Actions are taken as those at the image of their row' in said
  assert 'action_at' not in layout['left']
  assert recordings.load_manifest(tmp_path / 'out')['imported']['key'] == {'action_at': 'image'}


@pytest.mark.parametrize('format, value', [('dreamerv2', 'row'), ('video', 'image')])
def test_where_actions_were_taken_is_asked_of_one_format_alone(tmp_path, format, value):
  write_v2(tmp_path / 'in' / 'a.npz', play())
  with pytest.raises(UserError, match=f'action_at is {value}.*image.*dreamerv2'):
    imports.run(tmp_path / 'in', tmp_path / 'out', format, keys={'action_at': value})
