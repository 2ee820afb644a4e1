"""Other people's episodes: what all of them have in common, and each of them in our format.

Axes: T images of an episode, K of them kept, A actions.
"""

import collections
import dataclasses

import numpy as np

from ..common import budget, npz, progress
from ..common.errors import UserError, printable, reason
from ..common.output import count, say
from . import formats, recording, report, rewards
from .frames import images

ROUNDING = 1e-6  # Actions beyond [-1, 1] by no more are clipped, not scaled.
BOUNDS = 'bounds'  # Among the keys of an episode: its format tells the bounds of actions.
NEAR = 0.02  # Of a rate: cameras keep theirs no better; 24 and 25 images/s differ by more.
FACTS = ('act_size', 'action_low', 'action_high', 'fps', 'reward', 'success')
NUMBERS = 'fiub'  # Kinds of data types.
MOST = budget.FREE // 8  # Numbers of one array: at work they have 8 bytes each.


@dataclasses.dataclass
class Survey:
  """What is known of all episodes before any image is read.

  facts: what they have in common, `act_size`, `fps`, whether all have `reward`
  and `success`, and `action_low` and `action_high` `[A]`, which become -1 and 1:
  those of the space where all tell it, else of the data (-1 and 1 themselves
  for an action that is within). faults: `{name: sentence}`
  of those that cannot be taken. steps: `{name: T}` of those that can be read.
  columns: see `report.layouts`. unasked: names of those that options leave out.
  digests: `{name: hash}` of the arrays of those that can be read.
  """

  facts: dict
  faults: dict
  steps: dict
  columns: list
  unasked: set
  digests: dict


def survey(found, size):
  """Read the arrays of all episodes `[(name, load)]`, one at a time; returns a `Survey`.

  size: bytes of all the data. The number of actions, and images per second
  where known, are those of most episodes.
  """
  groups, faults, seen, steps, facts, unasked, digests = {}, {}, {}, {}, {}, set(), {}
  columns, ended, beyond = collections.Counter(), 0, 0
  with progress.bar('reading actions', len(found), 'episodes') as bar:
    for name, load in found:
      try:
        with budget.capped(budget.Budget(size).bytes):
          episode = load()
          arrays = _arrays(name, episode)
        seen[name] = arrays['action'].shape[1], _rate(episode.fps), _named(episode, arrays['action'])
        used, steps[name] = arrays['action'][:-1], len(arrays['action'])
        columns[report.layout(episode)] += 1
        digests[name] = npz.digest(arrays)
        ended += int(np.count_nonzero(arrays.get('is_terminal', used[:0])[:-1]))
        wrong = rewards.endless(arrays)
        told = episode.bounds if episode.bounds and len(episode.bounds[0]) == used.shape[1] else None
        low, high = told or (used.min(0), used.max(0))
        beyond += int(np.any((used < low - ROUNDING) | (used > high + ROUNDING), 1).sum())
        facts[name] = low, high, {*arrays, *([BOUNDS] if told else [])} - wrong, wrong
      except formats.NotAsked:
        unasked.add(name)
      except Exception as e:  # One bad episode costs no other; each library has its own errors.
        faults[name] = sentence(name, e)
      bar.advance()
  if ended:
    say(f'Note: is_terminal is true in {count(ended, "row")} before the last of an episode, of which the last alone '
        'can be; where episodes end there, write one file for each.')
  if beyond:
    say(f'Note: {count(beyond, "step")} with actions beyond the bounds that are told; these are clipped.')
  faults.update(rewards.faults(facts))
  for name in [x for x in facts if x not in faults]:
    low, high, have, _ = facts[name]
    number, lowest, highest, common = groups.get(seen[name], (0, np.inf, -np.inf, have))
    groups[seen[name]] = (
        number + 1, np.minimum(lowest, low), np.maximum(highest, high), common & have)
  seen = {k: v for k, v in seen.items() if k not in faults}
  return Survey(
      _common(groups), {**faults, **dict(_odd(groups, seen))}, steps, report.layouts(columns),
      unasked, digests)


def convert(name, load, head, data, size=None):
  """Return what `load` loads as an episode in our format, `{key: [K, ...]}`.

  head: with `imported` (repeat, limit) and the facts of a `Survey`. data: bytes of
  all the data. size: height and width of the images; None: as they are. Raises
  a `UserError` if the episode has faults.
  """
  given, most = head['imported'], budget.Budget(data).bytes
  with budget.capped(most):
    episode = load()
    arrays = _arrays(name, episode)
  steps = len(arrays['action'])
  stop = min(steps, given['limit'] + 1) if given['limit'] else steps
  keep = np.unique(np.append(np.arange(0, stop, given['repeat']), stop - 1))
  since = np.array([0, *(keep[:-1] + 1)])  # The first step after the image kept before.
  again, frames = lambda: _capped(load().frames, most), _capped(episode.frames, most)
  made = {'image': images(
      name, frames, keep, steps, size, given['resize'], again, episode.names.get('image', 'image'))}
  low, high = (np.array(head[f'action_{k}']) for k in ('low', 'high'))
  action = scale(arrays['action'][keep], low, high).astype(np.float32)
  action[-1] = 0
  for key, sums in (('reward', np.add), ('success', np.maximum)):
    value = arrays[key].astype(np.float64) if head[key] else np.zeros(steps)
    made[key] = sums.reduceat(value[:stop], since).astype(np.float32)
  for key in ('is_first', 'is_last', 'is_terminal'):
    made[key] = np.zeros(len(keep), bool)
  made['is_first'][0] = made['is_last'][-1] = True
  made['is_terminal'][-1] = stop == steps and arrays.get('is_terminal', [False])[-1] > 0
  return {k: {**made, 'action': action}[k] for k in recording.SPACES}


def scale(action, low, high):
  """Return actions `[T, A]` with `low` `[A]` moved to -1 and `high` to 1; 0 where they are one."""
  span = high - low
  scaled = 2 * (action - low) / np.where(span > 0, span, 1) - 1
  scaled = np.where((low == -1) & (high == 1), action, scaled)  # To the last bit.
  return np.clip(np.where(span > 0, scaled, 0), -1, 1)


def sentence(name, error):
  """Return what is wrong with an episode as a sentence that names it; memory is not its fault."""
  if budget.ran_out(error):
    raise MemoryError(f'while reading {printable(name)}') from error
  if not isinstance(error, UserError):
    return (f'The episode {printable(name)} cannot be read ({reason(budget.fault(error))}); copy it '
            'again or delete it.')
  return str(error) if printable(name) in str(error) else f'{printable(name)}: {error}'


def _common(groups):
  if not groups:
    return {}
  size, fps, named = most = _most(groups)
  same = [v for k, v in groups.items() if _alike(k, most)]
  rates = sorted({k[1] for k in groups if k[1] and _alike(k, most)})
  if len(rates) > 1:
    say(f'Note: rates from {rates[0]:g} to {rates[-1]:g} images/s are taken as {fps:g}.')
  low, high = np.min([x[1] for x in same], 0), np.max([x[2] for x in same], 0)
  told = all(BOUNDS in x[3] for x in same)
  within = (low == -1) & (high == 1) if told else (low >= -1 - ROUNDING) & (high <= 1 + ROUNDING)
  if not within.all():
    say('Note: actions are scaled to [-1, 1]: ' + ', '.join(
        f'{i} from [{low[i]:.4g}, {high[i]:.4g}]' for i in np.flatnonzero(~within)))
  low, high = np.where(within, -1.0, low), np.where(within, 1.0, high)
  known = {k: all(k in x[3] for x in same) for k in ('reward', 'success')}
  return dict(
      act_size=size, fps=fps, **known, action_low=low.tolist(), action_high=high.tolist())


def _odd(groups, seen):
  most = size, fps, named = _most(groups) if groups else (0, None, None)
  cure = 'import those of its kind by themselves.'
  for name, (actions, rate, names) in seen.items():
    if _alike((actions, rate, names), most):
      continue
    if actions != size:
      yield name, f'The episode {name} has {actions} actions and most others have {size}; {cure}'
    elif not _near(rate, fps):
      yield name, f'The episode {name} has {rate:g} images/s and most others have {fps:g}; {cure}'
    else:
      mine, others = (','.join(map(printable, x[:20])) for x in (names, named))
      yield name, f'The episode {name} has the actions {mine} and most others {others}; ' + (
          f"give their order with {formats.asked('action', others)}." if sorted(names) == sorted(named) else
          'give them the same names.')


def _rate(fps):
  return (round(fps, 2) or None) if fps else None


def _named(episode, action):
  """Return the names of the actions, one by one, or None."""
  names = episode.names.get('action', ())
  return tuple(names) if 1 < len(names) == action.shape[1] and not isinstance(names, str) else None


def _most(groups):
  """Return what most episodes have: number of actions, rate, and names of actions."""
  def best(place, alike, groups):
    counts = collections.Counter()
    for key, value in groups.items():
      counts[key[place]] += value[0]
    counts.pop(None, None)
    near = {k: (sum(n for x, n in counts.items() if alike(x, k)), n) for k, n in counts.items()}
    return max(near, key=near.get, default=None)
  size = best(0, int.__eq__, groups)
  groups = {k: v for k, v in groups.items() if k[0] == size}
  fps = best(1, _near, groups)
  groups = {k: v for k, v in groups.items() if _near(k[1], fps)}
  return size, fps, best(2, tuple.__eq__, groups)


def _near(rate, other):
  return rate is None or other is None or abs(rate - other) <= NEAR * other


def _alike(key, most):
  return key[0] == most[0] and _near(key[1], most[1]) and (
      None in (key[2], most[2]) or key[2] == most[2])


def _arrays(name, episode):
  """Return the arrays of an episode, checked: `action` `[T, A]` float64 and others `[T]`."""
  arrays = {k: np.asarray(v) for k, v in episode.arrays.items()}
  action = arrays['action']
  if action.ndim != 2 or 0 in action.shape or action.dtype.kind not in NUMBERS:
    raise UserError(
        f'The episode {name} has actions of shape {action.shape} and type {action.dtype}, which '
        f"have to be numbers of shape [T, A]; name others with {formats.asked('action', 'THEIRS')}.")
  steps = len(action)
  if action.size > MOST:
    raise UserError(
        f'The episode {name} has {action.size:,} numbers of actions, and {MOST:,} are read; cut it '
        'into shorter ones.')
  if steps < 2:
    raise UserError(f'The episode {name} has fewer than 2 images; delete it.')
  for key, value in arrays.items():
    if value.dtype.kind not in NUMBERS or key != 'action' and value.size != steps:
      raise UserError(
          f'The episode {name} has {key} of shape {value.shape} and type {value.dtype} instead of '
          f"{steps} numbers; name others with {formats.asked(key, 'THEIRS')}.")
    arrays[key] = value if key == 'action' else value.reshape(steps)
    if key not in formats.OPTIONAL and not np.isfinite(
        value[:-1] if key == 'action' else value).all():
      raise UserError(f'The episode {name} has values of {key} that are not finite; mend them.')
  return {**arrays, 'action': action.astype(np.float64)}


def _capped(frames, size):
  """Yield the images with a cap on what it takes to read each; see `budget.capped`."""
  frames = iter(frames)
  while True:
    with budget.capped(size):
      frame = next(frames, None)
    if frame is None:
      return
    yield frame
