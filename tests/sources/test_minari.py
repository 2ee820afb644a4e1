"""Minari data sets, made by Minari itself, are read without a shift, and faults are named."""

import json

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
from helpers.plays import LENGTHS, play, read, refuse
from minari.data_collector import EpisodeBuffer
from minari.serialization import serialize_space

from vid2act_plugin.sources.formats import minari_spaces


def buffers(nested):
  for index, T in enumerate(LENGTHS):
    one = play(index, T)
    image = np.repeat(one['level'], 40 * 40 * 3).reshape(T, 40, 40, 3).astype(np.uint8)
    yield EpisodeBuffer(
        observations={'eyes': {'left': image}, 'arm': np.zeros((T, 2), np.float32)}
        if nested else image,
        actions=one['action'][:-1], rewards=one['reward'][:-1], truncations=[False] * (T - 1),
        terminations=one['success'][1:], infos={'success': one['success'].astype(np.float32)})


@pytest.fixture
def dataset(tmp_path, monkeypatch):
  monkeypatch.setenv('MINARI_DATASETS_PATH', str(tmp_path))

  def fn(form='hdf5', nested=True, jpeg=True):
    image = gym.spaces.Box(0, 255, (40, 40, 3), np.uint8)
    arm = gym.spaces.Box(-1, 1, (2,), np.float32)
    space = gym.spaces.Dict(eyes=gym.spaces.Dict(left=image), arm=arm) if nested else image
    minari.create_dataset_from_buffers(
        'tiny-v0', list(buffers(nested)), observation_space=space,
        action_space=gym.spaces.Box(-9, 9, (2,), np.float32), data_format=form,
        jpeg_encoding=jpeg)
    return tmp_path / 'tiny-v0'
  return fn


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize('form,nested,jpeg', [
    ('hdf5', True, True), ('hdf5', False, False), ('arrow', True, True),
    ('parquet', True, False), ('arrow', False, False)])
def test_minari_is_read_without_a_shift(dataset, form, nested, jpeg):
  found = read(dataset(form, nested, jpeg))
  assert len(found) == 3
  for index, (images, arrays) in enumerate(found):
    T = LENGTHS[index]
    wrote = play(index, T)
    assert images.shape == (T, 40, 40, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(images[..., 0].mean((1, 2)), wrote['level'])
    np.testing.assert_array_equal(arrays['action'][:-1], wrote['action'][:-1])
    np.testing.assert_allclose(arrays['reward'], [0, *wrote['reward'][:-1]], atol=1e-6)
    for key in ('success', 'is_terminal'):
      np.testing.assert_array_equal(arrays[key], np.arange(T) == T - 1)


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_faults_of_minari_are_named(dataset, tmp_path):
  path = dataset()
  refuse(lambda: read(path, image='eyes/right'), 'eyes/right', 'observations/eyes/left')
  assert read(path, image='eyes/left', success='infos/success')
  refuse(lambda: read(path, success='infos/won'), 'infos/won', 'infos/success')
  data, metadata = path / 'data/main_data.hdf5', path / 'data/metadata.json'
  with h5py.File(data, 'a') as file:
    file['episode_0/infos/parts'] = np.zeros((LENGTHS[0], 2))
  refuse(lambda: read(path, reward='infos/parts'), 'episode 0', '2 values in a row instead of one')
  content = data.read_bytes()
  data.write_bytes(content[:len(content) // 2])
  refuse(lambda: read(path), 'tiny-v0', 'episode 0')
  data.write_bytes(content)
  with h5py.File(data, 'a') as file:
    del file['episode_0/rewards']
    file['episode_0/rewards'] = h5py.ExternalLink(str(tmp_path / 'other.hdf5'), 'rewards')
  refuse(lambda: read(path), 'episode 0', 'data elsewhere')
  text = json.loads(metadata.read_text())
  metadata.write_text(json.dumps({**text, 'total_episodes': 'x'}))
  refuse(lambda: read(path), 'tiny-v0', 'ValueError')


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_no_environment_is_imported_to_read_minari(dataset, tmp_path, monkeypatch):
  trap = tmp_path / 'sprung'
  (tmp_path / 'trap.py').write_text(f'open({str(trap)!r}, "w").close()')
  monkeypatch.syspath_prepend(str(tmp_path))
  path = dataset()
  metadata = json.loads((path / 'data/metadata.json').read_text())
  spec = gym.envs.registration.EnvSpec('Trap-v0', entry_point='trap:Trap').to_json()
  del metadata['observation_space']
  (path / 'data/metadata.json').write_text(json.dumps({**metadata, 'env_spec': spec}))
  refuse(lambda: read(path), 'observation_space')
  assert not trap.exists()


@pytest.mark.parametrize('low, high, told', [
    (-9, 9, True), (-np.finfo(np.float32).max, np.finfo(np.float32).max, False), (0, 1e10, False), (-np.inf, np.inf, False),
    ([-9, -1e10], [9, 1e10], False)])
def test_bounds_that_stand_for_none_are_none(low, high, told):
  """As the environments of Gymnasium have them; actions would all be zero in bounds as wide."""
  space = gym.spaces.Box(np.broadcast_to(low, 2).astype(np.float32), np.broadcast_to(high, 2).astype(np.float32))
  (path, leaf), = minari_spaces.flat(serialize_space(space), 'actions')
  assert path == 'actions' and leaf.shape == (2,) and (leaf.bounds is not None) == told


def early(folder, images, actions=2, **arrays):
  """Write a data set as versions before 0.5 have it, with observations that are images or a dict."""
  (folder / 'data').mkdir(parents=True)
  with h5py.File(folder / 'data/main_data.hdf5', 'w') as file:
    file.attrs.update(dataset_id='door-v0', total_episodes=len(LENGTHS))
    for i, T in enumerate(LENGTHS):
      one, group = play(i, T), file.create_group(f'episode_{i}')
      for name, image in images(one['level']).items():
        group[f'observations{name}'] = image
      group['actions'] = one['action'][:-1] if actions == 2 else np.zeros(T - 1, int)
      group['rewards'] = one['reward'][:-1]
      for name in ('terminations', 'truncations'):
        group[name] = np.zeros(T - 1, bool)
  return folder


def grey(level, *shape):
  return np.broadcast_to(level.reshape(-1, 1, 1, 1), (len(level), *shape)).astype(np.uint8)


@pytest.mark.parametrize('images', [
    lambda x: {'': grey(x, 40, 40, 3)}, lambda x: {'/eyes': grey(x, 40, 40, 3), '/arm': x[:, None]},
    lambda x: {'/_index_0': grey(x, 40, 40, 3), '/_index_1': x[:, None]},
    lambda x: {'': grey(x, 3, 40, 40)}, lambda x: {'': grey(x, 40, 40, 1)},
    lambda x: {'/a': grey(x, 40, 40, 3), '/b': grey(x, 40, 40, 4)}])
@pytest.mark.parametrize('inner', ['', 'data'])
def test_versions_before_0_5_are_read(tmp_path, images, inner):
  from vid2act_plugin.sources import importing, recording
  path = early(tmp_path / 'door', images)
  importing.run(path / inner, tmp_path / 'out')
  manifest, found = recording.load(tmp_path / 'out')
  assert [len(x['action']) for x in found] == list(LENGTHS) and manifest['reward']
  for i, x in enumerate(found):
    wrote = play(i, LENGTHS[i])
    np.testing.assert_array_equal(x['image'].mean((1, 2, 3)), wrote['level'])
    np.testing.assert_array_equal(x['action'][:-1, 0], wrote['action'][:-1, 0])
    np.testing.assert_allclose(x['reward'][1:], wrote['reward'][:-1])
  assert manifest['columns'][0]['taken']['action'] == ['actions']


def test_what_early_versions_lack_is_one_sentence(tmp_path):
  path = early(tmp_path / 'door', lambda x: {'': x[:, None]})
  refuse(lambda: read(path), 'these images: none')
  path = early(tmp_path / 'two', lambda x: {f'/{k}': grey(x, 40, 40, 3) for k in 'ab'})
  refuse(lambda: read(path), 'observations/a, observations/b', '--key image=NAME', 'PATH#image=NAME')
  assert len(read(path, image='a')) == 3
  path = early(tmp_path / 'steps', lambda x: {'': grey(x, 40, 40, 3)}, actions=1)
  refuse(lambda: read(path), 'of the kind Discrete')
  with h5py.File(path / 'data/main_data.hdf5', 'a') as file:
    del file['episode_0/observations']
    file['episode_0/observations'] = h5py.ExternalLink('other.hdf5', '/x')
  refuse(lambda: read(path), 'no format that is known')
