"""LeRobot data sets of the versions 2.0, 2.1 and 3.0: rows in parquet files, images in videos."""

import functools
import io
import pathlib

import numpy as np

from ...common import images
from ...common.budget import Budget
from ...common.errors import UserError
from . import Episode, NotAsked, asked, columns, tables
from . import lerobot_meta as meta
from .lerobot_writer import write as write  # A part of what a format's module has.

KEYS = {'action': 'action', 'reward': 'next.reward', 'success': 'next.success'}
ARRAYS = (*KEYS, 'is_terminal')
NUMBERS = ('float16', 'float32', 'float64', 'int8', 'int16', 'int32', 'int64', 'uint8')
AHEAD = 'next.'  # Names of columns about what followed the action of their row begin like this.
NEAR = 1e-4  # Seconds, LeRobot's tolerance: an image that is off by more belongs to another row.


def detect(path):
  """Return whether `path` is the folder of a LeRobot data set."""
  return (pathlib.Path(path) / 'meta' / 'info.json').is_file()


def episodes(path, options):
  """Yield `(name, load)` of every episode of a LeRobot data set; see `formats`.

  Row t has the image, the action taken there and, in the columns `next.*`,
  what was received for it, which arrives one image later. After the last row
  there is no image: its `next.reward` is added to the reward received there,
  and its `next.success` counts there too, so that a reward at the very end
  survives; its action is not used. `next.done` ends an episode but need not
  be terminal, so is_terminal is read only where `next.truncated` tells them
  apart. `--key image=NAME` chooses among several cameras, `--key reward=NAME`
  and the like other columns. Without a column `action`, all that are named so,
  such as `action.arm`, are the actions, in their order. Of several tasks,
  those in the option `task` are read. Raises a `UserError` if the metadata is
  not whole or the choice is not clear.
  """
  path = pathlib.Path(path)
  info, entries = meta.metadata(path)
  names = _names(path, info['features'], options.get('keys', {}))
  found, files = entries(names['image'][0]), _finder(path, info)
  wanted = meta.chosen(path, found, options.get('task'))
  for entry in found:
    yield f"episode {entry['episode_index']}", functools.partial(
        _load, path, info, entry, names, files, wanted)


def _names(path, features, keys):
  cameras = [k for k, v in features.items() if v in ('video', 'image')]
  image = keys.get('image', cameras[0] if len(cameras) == 1 else '')
  if image not in cameras:
    raise UserError(
        f"The data set {path} has these cameras: {', '.join(cameras) or 'none'}"
        + (f", and not '{image}'" if image else '')
        + f"; choose one with {asked('image', 'NAME')}." * bool(cameras)
        + '; choose a data set with images.' * (not cameras))
  found = {k: [v] for k, v in KEYS.items() if v in features}
  if 'next.done' in features and 'next.truncated' in features:
    found['is_terminal'] = ['next.done']
  if 'action' not in features:
    found['action'] = [
        k for k, v in features.items() if columns.meaning(k) == 'action' and v in NUMBERS] or ['action']
  found.update({k: v.split(',') for k, v in keys.items() if k in ARRAYS})
  for key, name in [(k, x) for k, v in found.items() for x in v]:
    if name not in features:
      raise UserError(
          f"The data set {path} has no '{name}' but {', '.join(features)}; choose one of them with "
          f"{asked(key, 'NAME')}.")
  return dict(found, image=[image])


def _left(features, names):
  """Return `{column: why}` of those that are not used."""
  used = {'timestamp', 'episode_index', *[x for v in names.values() for x in v]}
  left = {k: columns.LEFT.get(columns.meaning(k), 'not asked for') for k in features if k not in used}
  left.update({k: 'another camera is taken' for k in left if features[k] in ('video', 'image')})
  left.update({k: 'depth' for k in left if features[k] == 'depth'})
  return left


def _load(path, info, entry, names, files, wanted):
  if 'fault' in entry:
    raise entry['fault']
  if wanted is not None and wanted.isdisjoint(entry['tasks']):
    raise NotAsked(f"Episode {entry['episode_index']} is of another task; choose it by --task.")
  entry = {**entry, **meta.places(path, info, names['image'][0], *entry['places'])}
  entry['data'] = files(entry)
  arrayed = {k: v for k, v in names.items() if k != 'image'}
  where = entry['data'][0]
  with meta.read_file(where):
    cut = arrayed.get('is_terminal') == ['next.done'] and 'next.truncated' in info['features']
    every = dict.fromkeys([
        'timestamp', *[x for v in arrayed.values() for x in v], *['next.truncated'] * cut])
    table = _rows(entry, list(every), 1024).to_table()
    if len(table) != entry['length'] or not len(table):
      raise ValueError(
          f"episode {entry['episode_index']} has {len(table)} rows, not {entry['length']}")
    maybe = [x for k in ('reward', 'success') for x in arrayed.get(k, ())]
    values = {k: _array(table[k], k, k in maybe) for k in every}
    if cut:
      values['next.done'] = values['next.done'] & ~values['next.truncated']
    arrays = {
        k: _arrived(k, v[0], np.concatenate([values[x] for x in v], 1)) for k, v in arrayed.items()}
    times = entry['start'] + values['timestamp'][:, 0].astype(np.float64)
    if 'video' in entry and not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
      raise ValueError(f"the timestamps of episode {entry['episode_index']} do not go on from row to row")
  if 'video' in entry:
    frames = _film(entry, times, info['fps'])
  else:
    frames = _pictures(entry, names['image'][0])
  return Episode(frames, arrays, info['fps'], names, _left(info['features'], names))


def _finder(path, info):
  """Return the function (entry) -> files that hold the rows of an episode, with places filled in.

  From 3.0 on LeRobot reads all of data/, and the converter of older sets named wrong files.
  """
  found, faults = {}, []

  @functools.cache
  def scan():
    for file in meta.parquets(path / 'data'):
      try:
        with meta.read_file(file):
          for value in tables.parquet(file, ['episode_index'])['episode_index'].unique().to_pylist():
            found.setdefault(value, []).append(file)
      except UserError as e:  # It costs only the episodes in it.
        faults.append(e)

  def files(entry):
    if info['version'] != 'v3.0':
      return [entry['data']]
    scan()
    if entry['episode_index'] not in found:
      raise faults[0] if faults else UserError(
          f"The data set {path} has no rows of episode {entry['episode_index']} in data/, where "
          f"{entry['data'].name} should hold them; {meta.CURE}.")
    return found[entry['episode_index']]

  return files


def _rows(entry, names, rows=tables.ROWS):
  import pyarrow.dataset as ds
  from pyarrow.fs import LocalFileSystem
  for file in entry['data']:
    tables.check(file, ['episode_index', *names])
  form = ds.ParquetFileFormat()
  parts = [form.make_fragment(tables.local(x), LocalFileSystem()) for x in entry['data']]
  return ds.FileSystemDataset(parts, parts[0].physical_schema, form).scanner(
      columns=names, filter=ds.field('episode_index') == entry['episode_index'],
      batch_size=rows, batch_readahead=1, fragment_readahead=1)


def _array(column, name, maybe=False):
  """Return a column `[T, A]`; maybe: cells may be empty, which are NaN."""
  if column.null_count and not maybe:
    raise ValueError(f"its column '{name}' has empty cells")
  value = tables.numbers(column)
  if column.null_count and value.dtype == object:
    value = value.astype(np.float32)
  return value.reshape(len(column), -1)


def _arrived(key, name, value):
  value = value.astype(bool if key == 'is_terminal' else np.float32)
  if key == 'action':
    return value
  value, = value.T
  if not name.startswith(AHEAD):
    return value
  late = np.concatenate([np.zeros_like(value[:1]), value[:-1]])
  late[-1] = late[-1] + value[-1] if key == 'reward' else np.maximum(late[-1], value[-1])
  return late


def _film(entry, times, fps):
  """Yield the images at `times`, as near as LeRobot itself wants them."""
  path, end = entry['video'], entry['end']
  with meta.read_file(path), images.film(path, 'mp4') as (container, stream):
    rate = float(stream.average_rate or fps)
    if abs(rate / fps - 1) > 0.05:
      raise UserError(
          f'The video {path} has {rate:g} images per second, but meta/info.json has {fps:g}; '
          f'{meta.CURE}.')
    if end is not None and times[-1] > end - NEAR:
      raise UserError(
          f"The video {path} has images of episode {entry['episode_index']} until {end:.3f} s, but "
          f'its rows go on to {times[-1]:.3f} s, into the next episode; {meta.CURE}.')
    container.seek(max(0, int((times[0] - 0.5 / fps) / stream.time_base)), stream=stream)
    frames, frame, last = container.decode(stream), None, None
    for time in times:
      near = NEAR + float(np.spacing(np.float32(time)))  # As precise as LeRobot stores times.
      while frame is None or frame.time < time - near:
        last, frame = frame, next(frames, None)
        if frame is None:
          raise UserError(
              f'The video {path} ends before {time:.3f} s, where its rows still go on; {meta.CURE}.')
      if frame.time > time + near:
        nearest = min([x.time for x in (last, frame) if x], key=lambda x: abs(x - time))
        raise UserError(
            f'The video {path} has no image at {time:.4f} s, the nearest is at {nearest:.4f} s; '
            f'{meta.CURE}.')
      yield images.upright(frame)


def _pictures(entry, key):
  with meta.read_file(entry['data'][0]):
    for batch in _rows(entry, [key]).to_batches():
      for cell in batch.column(0).to_pylist():
        if not cell['bytes']:
          raise ValueError(f"the images of '{key}' are not in it")
        yield images.rgb(io.BytesIO(cell['bytes']), Budget(len(cell['bytes'])))
