"""What the columns of a table beside a video mean, and in which order its rows come.

Known are names of actions and of what comes with them; nothing is guessed at where some are.
"""

import pathlib
import re

import numpy as np

from ...common.errors import UserError
from . import asked, naming

COLUMNS = asked('action', 'COLUMN,COLUMN')
OPTIONAL = ('reward', 'success', 'is_terminal')
ENDS = r'_(s|sec|secs|seconds|ms|msec|us|ns|nsec|utc|unix|epoch)'
NUMBERS = r'_?(index|idx|id|number|num|no|nr|count)'
MEANINGS = {  # Of names in lower case, with '_' for all but letters and digits; the first counts.
    'reward': 'rewards?', 'success': '(is_)?success|succeeded',
    'is_terminal': '(is_)?terminals?|terminated|termination',
    'frame': f'(frame|step|time_?step|image|file)({NUMBERS}|_?name|_?path|_?file)?',
    'time': f'(time|timestamp|datetime|stamp|t)({ENDS})?',
    'clock': f'(.*_)?(time|timestamp|datetime|date|stamp|clock|elapsed|seconds)({ENDS})?',
    'episode': f'(episode|trajectory|demo|video)({NUMBERS}|_?name|_?path|_?file)?',
    'index': r'|unnamed(_\d+)+|index_level_\d+|level_\d+|index|idx|id|row|row' + NUMBERS,
    'end': '(is_)?(done|dones|first|last)|truncated|truncation|timeouts?|episode_end',
    'other': '(next|obs|observations?|states?|infos?|task|return|discount|seed)(_.*)?|'
             'actions?_(is_)?(pad|mask|valid|id|name|type|source|confidence)',
    'action': 'action.*'}
LEFT = {
    'frame': 'numbers or names of images', 'time': 'time', 'clock': 'time', 'episode': 'names of episodes',
    'index': 'an index', 'other': 'not an action by its name', None: 'not an action by its name',
    'end': 'where episodes end, which need not be terminal', 'action': 'other actions are named'}
PLAIN = ('frame', 'time', 'clock', 'episode', 'index')  # They say nothing about the others.
MANY = 20
SHORT = 3  # Rows: parts of fewer on average are of rows that were mixed.
TRUE = ('true', '1', '1.0', 'yes')
SEVERAL = 'so several episodes; write one file for each'


def meaning(name):
  """Return a key of `MEANINGS`, or None if the name of a column says nothing."""
  plain = re.sub('[^a-z0-9]+', '_', str(name).lower()).strip('_')
  return next((k for k, v in MEANINGS.items() if re.fullmatch(v, plain)), None)


def of_kind(table, kind):
  """Return the names of the columns of a kind; that which is called so comes first."""
  return [k for k in sorted(table, key=lambda x: x != kind) if meaning(k) == kind]


def arrays(table, options, path):
  """Return `(arrays, names, left)` of an `Episode` from the columns `{name: [N] or [N, A]}`.

  Raises a `UserError` if what the user named is not there, if there is nothing that can be an
  action, or if some columns are known and whether others are actions is not.
  """
  keys, have = options.get('keys', {}), _list(table)
  named = {k: v.split(',') for k, v in keys.items() if k in ('action', *OPTIONAL)}
  for key in [x for xs in named.values() for x in xs if x not in table]:
    raise UserError(
        f"The file {path} has no column '{key}', only {have}; name the right ones with {COLUMNS}.")
  kinds = {k: meaning(k) for k in table}
  names = {k: v[:1] for k, v in named.items() if k in OPTIONAL}
  for kind in OPTIONAL:
    found = [k for k, v in kinds.items() if v == kind]
    if len(found) > 1 and kind not in names and kind not in options.get('left', ()):
      raise UserError(
          f'The file {path} has {_list(found)}, each of which may be the {kind}; name one with '
          f'{asked(kind, found[0])}.')
    if found:
      names.setdefault(kind, found)
  action = named.get('action') or [k for k, v in kinds.items() if v == 'action']
  names = {'action': action or _guessed(kinds, names, path), **names}
  wide = [table[k] if table[k].ndim > 1 else table[k][:, None] for k in names['action']]
  used = {y for x in names.values() for y in x}
  left = {k: LEFT.get(v, f'another {v} is named') for k, v in kinds.items() if k not in used}
  return {
      'action': np.concatenate(wide, 1), **{k: table[names[k][0]] for k in OPTIONAL if k in names}
  }, names, left


def _guessed(kinds, names, path):
  used = {y for x in names.values() for y in x}
  rest = [k for k, v in kinds.items() if v is None and k not in used]
  if not rest:
    raise UserError(
        f'The file {path} has no column of actions, only {_list(kinds)}; name them with {COLUMNS}.')
  known = [k for k, v in kinds.items() if k not in rest and v not in PLAIN]
  if known:
    raise UserError(
        f'The file {path} has {_list(known)}, which are known, and {_list(rest)}, which may be '
        f"actions or not; name those that are, such as {asked('action', ','.join(rest[:MANY]))}.")
  return rest


def order(table, path, count, pictures=()):
  """Return the order of the rows `[N]` int, the name of the column that says so, and how rows are taken; or None.

  count: of images. pictures: their paths, if they are no film. Raises a `UserError` if a number
  of a frame is there twice, or if rows are missing between others.
  """
  places = {x: i for i, y in enumerate(pictures) for x in (y.name, naming.text(y))}
  for kind, name in [(k, x) for k in ('frame', 'time') for x in of_kind(table, k)]:
    values, known = table[name], naming.numbers(pictures)
    if kind == 'frame' and values.dtype == object and values.ndim == 1:
      files = [pathlib.PurePath(str(x)).name for x in values]
      if all(x in places for x in files):
        values, known = np.array([places[x] for x in files], int), [*range(count)]
    if values.ndim > 1 or values.dtype.kind not in 'fiuM':
      continue
    if (values != values).any():
      raise UserError(f"The file {path} has empty cells in its column '{name}'; fill them.")
    if kind == 'time':
      _onward(values, name, path)
    rows = np.argsort(values, kind='stable')
    late = kind == 'frame' and _whole(values[rows], name, path, count, known)
    return rows, name, f'{name}, of which the first image is not: each row led to its image' if late else name
  return None


def single(table, path, used):
  """Refuse rows in order that are of several episodes, as columns tell that are not among the names `used`."""
  for name in [x for x in table if x not in used and table[x].ndim == 1]:
    values, kind = table[name], meaning(name)
    if kind == 'time' and values.dtype.kind in 'fiuM':
      _onward(values, name, path)
    if kind == 'episode':
      found = [*dict.fromkeys(str(x) for x in values.tolist() if x is not None and x == x and x != '')]
      if len(found) > 1:
        raise UserError(
            f"The file {path} has {_list(found)} in its column '{name}', {SEVERAL}, or leave that column out if it "
            'tells no episodes.')
    if kind == 'end' and (row := within(name, values)) is not None:
      raise UserError(f'The file {path} has {name} in row {row} of 0 to {len(values) - 1}, {SEVERAL}.')


def within(name, values):
  """Return the first row `[N]` in which an episode ends before the last or begins after the first, or None."""
  if values.dtype.kind in 'fiub':
    told = (values == values) & (values != 0)
  else:
    told = np.array([str(x).strip().lower() in TRUE for x in values.tolist()], bool)
  told[slice(1) if 'first' in name.lower() else slice(-1, None)] = False
  return int(np.argmax(told)) if told.any() else None


def _onward(values, name, path):
  """Refuse times that begin anew: sorted, the rows of two episodes would be mixed.

  Those that fall are no fault where they are of rows that were mixed or turned: then none is there
  in two parts, or parts are short or begin at other times.
  """
  times = values.astype(np.int64) if values.dtype.kind == 'M' else values
  falls = np.flatnonzero(times[1:] < times[:-1]) + 1
  if not len(falls):
    return
  parts = np.split(times, falls)
  steps = [y - x for part in parts for x, y in zip(part, part[1:])]
  anew = SHORT * len(parts) <= len(times) and all(x[0] - times.min() <= np.median(steps) for x in parts)
  if anew or sum(len({*x.tolist()}) for x in parts) > len({*times.tolist()}):
    raise UserError(
        f'The file {path} goes back from {values[falls[0] - 1]} to {values[falls[0]]} in row {falls[0]} of 0 to '
        f"{len(values) - 1} in its column '{name}', {SEVERAL}; if they are one, sort them.")


def _whole(values, name, path, count, numbers):
  """Refuse sorted numbers of frames of which some are there twice or missing; say whether the first alone is."""
  steps = np.diff(values)
  if len(steps) and not steps.all():
    raise UserError(
        f"The file {path} has {values[1:][steps == 0][0]:g} twice in its column '{name}'; write "
        'one row for each image, and one file for each episode.')
  if numbers is not None and values.tolist() in (numbers, numbers[:-1]):
    return False
  if len(values) != count and len({*steps.tolist()}) > 1:
    place = int(np.argmax(steps))
    raise UserError(
        f"The file {path} has no row between {values[place]:g} and {values[place + 1]:g} in its "
        f"column '{name}', and {count} images; write a row for each.")
  return bool(numbers) and values.tolist() == numbers[1:]


def _list(names):
  names = [*map(str, names)]
  return ', '.join(names[:MANY]) + f' and {len(names) - MANY} more' * (len(names) > MANY)
