"""Videos, or folders of numbered pictures, with a table of actions for each or for all.

The actions of NAME.mp4 are in NAME.csv, .npy or .parquet beside it, those of an
episode's folder also in actions.* in it, and those of all in actions.* with a
column `episode` of these NAMEs or their numbers. Actions are the columns whose
names begin with `action` or, where there are none and no other name says
anything about an episode, all but indices. A row belongs to the image of its
place in the order of `frame` or `timestamp`: its action is taken there. With
one row less than images each row is a step between two: its reward and success
are of the later.
"""

import functools

import numpy as np

from ...common import budget, files, images
from ...common.budget import Budget
from ...common.errors import UserError, reading, reason
from ..frames import DARK
from . import Episode, columns, naming, places, separated, tables
from .places import VIDEOS as VIDEOS

EVENLY, ROUNDED = 32, 0.02  # Images over which a rate is measured, and how exactly.


def detect(path):
  """Return whether `path` is or holds a video or pictures."""
  return bool(places.sources(path, shared=False))


def episodes(path, options):
  """Yield `(name, load)` for every video and folder of an episode, in the order of their names."""
  shared = _shared(path)
  found = places.sources(path, shared is not None)
  rows = _Rows(*shared, found) if isinstance(shared, tuple) else shared
  for source in found:
    yield source.name, functools.partial(_load, source, rows, options)


def frames(source):
  """Yield `(seconds, image)` of a film or a folder of pictures; seconds are None where nothing tells them."""
  if source.is_dir():
    return ((None, x) for x in _drawn(_one(source)[0]))
  return _decoded(source)


def rate(source):
  """Return images per second of a film where most of them are; None of pictures, or where it does not tell.

  Screens and cameras in the dark have fewer at times, and then the mean is of no part of the film.
  """
  if source.is_dir():
    return None
  with _reading(source), images.film(source, VIDEOS[source.suffix.lower()]) as (container, stream):
    times = sorted(float(x.pts * x.time_base) for x in container.demux(stream) if x.size and x.pts is not None)
    mean = float(stream.average_rate) if stream.average_rate else None
  few = min(EVENLY, (len(times) - 1) // 4)  # Containers round times, which a mean of some evens out.
  apart = float(np.median(np.subtract(times[few:], times[:-few]))) / few if few > 0 else 0
  told = not apart or VIDEOS[source.suffix.lower()] == 'avi' or mean and abs(apart * mean - 1) < ROUNDED
  return mean if told else 1 / apart


def numbered(folder):
  """Return the pictures in a folder that are one series, in its order."""
  return naming.series(places.pictures(folder))[0]


def strays(folder):
  """Return the pictures in a folder that are none of its series."""
  return naming.series(places.pictures(folder))[1]


def _one(folder):
  """Return pictures and strays of a folder; raises a `UserError` if they may be of two cameras."""
  found = places.pictures(folder)
  if kinds := naming.rivals(found):
    listed = ', '.join(f'{k} ({n})' for k, n in kinds[:columns.MANY])
    raise UserError(
        f'The folder {folder} has {len(found)} images of several kinds, of which none is most: {listed}; put each '
        'kind into a folder of its own.')
  return naming.series(found)


class _Rows:
  """The table of all episodes, and which of its rows are whose."""

  def __init__(self, path, table, key, sources):
    self.path, self.table, self.key = path, table, key
    self.values = [str(x) for x in table[key].tolist()]
    self.owners = naming.owners({*self.values}, [*map(_name, sources)])

  def of(self, source):
    """Return the columns of one episode; raises a `UserError` if none are its own."""
    mine = (self.owners or {}).get(_name(source), ())
    rows = [x in mine for x in self.values]
    if not any(rows):
      have = ', '.join([*dict.fromkeys(self.values)][:5])
      raise UserError(
          f"The file {self.path} has no rows that are certainly of {source}: its column "
          f"'{self.key}' has {have:.200}; write {_name(source)} there.")
    return {k: v[rows] for k, v in self.table.items()}


def _name(source):
  return source.name if source.is_dir() else source.stem


def _shared(path):
  """Return path, columns and key of the table of all episodes, None, or why it cannot be read."""
  for file in [path / x for x in places.SHARED] if path.is_dir() else []:
    try:
      if file.exists():
        table = _table(file)
        if keys := columns.of_kind(table, 'episode'):
          return file, table, keys[0]
    except UserError as e:  # It may be that nobody needs it.
      return e
  return None


def _load(source, shared, options):
  own = places.table(source)
  if not own and isinstance(shared, UserError):
    raise shared
  if not own and not shared:
    raise UserError(
        f'There are no actions for {source}; put them into {_name(source)}.csv, .npy or .parquet '
        'beside it, or into actions.csv with a column `episode`; `vid2act label` infers them.')
  path, table = (own, _table(own)) if own else (shared.path, shared.of(source))
  shown = places.shown(source, options)
  pictures, strays = _one(shown) if shown.is_dir() else ([], [])
  count, fps = (len(pictures), None) if pictures else _probe(shown)
  if found := columns.order(table, path, count, pictures):
    table = {k: v[found[0]] for k, v in table.items()}
  arrays, names, left = columns.arrays(table, options, path)
  columns.single(table, path, {y for x in names.values() for y in x} | (set() if own else {shared.key}))
  names = {'image': _seen(source, shown, pictures), **names}
  if found:
    names['order'] = found[2]
    left.pop(found[1], None)
  left.update({x.name: 'its name is not like those of the others' for x in strays})
  rows = len(arrays['action'])
  if rows not in (count, count - 1):
    raise UserError(
        f'The video {shown} has {count} images{_without(strays)}, but {path} {rows} actions for '
        'it; it takes as many, or one less.')
  if rows == count - 1:
    arrays = {
        k: np.concatenate([v, 0 * v[:1]] if k == 'action' else [0 * v[:1], v])
        for k, v in arrays.items()}
  seen = _drawn(pictures) if pictures else (x for _, x in _decoded(shown))
  return Episode(seen, arrays, fps, names, left)


def _seen(source, shown, pictures):
  """Return for the report what the images are."""
  apart = shown != source
  if not pictures:
    return 'the film' + f' {shown.name}' * apart
  with _reading(pictures[0]):
    most = images.brightest(files.regular(pictures[0]), Budget.of(pictures[0]))
  # Cameras of 12 bits may leave the upper four empty; which do, no file says.
  dark = f' (the first is below {DARK})' if most is not None and most < DARK else ''
  return 'the pictures' + f' in {shown.name}' * apart + (
      f' of 16 bits, whose 65535 becomes 255{dark}' if most is not None else '')


def _without(strays):
  few = ', '.join(x.name for x in strays[:3])
  return f' without {few}{" and more" * (len(strays) > 3)}' if strays else ''


def _table(path):
  """Return the columns of a file, `{name: [N] or [N, A]}`."""
  try:
    if path.suffix == '.npy':
      # Mapped, so that a header which claims more than the file holds allocates nothing.
      value = np.load(files.regular(path), mmap_mode='r', allow_pickle=False)
      if not isinstance(value, np.ndarray):
        raise ValueError('it is an archive')
      return {'action': np.array(value)}
    table = separated.read(path) if path.suffix == '.csv' else tables.parquet(path)
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
      yield None if form == 'avi' else frame.time, images.upright(frame)  # AVI has times of decoding alone.


def _drawn(paths):
  for path in paths:
    with _reading(path):
      yield images.rgb(files.regular(path), Budget.of(path))
