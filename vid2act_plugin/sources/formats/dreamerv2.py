"""Episodes of DreamerV2 and its relatives: one .npz per episode.

Their action led INTO the image of its row; ours is taken at it.
"""

import functools

import numpy as np

from ...common import npz
from ...common.budget import Budget
from ...common.errors import UserError
from ...common.output import say
from .. import recording
from . import Episode, dreamerv3, places, theirs, unused


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
  for i, file in enumerate(_files(path)):
    name = file.name if file == path else str(file.relative_to(path))
    yield name, functools.partial(_load, file, options, warn=not i)


def _files(path):
  if path.is_file():
    return [path] if path.suffix == '.npz' else []
  return [x for x in sorted(path.rglob('*.npz')) if not dreamerv3.NAME.fullmatch(x.stem)]


def _whole(file):
  try:
    return {'image', 'action'} <= {*npz.keys(file)}
  except UserError:
    return False


def _load(path, options, warn):
  have, limit = npz.keys(path), Budget.of(path)
  if recording.NAME.fullmatch(path.name) and recording.SPACES.keys() <= set(have):  # Its actions would be shifted.
    raise UserError(
        f'The file {path} is an episode of a recording of ours, whose {recording.MANIFEST} is missing or damaged; '
        'copy that as well, or record it again.')
  read = lambda key: npz.read(path, key, limit)
  name = lambda ours, required=False: theirs(ours, have, options, path, required)
  image = name('image', True)
  action = read(name('action', True))
  shape, _ = npz.shape(path, image)
  if action.ndim != 2 or shape[:1] != action.shape[:1]:
    raise UserError(
        f'The file {path} has actions of shape {action.shape} and images of shape {shape}; it '
        'takes [T, A] and [T, H, W, 3], or other keys, see --key.')
  if warn and action[:1].any():
    say(
        f'Note: the first action in {path} is not zero, though no image comes before it; make sure '
        'that the action in a row is the one that led to the image in it.')
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
  for key, value in ends.items():
    if (within := np.flatnonzero(value[:-1])).size:
      raise UserError(
          f'The file {path} has {key} in row {within[0]} of 0 to {len(value) - 1}, so several episodes; write one '
          'file for each.')
  arrays['action'] = np.concatenate([action[1:], np.zeros_like(action[:1])])
  names = {'image': image, 'action': name('action'), **names}
  return Episode(npz.rows(path, image), arrays, names=names, left=unused(have, names))
