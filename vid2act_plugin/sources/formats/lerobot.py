"""LeRobot data sets of the versions 2.0, 2.1 and 3.0: rows in parquet files, images in videos."""

import functools
import io
import pathlib
import re

import numpy as np

from ...common import files, images
from ...common.budget import Budget
from ...common.errors import UserError, reading
from . import Episode, tables
from .lerobot_writer import write as write  # A part of what a format's module has.

KEYS = {'action': 'action', 'reward': 'next.reward', 'success': 'next.success'}
ARRAYS = (*KEYS, 'is_terminal')
CURE = 'download or write the data set again'
# What a template of a path may ask for: a width of many digits would fill the memory.
FIELDS = re.compile(r'([^{}]|\{(episode_chunk|episode_index|chunk_index|file_index|video_key)'
                    r'(:0?[0-9]{1,2}d?)?\})*')
AHEAD = 'next.'  # Names of columns about what followed the action of their row begin like this.


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
  and the like other columns. Raises a `UserError` if the metadata is not
  whole or the choice is not clear.
  """
  path = pathlib.Path(path)
  info, entries = _metadata(path)
  names = _names(path, info['features'], options.get('keys', {}))
  for entry in entries(names['image']):
    yield f"episode {entry['episode_index']}", functools.partial(_load, path, info, entry, names)


def _metadata(path):
  file = path / 'meta' / 'info.json'
  with _reading(file):
    info = files.loads(files.read(file))
    version = str(info['codebase_version'])
    info = dict(
        fps=float(info['fps']), data_path=info['data_path'], video_path=info.get('video_path'),
        chunks_size=int(info.get('chunks_size', 1000)), features={
            k: 'depth' if _depth(v) else v['dtype'] for k, v in info['features'].items()})
    if not info['fps'] > 0 or not info['chunks_size'] > 0:
      raise ValueError('fps and chunks_size have to be positive')
  if version not in ('v2.0', 'v2.1', 'v3.0'):
    raise UserError(
        f'The file {file} is of the version {version}, and 2.0, 2.1 and 3.0 are read; convert the '
        "data set with LeRobot's own scripts.")
  read = _episodes3 if version == 'v3.0' else _episodes2
  return info, functools.partial(read, path, info)


def _depth(feature):
  notes = {**(feature.get('info') or {}), **(feature.get('video_info') or {})}
  return notes.get('is_depth_map') or notes.get('video.is_depth_map')


def _episodes2(path, info, image):
  file, found = path / 'meta' / 'episodes.jsonl', []
  with _reading(file):
    lines = [(i, x) for i, x in enumerate(files.lines(file), 1) if x.strip()]
  for number, line in lines:
    try:
      with _reading(f'{file}, line {number},'):
        entry = files.loads(line)
        index, length = (int(entry[k]) for k in ('episode_index', 'length'))
    except UserError as e:
      found.append(dict(episode_index=f'of line {number}', fault=e))
      continue
    names = dict(
        episode_index=index, episode_chunk=index // info['chunks_size'], video_key=image)
    found.append(dict(episode_index=index, length=length, start=0.0, places=(names, names)))
  return found


def _episodes3(path, info, image):
  folder = path / 'meta' / 'episodes'
  video = info['features'][image] == 'video'
  places = ('data', f'videos/{image}') if video else ('data',)
  columns = [f'{x}/{y}_index' for x in places for y in ('chunk', 'file')]
  columns += [f'videos/{image}/from_timestamp'] * video
  found = []
  for file in sorted(folder.glob('*/*.parquet')):
    try:
      with _reading(file):
        rows = tables.parquet(file, ['episode_index', 'length', *columns]).to_pylist()
        found += [dict(
            {k: x[k] for k in ('episode_index', 'length')},
            start=x[f'videos/{image}/from_timestamp'] if video else 0.0, places=[
                dict(chunk_index=x[f'{k}/chunk_index'], file_index=x[f'{k}/file_index'],
                     video_key=image) for k in (places[0], places[-1])]) for x in rows]
    except UserError as e:
      found.append(dict(episode_index=f'of {file.name}', fault=e))
  if not found:
    raise UserError(f'There is no parquet file with episodes in {folder}; {CURE}.')
  return found


def _files(path, info, image, data, video):
  files = {}
  for key, names in (('data', data), ('video', video)):
    if key == 'video' and info['features'][image] != 'video':
      continue
    template = info[f'{key}_path']
    with _reading(path / 'meta' / 'info.json'):
      if not FIELDS.fullmatch(template):
        raise ValueError(f"{key}_path is '{template:.80}'")
      name = pathlib.PurePath(template.format(**names))
      if name.is_absolute() or '..' in name.parts:
        raise ValueError(f"{key}_path is '{template}' and leaves the folder")
    files[key] = path / name
  return files


def _names(path, features, keys):
  cameras = [k for k, v in features.items() if v in ('video', 'image')]
  image = keys.get('image', cameras[0] if len(cameras) == 1 else '')
  if image not in cameras:
    raise UserError(
        f"The data set {path} has these cameras: {', '.join(cameras) or 'none'}"
        + (f", and not '{image}'" if image else '')
        + '; choose one with --key image=NAME.' * bool(cameras)
        + '; choose a data set with images.' * (not cameras))
  names = {k: v for k, v in KEYS.items() if v in features}
  if 'next.done' in features and 'next.truncated' in features:
    names['is_terminal'] = 'next.done'
  names.update({k: v for k, v in keys.items() if k in ARRAYS}, image=image)
  for key, name in {'action': 'action', **names}.items():
    if name not in features:
      raise UserError(
          f"The data set {path} has no '{name}' but {', '.join(features)}; choose one of them with "
          f'--key {key}=NAME.')
  return names


def _load(path, info, entry, names):
  if 'fault' in entry:
    raise entry['fault']
  entry = {**entry, **_files(path, info, names['image'], *entry['places'])}
  columns = {k: v for k, v in names.items() if k != 'image'}
  with _reading(entry['data']):
    cut = columns.get('is_terminal') == 'next.done' and 'next.truncated' in info['features']
    wanted = dict.fromkeys(['timestamp', *columns.values(), *['next.truncated'] * cut])
    table = _rows(entry, list(wanted), 1024).to_table()
    if len(table) != entry['length'] or not len(table):
      raise ValueError(
          f"episode {entry['episode_index']} has {len(table)} rows, not {entry['length']}")
    values = {k: _array(table[k], k) for k in wanted}
    if cut:
      values['next.done'] = values['next.done'] & ~values['next.truncated']
    arrays = {k: _arrived(k, v, values[v]) for k, v in columns.items()}
    times = entry['start'] + values['timestamp'][:, 0].astype(np.float64)
  if 'video' in entry:
    frames = _film(entry['video'], times, info['fps'])
  else:
    frames = _pictures(entry, names['image'])
  return Episode(frames, arrays, info['fps'])


def _rows(entry, columns, rows=tables.ROWS):
  import pyarrow.dataset as ds
  tables.check(entry['data'], ['episode_index', *columns])
  return ds.dataset(entry['data'], format='parquet').scanner(
      columns=columns, filter=ds.field('episode_index') == entry['episode_index'],
      batch_size=rows, batch_readahead=1, fragment_readahead=1)


def _array(column, name):
  if column.null_count:
    raise ValueError(f"the column '{name}' has empty cells")
  return tables.numbers(column).reshape(len(column), -1)


def _arrived(key, name, value):
  value = value.astype(bool if key == 'is_terminal' else np.float32)
  if key == 'action':
    return value
  value, = value.T
  if not name.startswith(AHEAD):
    return value
  late = np.concatenate([np.zeros_like(value[:1]), value[:-1]])
  late[-1] = late[-1] + value[-1] if key == 'reward' else max(late[-1], value[-1])
  return late


def _film(path, times, fps):
  # Yields the images nearest to `times`.
  near = 0.5 / fps
  with _reading(path), images.film(path, 'mp4') as (container, stream):
    rate = float(stream.average_rate or fps)
    if abs(rate / fps - 1) > 0.05:
      raise UserError(
          f'The video {path} has {rate:g} images per second, but meta/info.json has {fps:g}; '
          f'{CURE}.')
    container.seek(max(0, int((times[0] - near) / stream.time_base)), stream=stream)
    frames, frame = container.decode(stream), None
    for time in times:
      while frame is None or frame.time < time - near:
        frame = next(frames, None)
        if frame is None:
          raise UserError(
              f'The video {path} ends before {time:.3f} s, where its rows still go on; {CURE}.')
      if frame.time > time + near:
        raise UserError(f'The video {path} has no image at {time:.3f} s; {CURE}.')
      yield frame.to_ndarray(format='rgb24')


def _pictures(entry, key):
  with _reading(entry['data']):
    for batch in _rows(entry, [key]).to_batches():
      for cell in batch.column(0).to_pylist():
        if not cell['bytes']:
          raise ValueError(f"the images of '{key}' are not in it")
        yield images.rgb(io.BytesIO(cell['bytes']), Budget(len(cell['bytes'])))


def _reading(path):
  return reading(f'The file {path}', CURE)
