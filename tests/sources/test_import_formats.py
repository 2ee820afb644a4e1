"""Each format of other projects, from real files: a shift by one step would fail."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from helpers.foreign import (
  chain,
  check,
  play,
  skipped,
  table,
  write_gif,
  write_mp4,
  write_png,
  write_v2,
  write_v3,
)

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import formats
from vid2act_plugin.sources import importing as imports
from vid2act_plugin.sources import recording as recordings


def test_dreamerv2(tmp_path):
  plays = [play(seed=i) for i in range(3)]
  for i, x in enumerate(plays):
    write_v2(tmp_path / 'in' / f'2020010{i}T000000-abc-7.npz', x)
  cli.main(['import', str(tmp_path / 'in'), '--out', str(tmp_path), '--name', 'door'])
  manifest = check(tmp_path / 'door', plays)
  assert manifest['source'] == 'door' and manifest['imported']['format'] == 'dreamerv2'
  _, found = recordings.load(tmp_path / 'door')
  assert [x['is_terminal'].tolist() for x in found] == 3 * [6 * [False] + [True]]


def test_dreamerv2_in_the_order_of_numbers(tmp_path):
  for name in ('ep1', 'ep10', 'ep2', 'ep1b/ep10', 'ep1b/ep9'):
    write_v2(tmp_path / 'in' / f'{name}.npz', play())
  found = [name for name, _ in formats.episodes(tmp_path / 'in', '', {})[1]]
  assert found == ['ep1.npz', 'ep2.npz', 'ep10.npz', 'ep1b/ep9.npz', 'ep1b/ep10.npz']


def test_dreamerv2_other_names_and_a_first_action_that_is_not_zero(tmp_path, capsys):
  wrote = play()
  write_v2(tmp_path / 'in' / 'a.npz', wrote, image=None, pixels=wrote['image'], reward=None)
  with pytest.raises(UserError, match='no episode that can be imported'):
    imports.run(tmp_path / 'in', tmp_path / 'out')
  assert "no key 'image', only action, success, discount, pixels; name the right one with --key " \
      'image=THEIRS, or another format with --format (in vid2act.sources: FORMAT:PATH).' in capsys.readouterr().out
  imports.run(tmp_path / 'in', tmp_path / 'out', keys={'image': 'pixels'})
  check(tmp_path / 'out', [wrote], reward=False)
  assert 'Note' not in capsys.readouterr().out
  write_v2(tmp_path / 'in2' / 'a.npz', wrote, action=wrote['action'])
  imports.run(tmp_path / 'in2', tmp_path / 'out2')
  assert 'first action in' in capsys.readouterr().out


def ends(*rows):
  return np.isin(np.arange(9), rows)


@pytest.mark.parametrize('columns, keys, words', [
    (dict(terminals=ends(3, 6)), dict(is_terminal='terminals'), 'is_terminal in row 3 of 0 to 8'),
    (dict(terminals=1.0 * ends(7, 8)), dict(is_terminal='terminals'), 'is_terminal in row 7 of 0 to 8'),
    (dict(discount=1.0 - ends(0, 8)), {}, 'is_terminal in row 0 of 0 to 8'),
    (dict(is_last=ends(3, 6, 8)), {}, 'is_last in row 3 of 0 to 8'),
    (dict(is_last=ends(3, 8), is_first=ends(0)), {}, 'is_last in row 3 of 0 to 8'),
    (dict(timeouts=ends(5)[:, None]), dict(is_last='timeouts'), 'is_last in row 5 of 0 to 8'),
    (dict(is_first=ends(0, 4)), {}, 'is_first within it')])
def test_several_episodes_in_one_file_are_none(tmp_path, capsys, columns, keys, words):
  """Glued together they would be one that is not terminal."""
  wrote = play(9)
  write_v2(tmp_path / 'in' / 'a.npz', wrote, **{'discount': None, **columns})
  with pytest.raises(UserError, match='no episode that can be imported'):
    imports.run(tmp_path / 'in', tmp_path / 'out', keys=keys)
  said = capsys.readouterr().out
  assert f'a.npz has {words}, so several episodes; write one file for each.' in said


@pytest.mark.parametrize('last', [False, True])
def test_lives_that_are_lost_end_no_episode(tmp_path, capsys, last):
  """DreamerV2's replay of Atari marks them as terminal."""
  wrote = play(9)
  flags = dict(is_first=ends(0), is_last=ends(8), is_terminal=ends(3, 6, *[8] * last))
  for name, columns in (('in', flags), ('whole', dict(flags, is_terminal=ends(*[8] * last)))):
    write_v2(tmp_path / name / 'a.npz', wrote, **columns)
    imports.run(tmp_path / name, tmp_path / f'{name}-out')
    check(tmp_path / f'{name}-out', [wrote])
    assert recordings.load(tmp_path / f'{name}-out')[1][0]['is_terminal'].tolist() == [False] * 8 + [last]
    assert ('is_terminal is true in 2 rows before the last of an episode' in capsys.readouterr().out) == (name == 'in')


@pytest.mark.parametrize('rows, words', [((0, 4, 7), '3 rows'), ((1, 8), '1 row'), ((8,), None), ((), None)])
def test_rows_of_a_table_that_are_terminal_before_the_last(tmp_path, capsys, rows, words):
  wrote = play(9)
  write_png(tmp_path / 'in' / 'ep', wrote['image'])
  pa.csv.write_csv(table(wrote, terminal=1 * ends(*rows)), tmp_path / 'in' / 'ep.csv')
  imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', [wrote])
  assert recordings.load(tmp_path / 'out')[1][0]['is_terminal'][-1] == (8 in rows)
  said = capsys.readouterr().out
  assert f'is_terminal is true in {words} before the last' in said if words else 'is_terminal is true' not in said


def test_dreamerv3_replay_of_several_workers(tmp_path):
  streams = [[play(6, 0), play(9, 1), dict(play(4, 2), open=True)], [play(11, 3), play(3, 4)]]
  write_v3(tmp_path / 'run' / 'replay', streams)
  imports.run(tmp_path / 'run', tmp_path / 'out')
  wrote = [streams[0][0], streams[0][1], streams[1][0], streams[1][1]]
  wrote = wrote if recordings.load(tmp_path / 'out')[0]['episodes'][0]['steps'] == 6 else (
      wrote[2:] + wrote[:2])  # Both chains begin within a millisecond.
  manifest = check(tmp_path / 'out', wrote, success=False)
  assert manifest['imported']['format'] == 'dreamerv3'
  assert len(manifest['skipped']) == 1 and 'not recorded to its end' in manifest['skipped'][0]


def test_dreamerv3_without_its_first_chunk_and_started_anew(tmp_path):
  write_v3(tmp_path / 'in', [[play(8, 0), dict(play(6, 1), open=True), play(7, 2)]])
  chain(tmp_path / 'in')[0].unlink()
  imports.run(tmp_path / 'in', out := tmp_path / 'out')
  check(out, [play(6, 1), play(7, 2)], success=False)
  assert ['whose start is not there' in x for x in skipped(out)] == [True]


def test_policies_beyond_the_bounds_are_clipped_as_dreamerv3_does(tmp_path):
  write_v3(tmp_path / 'in', [[play(6, i, scale=3) for i in range(3)]])
  imports.run(tmp_path / 'in', tmp_path / 'out')
  for found, seed in zip(recordings.load(tmp_path / 'out')[1], range(3)):
    np.testing.assert_array_equal(found['action'], np.clip(play(6, seed, scale=3)['action'], -1, 1))


@pytest.mark.parametrize('film', ['mp4', 'gif', 'png'])
@pytest.mark.parametrize('suffix', ['csv', 'parquet', 'npy'])
def test_videos(tmp_path, film, suffix):
  plays = [play(12, i) for i in range(2)]  # Frame 10 comes after frame 9, not after frame 1.
  (tmp_path / 'in').mkdir()
  for i, x in enumerate(plays):
    path = tmp_path / 'in' / f'v{i}.{film}'.removesuffix('.png')
    {'mp4': write_mp4, 'gif': write_gif, 'png': write_png}[film](path, x['image'])
    actions = path / f'actions.{suffix}' if film == 'png' else path.with_suffix(f'.{suffix}')
    if suffix == 'npy':
      np.save(actions, x['action'])
    elif suffix == 'csv':
      pa.csv.write_csv(table(x, step=np.arange(12)), actions)
    else:
      lists = pa.FixedSizeListArray.from_arrays(x['action'].ravel(), 2)
      pa.parquet.write_table(pa.table(
          {'action': lists, 'reward': x['reward'], 'success': x['success'] > 0}), actions)
  imports.run(tmp_path / 'in', tmp_path / 'out')
  named = suffix != 'npy'
  manifest = check(tmp_path / 'out', plays, named, named, atol=0.03 if film == 'mp4' else 0.006)
  assert manifest['fps'] == (None if film == 'png' else 10)


def test_one_table_for_all_whose_rows_are_steps_between_images(tmp_path):
  plays = [play(6, 0), play(8, 1)]
  parts = []
  for i, x in enumerate(plays):
    write_png(tmp_path / 'in' / f'{i:03d}', x['image'])
    parts.append(pa.table({
        'episode': np.full(len(x['reward']) - 1, i), 'x': x['action'][:-1, 0],
        'y': x['action'][:-1, 1], **{k: x[k][1:] for k in ('reward', 'success')}}))
  pa.csv.write_csv(pa.concat_tables(parts), tmp_path / 'in' / 'actions.csv')
  imports.run(tmp_path / 'in', tmp_path / 'out', keys={'action': 'x,y'})
  wrote = [dict(x, reward=np.array([0, *x['reward'][1:]], np.float32)) for x in plays]
  check(tmp_path / 'out', wrote)


def test_columns_are_named_and_missing_ones_are_listed(tmp_path):
  good = play()
  write_png(tmp_path / 'in' / 'a', good['image'])
  data = table(good).rename_columns(['u', 'v', 'reward', 'won'])
  pa.parquet.write_table(data, tmp_path / 'in' / 'a.parquet')
  with pytest.raises(UserError, match='no episode that can be imported'):
    imports.run(tmp_path / 'in', tmp_path / 'out', keys={'action': 'w'})
  keys = {'action': 'u,v', 'success': 'won'}
  imports.run(tmp_path / 'in', tmp_path / 'out', keys=keys)
  check(tmp_path / 'out', [good])


def test_a_table_without_names(tmp_path):
  wrote = play()
  write_png(tmp_path / 'a', wrote['image'])
  np.savetxt(tmp_path / 'a' / 'actions.csv', wrote['action'], delimiter=',')
  imports.run(tmp_path / 'a', tmp_path / 'out')
  check(tmp_path / 'out', [wrote], reward=False, success=False)
