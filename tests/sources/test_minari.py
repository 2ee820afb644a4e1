"""Minari data sets, made by Minari itself, are read without a shift, and faults are named."""

import json

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
from helpers.plays import LENGTHS, play, read, refuse
from minari.data_collector import EpisodeBuffer


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
