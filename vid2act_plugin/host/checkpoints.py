"""Checkpoints of the host on disk: which one is the newest whole one, and what it holds."""

import contextlib
import inspect
import json
import pathlib
import re

import elements
import numpy as np

from ..common import files, safe_pickle
from ..common.errors import UserError, reading, reason
from ..common.output import say

FOLDERS = OURS, THEIRS = ('ckpt', 'checkpoint.pkl')  # Ours and a checkout's; those of PyPI's scripts.
COUNTERS = ('updates', 'batches', 'actions')
HASHES = 'sha256.json'  # Of its files; checkpoints of the host and of earlier versions have none.
CURE = 'copy the checkpoint again, or name another run or --logdir'


class Checkpoint(elements.Checkpoint):
  """The host's checkpoint of a run, read without executing anything and kept in the order of writing.

  The host unpickles whatever lies there, and keeps the folder whose name is the
  greatest: after a clock that went back, not the newest one.
  """

  def load(self, path=None, keys=None):
    """Load the objects `keys`, all by default; a `UserError` names what cannot be read.

    All that can be read is read before anything is loaded.
    """
    folder = pathlib.Path(str(path or self.latest()))
    found = {k: content(folder, k) for k in keys or self._saveables}
    for key in list(found):
      with reading(f"The file {folder / f'{key}.pkl'}", CURE, 'does not fit this run'):
        self._saveables[key].load(found.pop(key))
    say(f'Loaded checkpoint: {folder}')

  def _cleanup(self):  # The last step of the host's `save`.
    newest = self.latest()
    _write_hashes(pathlib.Path(str(newest)))
    for folder in self._directory.glob('*'):
      if folder.name not in ('latest', newest.name):
        folder.remove(recursive=True)


def kept(ours):
  """Return the name of the folder in which our loops, or those of the host that is installed, keep checkpoints."""
  import embodied  # With JAX, which not all who read checkpoints need.
  return OURS if ours or THEIRS not in inspect.getsource(embodied.run.train) else THEIRS


def latest(path):
  """Return the folder that is the newest checkpoint at `path`, whole or not; None without one.

  path: a run's logdir, its folder of checkpoints, or one checkpoint. Where
  `latest` names none, as after a kill, it is the whole one of the greatest step.
  """
  root = pathlib.Path(str(path)).expanduser()
  folders = [root, *(root / x for x in FOLDERS)]
  for file in (x / 'latest' for x in folders):
    text = file.read_text(encoding='utf-8', errors='replace') if file.is_file() else ''
    name = pathlib.Path(text.strip()).name
    if name:
      return file.parent / name
  if whole(root):
    return root
  found = [x for folder in folders for x in folder.glob('*') if whole(x)]
  return max(found, key=lambda x: (_step(x), x.name), default=None)


def whole(folder):
  """Say whether a checkpoint was written to its end."""
  folder = pathlib.Path(str(folder))  # The host's own paths have no `is_file`.
  try:
    return (folder / 'agent.pkl').is_file() and (folder / 'done').exists()
  except OSError:  # Such as a name that is too long for any file.
    return False


def content(folder, name):
  """Return what the file NAME.pkl of a checkpoint holds, without executing anything in it.

  Raises a `UserError` if it is missing, cannot be read, or is not the one that was written.
  """
  path = pathlib.Path(folder) / f'{name}.pkl'
  _written(path)
  value = safe_pickle.load(path)
  known = type(value) is int or isinstance(value, np.integer)
  if name == 'step' and not (known and value >= 0):
    raise UserError(f'The file {path} holds no number of steps; {CURE}.')
  return value


def check(folder, read=False):
  """Raise a `UserError` if a file of a checkpoint is missing or is not the one that was written.

  read: also if one cannot be read without executing it, for the host's own loops, which would.
  """
  folder = pathlib.Path(folder)
  names = {x for x in _hashes(folder) if re.fullmatch(r'\w+\.pkl', x)}
  for name in sorted(names | {x.name for x in folder.glob('*.pkl')} if read else names):
    content(folder, name.removesuffix('.pkl')) if read else _written(folder / name)


def holds(folder, name):
  """Say whether a checkpoint has, or should have, the file NAME.pkl."""
  file = f'{name}.pkl'
  return (pathlib.Path(folder) / file).exists() or file in _hashes(folder)


def _written(path):
  if not path.is_file():
    raise UserError(f'The file {path} of a checkpoint is missing; {CURE}.')
  wanted = _hashes(path.parent).get(path.name)
  try:
    damaged = wanted and wanted != files.sha256(path)
  except FileNotFoundError:  # A run that goes on has just replaced the checkpoint by a newer one.
    raise UserError(f'The file {path} of a checkpoint is gone; repeat, or {CURE}.') from None
  if damaged:
    raise UserError(f'The file {path} is damaged: it is not as it was written; {CURE}.')


def _hashes(folder):
  """Return `{file: sha256}` of a checkpoint, empty where none were written."""
  path = pathlib.Path(folder) / HASHES
  if not path.exists():
    return {}
  try:
    found = files.parse(path.parent, path.name)
    if not isinstance(found, dict):
      raise ValueError('it is no JSON object')
    return found
  except (OSError, ValueError) as e:
    raise UserError(f'The file {path} cannot be read ({reason(e)}); {CURE}.') from e


def _write_hashes(folder):
  found = {x.name: files.sha256(x) for x in sorted(folder.glob('*.pkl'))}
  with files.atomic_write(folder / HASHES) as part:
    part.write_text(json.dumps(found, indent=1), encoding='utf-8')


def newest(path):
  """Return the folder of the newest whole checkpoint at `path`, or None; see `latest`."""
  folder = latest(path)
  return folder if folder and whole(folder) else None


def read(folder):
  """Return what a checkpoint holds of its agent, without executing anything in it.

  Returns `params` `{name: array}` and `counters`. Raises a `UserError` if the
  file cannot be read or is no agent's.
  """
  path, found = folder / 'agent.pkl', content(folder, 'agent')
  try:
    params = found['params']
    good = params and all(
        isinstance(v, (np.ndarray, np.generic)) and v.dtype != object for v in params.values())
    counters = {k: int(found['counters'][k]) for k in COUNTERS}
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
  return int(content(folder, 'step'))


def _step(folder):
  with contextlib.suppress(UserError, TypeError, ValueError):
    return step(folder)
  return -1
