"""What we export, their own readers find, and it comes back bit for bit."""

import json
import os
import subprocess
import sys
import tracemalloc

import av
import minari
import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers.plays import refuse

from vid2act_plugin import cli
from vid2act_plugin.sources import export as exports
from vid2act_plugin.sources import importing as imports
from vid2act_plugin.sources import recording as recordings


@pytest.fixture
def recording(tmp_path):
  """Return a function that writes a recording of two short episodes with noise for images."""
  def fn(name='door', size=32, actions=3, first=0.0, **fields):
    rng, entries = np.random.default_rng(len(name)), []
    for index, T in enumerate((6, 4)):
      t = np.arange(T)
      action = rng.uniform(-1, 1, (T, actions)).astype(np.float32)
      action[-1] = 0
      reward = rng.normal(size=T).astype(np.float32)
      reward[0] = first
      entries.append(recordings.write_episode(tmp_path / name, index, dict(
          image=rng.integers(0, 256, (T, size, size + 1, 3), np.uint8), action=action,
          reward=reward, is_first=t == 0, is_last=t == T - 1,
          is_terminal=(t == T - 1) & (index == 0), success=(t >= T - 2).astype(np.float32))))
    recordings.write_manifest(tmp_path / name, dict(
        source=name, suite='x', task=name, behaviour={'policy': 'x'}, seed=0, env={}, versions={},
        act_size=actions, episodes=entries, **fields))
    return tmp_path / name
  return fn


@pytest.mark.parametrize('form', exports.formats.WRITTEN)
@pytest.mark.parametrize('actions', [1, 3])
def test_an_export_comes_back_bit_for_bit(recording, tmp_path, form, actions):
  path = recording(actions=actions, fps=29.97 if actions == 1 else None)
  out = tmp_path / 'out-v0'
  cli.main(['export', str(path), '--format', form, '--out', str(out)])
  _, wrote = recordings.load(path)
  imports.run(out, tmp_path / 'back')
  _, found = recordings.load(tmp_path / 'back')
  for a, b in zip(wrote, found, strict=True):
    for key in recordings.SPACES:
      np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def test_minari_itself_reads_an_export(recording, tmp_path):
  folders = [recording('door'), recording('window')]
  home = tmp_path / 'home'
  home.mkdir()
  subprocess.run(
      [sys.executable, '-m', 'vid2act_plugin.cli', 'export', *map(str, folders), '--format',
       'minari', '--out', tmp_path / 'sets/both-v3'], check=True,
      env={**os.environ, 'HOME': str(home), 'MINARI_DATASETS_PATH': str(home / 'sets')})
  assert not list(home.iterdir())  # It writes nowhere else.
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('MINARI_DATASETS_PATH', str(tmp_path / 'sets'))
    dataset = minari.load_dataset('both-v3')
  assert dataset.total_episodes == 4 and dataset.total_steps == 16
  wrote = [x for folder in folders for x in recordings.load(folder)[1]]
  for a, b in zip(wrote, dataset.iterate_episodes(), strict=True):
    np.testing.assert_array_equal(a['image'], b.observations)
    np.testing.assert_array_equal(a['action'][:-1], b.actions)
    np.testing.assert_array_equal(a['reward'][1:], b.rewards)
    np.testing.assert_array_equal(a['is_terminal'][1:], b.terminations)
    np.testing.assert_array_equal((a['is_last'] & ~a['is_terminal'])[1:], b.truncations)
    np.testing.assert_array_equal(a['success'], b.infos['success'])


def test_lerobot_layout_holds_what_its_readers_look_up(recording, tmp_path):
  folders = [recording('door'), recording('window')]
  out = exports.export(folders, 'lerobot', tmp_path / 'out')
  info = json.loads((out / 'meta/info.json').read_text())
  assert (info['total_episodes'], info['total_frames'], info['total_tasks']) == (4, 20, 2)
  entries = pq.read_table(out / 'meta/episodes/chunk-000/file-000.parquet').to_pylist()
  tasks = pq.read_table(out / 'meta/tasks.parquet')
  assert json.loads(tasks.schema.metadata[b'pandas'])['index_columns'] == ['task']
  wrote = [x for folder in folders for x in recordings.load(folder)[1]]
  for entry, episode in zip(entries, wrote, strict=True):
    place = {k: entry[f'data/{k}'] for k in ('chunk_index', 'file_index')}
    table = pq.read_table(out / info['data_path'].format(**place))
    begin = table['index'].to_pylist().index(entry['dataset_from_index'])
    part = table.slice(begin, entry['length']).to_pydict()
    assert set(part['episode_index']) == {entry['episode_index']}
    assert {tasks['task'].to_pylist()[i] for i in part['task_index']} == set(entry['tasks'])
    np.testing.assert_array_equal(part['action'], episode['action'])
    np.testing.assert_array_equal(part['next.reward'][:-1], episode['reward'][1:])
    assert part['next.done'] == [False] * (entry['length'] - 2) + [True] * 2
    key = next(k for k, v in info['features'].items() if v['dtype'] == 'video')
    place = {k: entry[f'videos/{key}/{k}'] for k in place}
    with av.open(str(out / info['video_path'].format(video_key=key, **place))) as container:
      frames = {round(x.time, 4): x.to_ndarray(format='rgb24') for x in container.decode(video=0)}
    times = entry[f'videos/{key}/from_timestamp'] + np.array(part['timestamp'], np.float64)
    np.testing.assert_array_equal([frames[round(x, 4)] for x in times], episode['image'])
  stats = json.loads((out / 'meta/stats.json').read_text())
  pixels = np.concatenate([x['image'].reshape(-1, 3) for x in wrote]) / 255
  np.testing.assert_allclose(np.ravel(stats[key]['std']), pixels.std(0))
  for name, found in (('mean', pixels.mean(0)), ('min', pixels.min(0)), ('max', pixels.max(0))):
    np.testing.assert_allclose(np.ravel(stats[key][name]), found, rtol=1e-12)
  actions = np.concatenate([x['action'] for x in wrote])
  np.testing.assert_allclose(stats['action']['mean'], actions.mean(0), atol=1e-6)
  assert stats['action']['count'] == [20]


@pytest.mark.parametrize('shape', [(300, 48, 48, 3), (40, 120, 130, 3)])
def test_statistics_of_images_take_little_memory_and_are_those_of_all(tmp_path, shape):
  """Of episodes whose darkest and brightest images are not their first or last ones."""
  rng, folder, entries, wrote = np.random.default_rng(0), tmp_path / 'long', [], []
  for index in range(2):
    T, t = shape[0], np.arange(shape[0])
    image = rng.integers(50, 151 + 20 * index, shape, np.uint8)
    image[T // 2 + index, 3, 4] = (0, 7, 255) if index else (250, 50, 50)
    wrote.append(image)
    entries.append(recordings.write_episode(folder, index, dict(
        image=image, action=np.zeros((T, 2), np.float32), is_first=t == 0, is_last=t == T - 1,
        is_terminal=t < 0, **{k: np.zeros(T, np.float32) for k in ('reward', 'success')})))
  recordings.write_manifest(folder, dict(
      source='long', suite='x', task='long', behaviour={}, seed=0, env={}, versions={}, act_size=2, episodes=entries))
  episodes = list(exports.episodes([folder]))
  (tmp_path / 'out').mkdir()
  tracemalloc.start()
  try:
    exports.formats.writer('lerobot')([folder], episodes, tmp_path / 'out')
    peak = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  assert peak < 4 * wrote[0].nbytes, f'{peak / wrote[0].nbytes:.1f} times the images of an episode'
  stats, pixels = json.loads((tmp_path / 'out/meta/stats.json').read_text()), np.concatenate(wrote).reshape(-1, 3) / 255
  for key, stat in stats.items():
    if key.startswith('observation'):
      assert np.shape(stat['mean']) == (3, 1, 1) and stat['count'] == [2 * shape[0]]
      assert np.ravel(stat['min']).tolist() == pixels.min(0).tolist() == [0, 7 / 255, 50 / 255]
      assert np.ravel(stat['max']).tolist() == pixels.max(0).tolist() == [250 / 255, 170 / 255, 1]
      for name, found in (('mean', pixels.mean(0)), ('std', pixels.std(0))):
        np.testing.assert_allclose(np.ravel(stat[name]), found, rtol=1e-12)


def test_an_export_is_whole_or_absent(recording, tmp_path):
  path, out = recording(), tmp_path / 'sets' / 'door-v0'
  damaged = path / recordings.name(1)
  content = damaged.read_bytes()
  damaged.write_bytes(content[:-9])
  for form in exports.formats.WRITTEN:
    refuse(lambda form=form: exports.export([path], form, out), damaged.name)
    assert not list(out.parent.iterdir())
  damaged.write_bytes(content)
  exports.export([path], 'minari', out)
  refuse(lambda: exports.export([path], 'minari', out), str(out), '--out')


def test_two_exports_into_one_folder(recording, tmp_path, monkeypatch):
  """The one that ends first is kept, the other is refused."""
  path, out, writer = recording(), tmp_path / 'sets' / 'door-v0', exports.formats.writer
  command = ['export', str(path), '--format', 'minari', '--out', str(out)]
  def slow(form):
    monkeypatch.setattr(exports.formats, 'writer', writer)
    def write(*args):
      writer(form)(*args)
      cli.main(command)
      monkeypatch.setattr(exports.pathlib.Path, 'exists', lambda _: False)  # Just after a look.
    return write
  monkeypatch.setattr(exports.formats, 'writer', slow)
  refuse(lambda: cli.main(command), str(out), 'exists by now')
  monkeypatch.undo()
  assert list(out.parent.iterdir()) == [out]
  imports.run(out, tmp_path / 'back')
  assert len(recordings.load(tmp_path / 'back')[1]) == 2


@pytest.mark.parametrize('odd, rate', [
    (dict(imported=[1]), 10), (dict(imported=dict(repeat=0)), 10), (dict(imported=dict(repeat=2)), 5),
    (dict(fps='fast', imported={}), 10), (dict(fps=30, imported=dict(repeat=4)), 7.5), (dict(fps=30), 30)])
def test_what_a_manifest_says_of_its_rate_may_be_anything(recording, tmp_path, odd, rate):
  exports.export([recording(**odd)], 'lerobot', tmp_path / 'out')
  assert json.loads((tmp_path / 'out/meta/info.json').read_text())['fps'] == rate


def test_exports_that_cannot_be_are_refused(recording, tmp_path, capsys):
  path, out = recording(), tmp_path / 'out-v0'
  refuse(lambda: exports.export([path], 'rlds', out), 'rlds', 'lerobot, minari')
  refuse(lambda: exports.export([path], 'minari', tmp_path / 'out'), "'out'", 'out-v0')
  refuse(lambda: exports.export([path, recording('big', 48)], 'lerobot', out), 'big', 'separately')
  slow = recording('slow', fps=30, imported={'repeat': 2})
  refuse(lambda: exports.export([path, slow], 'lerobot', out), 'door 10, slow 15', 'separately')
  assert not out.exists()
  exports.export([recording('early', first=1.0)], 'lerobot', out)
  assert '2 episodes begin with a reward' in capsys.readouterr().out
