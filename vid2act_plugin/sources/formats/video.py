"""Videos, or folders of numbered pictures, with a table of actions for each or for all.

The actions of NAME.mp4 are in NAME.csv, .npy or .parquet beside it, those of
pictures also in actions.* among them, and those of all in actions.* with a
column `episode` of these NAMEs. Actions are the columns whose names begin with
`action` or, where there are none, all that have no other meaning. A row belongs
to the image of its place: its action is taken there. With one row less than
images each row is a step between two: its reward and success are of the later.
"""

import functools
import re

import numpy as np

from ...common import budget, files, images
from ...common.budget import Budget
from ...common.errors import UserError, reading, reason
from . import Episode, tables

VIDEOS = {  # Suffix -> FFmpeg's name.
    '.mp4': 'mp4', '.m4v': 'mp4', '.mov': 'mov', '.gif': 'gif', '.mkv': 'matroska',
    '.webm': 'matroska', '.avi': 'avi'}
PICTURES = ('.png', '.jpg', '.jpeg')
TABLES = ('.csv', '.npy', '.parquet')
OPTIONAL = ('reward', 'success', 'is_terminal')
OTHERS = (
    'episode', 'frame', 'frame_index', 'index', 'is_first', 'is_last', 'step', 't', 'time',
    'timestamp', '')


def detect(path):
  """Return whether `path` is or holds a video or pictures."""
  return bool(_sources(path))


def episodes(path, options):
  """Yield `(name, load)` for every video and folder of pictures, in the order of their names."""
  shared = _shared(path)
  for source in _sources(path):
    yield source.name, functools.partial(_load, source, shared, options)


def _sources(path):
  if path.is_file():
    return [path] if path.suffix.lower() in VIDEOS else []
  if _pictures(path):
    return [path]
  return [
      x for x in sorted(path.iterdir(), key=_natural)
      if x.suffix.lower() in VIDEOS or x.is_dir() and (_pictures(x) or _actions(x))]


def _natural(path):
  return [(int(x), '') if x.isdigit() else (-1, x) for x in re.split(r'(\d+)', path.name)]


def _pictures(folder):
  return sorted((x for x in folder.iterdir() if x.suffix.lower() in PICTURES), key=_natural)


def _actions(path):
  """Return the table of one episode's actions, or None."""
  stem = path.name if path.is_dir() else path.stem
  found = [path.parent / f'{stem}{x}' for x in TABLES]
  if path.is_dir():
    found += [path / f'actions{x}' for x in TABLES]
  return next((x for x in found if x.is_file()), None)


def _shared(path):
  """Return path and columns of the table of all episodes, None, or why it cannot be read."""
  found = [path / f'actions{x}' for x in ('.csv', '.parquet')] if path.is_dir() else []
  for file in found:
    try:
      if file.exists() and 'episode' in (table := _table(file)):
        return file, table
    except UserError as e:  # It may be that nobody needs it.
      return e
  return None


def _load(source, shared, options):
  own = _actions(source)
  if not own and isinstance(shared, UserError):
    raise shared
  if not own and not shared:
    raise UserError(
        f'There are no actions for {source}; put them into {source.stem}.csv, .npy or .parquet '
        'beside it.')
  path, table = (own, _table(own)) if own else shared
  if not own:
    mine = [_same(x, source.stem) for x in table['episode'].tolist()]
    table = {k: v[mine] for k, v in table.items()}
  arrays = _arrays(table, options, path)
  shown = _pictures(source) if source.is_dir() else source
  count, fps = (len(shown), None) if source.is_dir() else _probe(source)
  rows = len(arrays['action'])
  if rows not in (count, count - 1):
    raise UserError(
        f'The video {source} has {count} images, but {path} {rows} actions for it; it takes as '
        'many, or one less.')
  if rows == count - 1:
    arrays = {
        k: np.concatenate([v, 0 * v[:1]] if k == 'action' else [0 * v[:1], v])
        for k, v in arrays.items()}
  return Episode((_drawn if source.is_dir() else _decoded)(shown), arrays, fps)


def _same(value, stem):
  return str(value) == stem or stem.isdigit() and str(value).isdigit() and int(value) == int(stem)


def _arrays(table, options, path):
  keys, have = options.get('keys', {}), ', '.join(table)
  named = {k: v.split(',') for k, v in keys.items() if k in ('action', *OPTIONAL)}
  for key in [x for xs in named.values() for x in xs if x not in table]:
    raise UserError(
        f"The file {path} has no column '{key}', only {have}; name the right ones with --key "
        'action=COLUMN,COLUMN.')
  columns = {k: named.get(k, [k])[0] for k in OPTIONAL}
  rest = [k for k in table if k not in (*OTHERS, *columns.values())]
  action = named.get('action') or [k for k in rest if k.startswith('action')] or rest
  if not action:
    raise UserError(
        f'The file {path} has no column of actions, only {have}; name them with --key '
        'action=COLUMN,COLUMN.')
  wide = [table[k] if table[k].ndim > 1 else table[k][:, None] for k in action]
  arrays = {'action': np.concatenate(wide, 1)}
  return {**arrays, **{k: table[v] for k, v in columns.items() if v in table}}


def _table(path):
  """Return the columns of a file, `{name: [N] or [N, A]}`."""
  try:
    if path.suffix == '.npy':
      # Mapped, so that a header which claims more than the file holds allocates nothing.
      value = np.load(files.regular(path), mmap_mode='r', allow_pickle=False)
      if not isinstance(value, np.ndarray):
        raise ValueError('it is an archive')
      return {'action': np.array(value)}
    table = tables.csv(path) if path.suffix == '.csv' else tables.parquet(path)
    return {k: tables.numbers(table[k]) for k in table.column_names}
  except Exception as e:  # NumPy and Arrow each raise errors of their own.
    if budget.ran_out(e):
      raise
    raise UserError(
        f'The file {path} is no readable table of numbers ({reason(budget.fault(e))}); write it '
        'again.') from e


def _reading(path):
  return reading(f'The file {path}', 'copy it again or delete it', 'cannot be read to its end')


def _probe(path):
  """Return number of images and images per second of a video, without decoding it."""
  with _reading(path), images.film(path, VIDEOS[path.suffix.lower()]) as (container, stream):
    count = sum(x.size > 0 and not x.is_discard for x in container.demux(stream))
    return count, float(stream.average_rate) if stream.average_rate else None


def _decoded(path):
  form = VIDEOS[path.suffix.lower()]  # Exploding, because else damage is painted over.
  with _reading(path), images.film(path, form, err_detect='explode') as (container, stream):
    for frame in container.decode(stream):
      yield frame.to_ndarray(format='rgb24')


def _drawn(paths):
  for path in paths:
    with _reading(path):
      yield images.rgb(files.regular(path), Budget.of(path))
