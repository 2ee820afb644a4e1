"""Checkpoints of the host on disk: which one is the newest whole one, and what it holds."""

import pathlib

import elements
import numpy as np

from ..common import safe_pickle
from ..common.errors import UserError, reason
from ..common.output import say

FOLDERS = ('ckpt', 'checkpoint.pkl')  # Ours and a checkout's; those of PyPI's scripts.
COUNTERS = ('updates', 'batches', 'actions')


class Checkpoint(elements.Checkpoint):
  """The host's checkpoint of a run, read without executing anything and kept in the order of writing.

  The host unpickles whatever lies there, and keeps the folder whose name is the
  greatest: after a clock that went back, not the newest one.
  """

  def load(self, path=None, keys=None):
    """Load the objects `keys`, all by default; a `UserError` names what cannot be read."""
    folder = pathlib.Path(str(path or self.latest()))
    for key in keys or self._saveables:
      self._saveables[key].load(safe_pickle.load(folder / f'{key}.pkl'))
    say(f'Loaded checkpoint: {folder}')

  def _cleanup(self):
    newest = self.latest()
    for folder in self._directory.glob('*'):
      if folder.name not in ('latest', newest.name):
        folder.remove(recursive=True)


def latest(path):
  """Return the folder that is the newest checkpoint at `path`, whole or not; None without one.

  path: a run's logdir, its folder of checkpoints, or one checkpoint.
  """
  root = pathlib.Path(str(path)).expanduser()
  for file in (root / 'latest', *(root / x / 'latest' for x in FOLDERS)):
    if file.is_file():
      return file.parent / pathlib.Path(file.read_text(errors='replace').strip()).name
  return root if whole(root) else None


def whole(folder):
  """Say whether a checkpoint was written to its end."""
  folder = pathlib.Path(str(folder))  # The host's own paths have no `is_file`.
  return (folder / 'agent.pkl').is_file() and (folder / 'done').exists()


def newest(path):
  """Return the folder of the newest whole checkpoint at `path`, or None; see `latest`."""
  folder = latest(path)
  return folder if folder and whole(folder) else None


def read(folder):
  """Return what a checkpoint holds of its agent, without executing anything in it.

  Returns `params` `{name: array}` and `counters`. Raises a `UserError` if the
  file cannot be read or is no agent's.
  """
  path = folder / 'agent.pkl'
  content = safe_pickle.load(path)
  try:
    params = content['params']
    good = params and all(
        isinstance(v, (np.ndarray, np.generic)) and v.dtype != object for v in params.values())
    counters = {k: int(content['counters'][k]) for k in COUNTERS}
    why = 'its params are no arrays'
  except (KeyError, TypeError, ValueError, AttributeError) as e:
    good, why = False, reason(e)
  if not good:
    raise UserError(
        f'The file {path} is not the checkpoint of a DreamerV3 agent ({why}); name a run of one.')
  return {'params': params, 'counters': counters}


def last(logdir):
  """Return what the newest whole checkpoint of a run holds of its agent, or None; see `read`."""
  folder = newest(logdir)
  return read(folder) if folder else None


def step(folder):
  """Return the number of steps that a checkpoint was written after."""
  return int(safe_pickle.load(folder / 'step.pkl'))
