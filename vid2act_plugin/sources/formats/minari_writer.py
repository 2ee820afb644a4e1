"""Recordings as a Minari data set."""

import importlib.metadata
import re

import numpy as np

from ...common.errors import UserError


def write(folders, episodes, out):
  """Write recordings as one Minari data set, images without loss, into the empty folder `out`.

  The folder's name is the data set's, such as `door-v0`: `minari.load_dataset`
  finds it by this name where MINARI_DATASETS_PATH is the folder above.
  Observations `[T, H, W, 3]` uint8, actions, rewards, terminations and
  truncations `[T - 1]`, `infos/success` `[T]`.
  """
  import gymnasium as gym
  from minari.data_collector import EpisodeBuffer
  from minari.dataset.minari_storage import MinariStorage

  if not re.fullmatch(r'[-\w]+-v\d+', out.name):
    raise UserError(
        f"The folder is called '{out.name}', but it names the Minari data set; end it with a "
        f"version, such as {re.sub('[^-a-zA-Z0-9_]', '-', out.name)}-v0.")
  storage = None
  for _, episode in episodes:
    if not storage:
      storage = MinariStorage.new(
          out / 'data', gym.spaces.Box(0, 255, episode['image'].shape[1:], np.uint8),
          gym.spaces.Box(-1, 1, episode['action'].shape[1:], np.float32), jpeg_encoding=False)
      storage.update_metadata(dict(
          dataset_id=out.name, minari_version=importlib.metadata.version('minari'),
          description=f"Recordings of {', '.join(x.name for x in folders)}"))
    last, terminal = episode['is_last'][1:], episode['is_terminal'][1:]
    storage.update_episodes([EpisodeBuffer(
        observations=episode['image'], actions=episode['action'][:-1],
        rewards=episode['reward'][1:], terminations=terminal, truncations=last & ~terminal,
        infos={'success': episode['success']})])
