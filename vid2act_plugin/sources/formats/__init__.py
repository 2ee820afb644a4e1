"""Recordings of other projects, one module per format.

A format's module has `detect(path) -> bool`, whether `path` looks like it, and
`episodes(path, options)`, which yields `(name, load)` in a fixed order: `name`
is for messages and unique, `load()` returns an `Episode` or raises a
`UserError`, so that one bad episode costs no other. `load()` is called twice,
first for the arrays alone. `write(folders, episodes, out)`, where a
format has it, is the way back; `episodes` are those of `export.episodes`. `path` is a
`pathlib.Path`; `options` is a dict whose `keys` is `{ours: theirs}`, what the
user gave with `--key`, for `theirs` below, `left` what of ours is to be left out, and `task`
the list of tasks to read.
"""

import dataclasses
import functools
import importlib
from collections.abc import Iterable

import numpy as np

from ...common.errors import UserError

# Modules here, and names on the command line; looked at in this order.
FORMATS = ('lerobot', 'minari', 'dreamerv3', 'dreamerv2', 'video')
WRITTEN = ('lerobot', 'minari')  # Those that recordings can be exported as.
KEYS = ('image', 'action', 'reward', 'success', 'is_first', 'is_last', 'is_terminal', 'action_at',
        'bounds')

OPTIONAL = ('reward', 'success')  # What may be left out, which `--key reward=` asks for.
CURE = (f"give OURS=THEIRS, where OURS is one of {', '.join(KEYS)}, or {' or '.join(OPTIONAL)} with "
        'nothing behind the sign to leave it out')


@dataclasses.dataclass
class Episode:
  """One episode of T images as its format has it, in the convention of `recordings`.

  frames: T images `[H, W, 3]` uint8 of any size, read lazily, so that no more
  than a few are in memory at full size; iterating may raise a `UserError`.
  arrays: `action` `[T, A]`, taken at the image of its row, in whatever range;
  its last row is not used. Optional `reward` and `success` `[T]`, received on
  arriving at the image, and `is_terminal` `[T]`.
  fps: images per second, None if unknown.
  names: `{ours: theirs}`, the columns or the camera that became each array and
  the images, a text or a list of them. left: `{theirs: why}`, those that were
  left. Both are for the report. bounds: low and high `[A]` of the actions'
  space, where the format tells it; they become -1 and 1.
  """

  frames: Iterable
  arrays: dict
  fps: float | None = None
  names: dict = dataclasses.field(default_factory=dict)
  left: dict = dataclasses.field(default_factory=dict)
  bounds: tuple | None = None


class NotAsked(UserError):
  """Raised by `load()` where an episode is whole, but the user's options leave it out."""


def understood(keys):
  """Say whether `{ours: theirs}` is what `--key` may be."""
  return all(k in KEYS and (v or k in OPTIONAL) for k, v in keys.items())


def episodes(path, name, keys, tasks=()):
  """Return the format of data, named `name` or found out, and an iterator of `(name, load)`.

  keys: of ours those without a name are left out of what is loaded. tasks: those to read.
  """
  name, module = find(path, name)
  if tasks and name != 'lerobot':
    raise UserError(
        f"The task '{tasks[0]}' is asked for, but data of the format {name}, as in {path}, have no "
        'names of tasks; leave --task (in vid2act.sources: the part after #) out.')
  if (at := keys.get('action_at')) and (at != 'image' or name != 'dreamerv2'):
    raise UserError(
        f'The option --key action_at is {at} (in vid2act.sources: #action_at={at}), but it may be image alone, and of '
        f'the format dreamerv2 alone, whose actions led to the image of their row; the data in {path} are of {name}.')
  left = [k for k in OPTIONAL if keys.get(k) == '']
  options = {'keys': {k: v for k, v in keys.items() if v}, 'left': left, 'task': list(tasks)}
  found = module.episodes(path, options)
  bounds = _bounds(keys['bounds']) if 'bounds' in keys else None
  return name, ((k, functools.partial(_changed, k, v, left, bounds)) for k, v in found)


def _bounds(text):
  """Return low and high `[A]`, or `[1]` of one pair for all, of what the user gave as LOW:HIGH,LOW:HIGH,..."""
  try:
    low, high = np.array([[float(y) for y in x.split(':')] for x in text.split(',')]).T
  except ValueError:
    low = high = np.zeros(1)
  if not (np.isfinite([low, high]).all() and (low < high).all()):
    raise UserError(
        f'The option --key bounds (in vid2act.sources: #bounds) is {text}; give LOW:HIGH of all actions, or of each, such '
        'as -2:2,0:1.')
  return low, high


def _changed(name, load, left, bounds):
  """Return what is loaded without the arrays `left`, and with the user's bounds of actions."""
  episode = load()
  if bounds:
    actions, pairs = np.shape(episode.arrays['action'])[-1], len(bounds[0])
    if pairs not in (1, actions):
      raise UserError(
          f'The episode {name} has {actions} actions, and --key bounds has {pairs} pairs (in vid2act.sources: #bounds); '
          f'give one of all actions, or {actions}.')
    episode.bounds = tuple(np.broadcast_to(x, actions) for x in bounds)
  for key in left:
    episode.arrays.pop(key, None)
    name = episode.names.pop(key, ())
    episode.left.update({x: 'left out by --key' for x in ([name] if isinstance(name, str) else name)})
  return episode


def asked(key, value):
  """Return how the user says what of the data is meant: on the command line, and in a run."""
  return f'--key {key}={value} (in vid2act.sources: PATH#{key}={value})'


def find(path, name=''):
  """Return the format module called `name` or, if empty, the first that knows `path`."""
  if name and name not in FORMATS:
    raise UserError(f"The format is '{name}'; choose one of {', '.join(FORMATS)}.")
  for key in [name] if name else FORMATS:
    module = importlib.import_module(f'.{key}', __package__)
    if name or module.detect(path):
      return key, module
  if path.is_dir() and not any(path.iterdir()):
    raise UserError(f'The folder {path} holds nothing; name one with recordings of episodes.')
  raise UserError(
      f'The data in {path} is of no format that is known here; name one with --format '
      f"({', '.join(FORMATS)}), in vid2act.sources as FORMAT:PATH.")


def writer(name):
  """Return the function (folders, episodes, out) that writes recordings as a data set."""
  return importlib.import_module(f'.{name}', __package__).write


def theirs(ours, have, options, path, required=False):
  """Return what our key is called among the keys `have` of `path`, None if it is not there.

  Raises a `UserError` if it is required, or named by the user, and not there.
  """
  named = options.get('keys', {}).get(ours)
  key = named or ours
  if key in have:
    return key
  if named or required:
    raise UserError(
        f"The data in {path} has no key '{key}', only {', '.join(map(str, [*have][:20])) or 'none'}; name "
        f'the right one with --key {ours}=THEIRS, or another format with --format (in vid2act.sources: FORMAT:PATH).')
  return None


def unused(have, names):
  """Return the `left` of an `Episode` for the keys `have` that are not among its `names`."""
  known = {'is_first': 'where episodes begin', 'is_last': 'where episodes end'}
  used = {y for x in names.values() for y in ([x] if isinstance(x, str) else x)}
  return {x: known.get(x, 'not asked for') for x in have if x not in used}
