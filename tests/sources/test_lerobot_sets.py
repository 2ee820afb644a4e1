"""LeRobot sets as they really are: stale metadata, several tasks, split actions, empty rewards."""

import json

import numpy as np
import pyarrow as pa
import pytest
from helpers import cameras, foreign, lerobot
from helpers.plays import refuse

from vid2act_plugin import cli
from vid2act_plugin.sources import formats, importing
from vid2act_plugin.sources import recording as recordings

NAN = float('nan')


@pytest.fixture
def imported(tmp_path):
  """Return a function that imports tmp_path/set and returns the manifest and the episodes."""
  def fn(name='out', **options):
    importing.run(tmp_path / 'set', tmp_path / name, **options)
    return recordings.load(tmp_path / name)
  return fn


def same(found, plays):
  assert len(found) == len(plays)
  for ours, wrote in zip(found, plays):
    np.testing.assert_array_equal(ours['image'], wrote['image'])
    np.testing.assert_array_equal(ours['action'], wrote['action'])


@pytest.mark.parametrize('files', [(1, 1, 1), (0, 1, 2), (2, 0, 1), (5, 5, 0)])
def test_rows_are_found_wherever_they_lie_in_data(tmp_path, imported, files):
  """The metadata say file 0 for all, as the converter of older sets wrote it."""
  same(imported()[1] if (plays := lerobot.write(tmp_path / 'set', files=files)) else 0, plays)


def test_films_are_upright(tmp_path, imported):
  plays = lerobot.write(tmp_path / 'set', film=0.0)
  cameras.turn(tmp_path / f'set/videos/{lerobot.CAMERA}/0-0.mp4', (-1, 0, 0, -1))
  for ours, wrote in zip(imported()[1], plays):
    assert np.abs(ours['image'].astype(int) - wrote['image'][:, ::-1, ::-1]).mean() < 3


def test_one_episode_in_two_files(tmp_path, imported):
  plays = lerobot.write(tmp_path / 'set')
  file = tmp_path / 'set/data/chunk-000/file-000.parquet'
  whole = lerobot.pq.read_table(file)
  lerobot.table(file, whole.slice(0, 9))
  lerobot.table(file.with_name('file-001.parquet'), whole.slice(9))
  same(imported()[1], plays)


def test_an_episode_that_is_listed_twice_is_not_taken_twice(tmp_path, imported):
  plays = lerobot.write(tmp_path / 'set')
  file = next((tmp_path / 'set/meta/episodes').rglob('*.parquet'))
  listed = lerobot.pq.read_table(file)
  lerobot.table(file, pa.concat_tables([listed, *[listed.slice(1, 1)] * 40]))
  manifest, found = imported()
  same(found, [plays[0], *plays[2:]])
  assert [x for x in manifest['skipped'] if 'lists episode 1 41 times' in str(x)]


def test_files_that_a_system_puts_beside_others_are_no_data(tmp_path, imported):
  plays = lerobot.write(tmp_path / 'set')
  for place in ('data', 'meta/episodes'):
    for name in ('chunk-000/._file-000.parquet', '._chunk-000/file-000.parquet'):
      file = tmp_path / 'set' / place / name
      file.parent.mkdir(exist_ok=True)
      file.write_bytes(b'Mac OS X')
  manifest, found = imported()
  same(found, plays)
  assert not manifest['skipped']


def test_episodes_that_are_nowhere_and_files_that_are_torn(tmp_path, imported):
  plays = lerobot.write(tmp_path / 'set', files=(0, 1, 0))
  file = tmp_path / 'set/data/chunk-000/file-001.parquet'
  content = file.read_bytes()
  file.write_bytes(content[:-9])
  manifest, found = imported()
  same(found, plays[::2])
  assert 'file-001.parquet cannot be read' in manifest['skipped'][0]
  file.unlink()
  manifest, found = imported('other')
  assert 'no rows of episode 1' in manifest['skipped'][0]


@pytest.mark.parametrize('late, words', [
    (0.04, 'no image at'), (0.0002, 'no image at'), (-0.04, 'no image at'),
    (0.1, 'into the next episode'), (0.6, 'into the next episode'), (0.06, 'no image at')])
def test_images_of_another_time_are_refused_as_lerobot_refuses_them(tmp_path, late, words):
  lerobot.write(tmp_path / 'set', film=late)
  _, load = [*formats.episodes(tmp_path / 'set', '', {})[1]][1]
  refuse(lambda: [*load().frames], '0-0.mp4', words if late != 0.06 else '0-0.mp4')


@pytest.mark.parametrize('times', [
    [0] * 6, [0, .1, np.nan, .3, np.nan, .5], [0, .1, .1, .1, .4, .5], [.5, .4, .3, .2, .1, 0], [0, .1, .2, .3, .4, np.inf]])
def test_times_that_do_not_go_on_from_row_to_row_are_refused(tmp_path, times):
  """Images would be there twice."""
  lerobot.write(tmp_path / 'set', film=0, more={'timestamp': np.float32(times)})
  _, load = next(iter(formats.episodes(tmp_path / 'set', '', {})[1]))
  refuse(load, 'file-000.parquet', 'episode 0 do not go on from row to row')


@pytest.mark.parametrize('late', [0, 0.00005, -0.00005])
def test_images_within_the_tolerance_are_read(tmp_path, imported, late):
  plays = lerobot.write(tmp_path / 'set', film=late)
  for ours, wrote in zip(imported()[1], plays):
    near = np.abs(ours['image'].astype(int) - wrote['image'])
    assert near.mean() < 3


TASKS = ('open the door', '打开门', 'close it; now')


@pytest.mark.parametrize('task, wanted', [
    ('0', [0, 3]), ('打开门', [1, 4]), ('*', [0, 1, 2, 3, 4]), ('*o*', [0, 2, 3]),
    (('1', '2'), [1, 2, 4])])
def test_one_of_several_tasks(tmp_path, imported, capsys, task, wanted):
  plays = lerobot.write(tmp_path / 'set', 5, tasks=TASKS)
  _, found = imported(tasks=[task] if isinstance(task, str) else task)
  same(found, [plays[i] for i in wanted])
  left = 5 - len(wanted)
  assert (f'{left} episodes not asked for' in capsys.readouterr().out) == bool(left)


def test_several_tasks_are_listed_and_one_has_to_be_chosen(tmp_path, imported):
  lerobot.write(tmp_path / 'set', tasks=TASKS)
  refuse(imported, "3 tasks", "0 'open the door', 1 '打开门', 2 'close it; now'", '--task NUMBER',
         'PATH#NUMBER')
  refuse(lambda: imported(tasks=['3']), "no task '3'", "0 'open the door'")
  assert not (tmp_path / 'out').exists()


def test_numbers_of_tasks_are_those_of_the_set(tmp_path, imported):
  plays = lerobot.write(tmp_path / 'set', tasks=TASKS)
  names = {'task_index': [7, 2], '__index_level_0__': ['open the door', '打开门']}
  lerobot.table(tmp_path / 'set/meta/tasks.parquet', pa.table(names))
  refuse(imported, "2 '打开门', 7 'open the door', 8 'close it; now'")
  same(imported(tasks=['7'])[1], plays[:1])


def test_other_formats_have_no_tasks(tmp_path):
  foreign.three(tmp_path / 'set')
  refuse(lambda: importing.run(tmp_path / 'set', tmp_path / 'out', tasks=['1']), "task '1'", 'dreamerv2')


def test_actions_in_several_columns(tmp_path, imported, capsys):
  columns = {
      'action': None, 'action.arm': np.linspace(-1, 1, 6), 'action.grip': np.linspace(0.5, 0, 6),
      'action_is_pad': np.zeros(6, bool)}
  lerobot.write(tmp_path / 'set', more=columns, features={
      'action_is_pad': dict(dtype='bool', shape=[1])})
  _, (one, *_) = imported()
  np.testing.assert_allclose(one['action'][:-1, 0], columns['action.arm'][:-1], atol=1e-6)
  np.testing.assert_allclose(one['action'][:-1, 1], columns['action.grip'][:-1], atol=1e-6)
  text = capsys.readouterr().out
  assert 'action from action.arm, action.grip;' in text and 'action_is_pad' in text
  _, (one, *_) = imported('other', keys={'action': 'action.grip'})
  assert one['action'].shape == (6, 1) and one['action'][0, 0] == 0.5


ODD = {
    'first': [NAN, 1, 2, 3, 4, 5], 'last': [0, 1, 2, 3, 4, NAN], 'empty': [0, 1, 2, 3, 4, None],
    'all': [None] * 6, 'endless': [0, 1, float('inf'), 3, 4, 5]}


@pytest.mark.parametrize('odd', ODD)
def test_rewards_that_no_episode_has_are_left_out_with_a_word(tmp_path, imported, capsys, odd):
  plays = lerobot.write(tmp_path / 'set', more={'next.reward': pa.array(ODD[odd], pa.float32())})
  manifest, found = imported()
  same(found, plays)
  assert not manifest['reward'] and not any(x['reward'].any() for x in found)
  assert 'Note: reward is left out, for 3 of 3 episodes' in capsys.readouterr().out


def test_successes_too(tmp_path, imported):
  lerobot.write(tmp_path / 'set', more={'next.success': pa.array([False] * 5 + [None])})
  assert not imported()[0]['success']


def test_a_reward_that_one_episode_lacks_costs_that_episode_or_is_left_out(tmp_path, imported):
  folder, plays = foreign.three(tmp_path / 'set')
  foreign.write_v2(folder / 'odd.npz', foreign.play(seed=9), reward=np.full(7, NAN, np.float32))
  manifest, found = imported()
  foreign.check(tmp_path / 'out', plays)
  assert '--key reward=' in manifest['skipped'][0] and 'PATH#reward=' in manifest['skipped'][0]
  cli.main(['import', str(folder), '--out', str(tmp_path / 'all'), '--key', 'reward='])
  manifest, found = recordings.load(tmp_path / 'all/set')
  assert len(found) == 4 and not manifest['reward'] and manifest['success']


def test_only_what_need_not_be_there_can_be_left_out(tmp_path):
  foreign.three(tmp_path / 'set')
  refuse(lambda: importing.run(tmp_path / 'set', tmp_path / 'out', keys={'action': ''}), '--key')


def test_what_became_of_a_set_for_machines(tmp_path, capsys):
  lerobot.write(tmp_path / 'set', tasks=TASKS, more={'observation.state': np.zeros(6)})
  cli.main(['import', str(tmp_path / 'set'), '--out', str(tmp_path / 'out'), '--task', '1', '--json'])
  found = json.loads(capsys.readouterr().out)
  columns, = found['columns']
  assert columns['taken'] == {'action': ['action'], 'image': [lerobot.CAMERA]}
  assert columns['left']['observation.state'] == 'not an action by its name'
  assert found['episodes'] == dict(found=3, taken=1, left=0, not_asked_for=2)
