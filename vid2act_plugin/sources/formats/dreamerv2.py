"""Episodes of DreamerV2 and its relatives: one .npz per episode.

Their action led INTO the image of its row; ours is taken at it. `--key action_at=image` says that theirs is, too.
"""

import functools
import itertools
import math

import numpy as np

from ...common import npz
from ...common.budget import Budget
from ...common.errors import UserError
from ...common.output import say
from .. import frames, recording
from . import Episode, asked, columns, dreamerv3, naming, places, theirs, unused


def detect(path):
  """Return whether there are .npz files in `path` that are no chunks of a replay, and no films with tables.

  Runs have films and a log of their own: a table that is not named as a film or folder counts only
  where no file holds an episode.
  """
  found = _files(path)
  seen = [x for x in places.sources(path, shared=False) if places.table(x) and (
      x.is_file() or places.pictures(x) or places.cameras(x))] if found else []
  return bool(found) and (not seen or seen == [path] and any(map(_whole, found)))


def episodes(path, options):
  """Yield `(name, load)` for every .npz file in `path`, in the order of their names."""
  said = set()
  for file in _files(path):
    name = file.name if file == path else str(file.relative_to(path))
    yield name, functools.partial(_load, file, options, said)


def _files(path):
  if path.is_file():
    return [path] if path.suffix == '.npz' else []
  found = [x for x in places.below(path, '.npz') if not dreamerv3.NAME.fullmatch(x.stem)]
  folders = itertools.groupby(sorted(found, key=lambda x: (x.parent, x.name)), lambda x: x.parent)
  return [x for _, files in folders for x in naming.natural([*files])]


def _whole(file):
  try:
    return {'image', 'action'} <= {*npz.keys(file)}
  except UserError:
    return False


def _load(path, options, said):
  have, limit = npz.keys(path), Budget.of(path)
  if recording.NAME.fullmatch(path.name) and recording.SPACES.keys() <= set(have):  # Its actions would be shifted.
    raise UserError(
        f'The file {path} is an episode of a recording of ours, whose {recording.MANIFEST} is missing or damaged; '
        'copy that as well, or record it again.')
  read = lambda key: npz.read(path, key, limit)
  name = lambda ours, required=False: theirs(ours, have, options, path, required)
  image = name('image', True)
  action = read(name('action', True))
  shape, dtype = npz.shape(path, image)
  if action.ndim != 2 or shape[:1] != action.shape[:1]:
    raise UserError(
        f'The file {path} has actions of shape {action.shape} and images of shape {shape}; it '
        'takes [T, A] and [T, H, W, 3], or other keys, see --key.')
  at = options.get('keys', {}).get('action_at')
  _align(path, action, at, said)
  names = {k: name(k) for k in ('reward', 'success', 'is_terminal') if name(k)}
  arrays = {k: read(v) for k, v in names.items()}
  if 'is_terminal' not in arrays and 'discount' in have:
    names['is_terminal'] = 'discount'
    arrays['is_terminal'] = read('discount') == 0
  if name('is_first') and read(name('is_first'))[1:].any():
    raise UserError(
        f'The file {path} has is_first within it, so several episodes; write one file for each.')
  ends = {'is_last': read(name('is_last'))} if name('is_last') else {}
  if not name('is_first'):  # Where there is, terminals within are lives that were lost.
    ends |= {k: v for k, v in arrays.items() if k == 'is_terminal'}
  used = {name('action'), name('is_first'), name('is_last'), *names.values()}
  for key in [x for x in have if x not in used]:
    kind = columns.meaning(key)
    if (kind == 'end' or kind == 'is_terminal' and not name('is_first')) and (
        math.prod(npz.shape(path, key)[0]) == len(action)):
      ends[key] = read(key)
  for key, value in ends.items():
    if (row := columns.within(key, value.reshape(-1))) is not None:
      raise UserError(f'The file {path} has {key} in row {row} of 0 to {len(value) - 1}, {columns.SEVERAL}.')
  arrays['action'] = action if at else np.concatenate([action[1:], np.zeros_like(action[:1])])
  names = {'image': image, 'action': name('action'), **names}
  left, names['image'] = unused(have, names), frames.told(image, dtype, lambda: npz.rows(path, image))
  return Episode(npz.rows(path, image), arrays, names=names, left=left)


def _align(path, action, at, said):
  """Say once for all files how actions are aligned, and where that may be wrong."""
  if 'how' not in said:
    say('Actions are taken as those at the image of their row.' if at else
        'Actions are taken as those that led to the image of their row, as DreamerV2 writes them; where they were '
        f"taken at it, give {asked('action_at', 'image')}.")
  if not at and action[:1].any() and 'first' not in said:
    said.add('first')
    say(f'Note: the first action in {path} is not zero, though no image comes before it; make sure that the action '
        'in a row is the one that led to the image in it.')
  said.add('how')
