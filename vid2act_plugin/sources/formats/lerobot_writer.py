"""Recordings as a LeRobot data set of version 3.0: a parquet file and a video per source."""

import contextlib
import fractions
import itertools
import json

import numpy as np

from ...common.errors import UserError
from .. import bodies, recording

IMAGE, FPS = 'observation.image', 10
CHUNK = 1000  # Files per folder.
DATA = 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet'
VIDEO = 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4'
# The one kind of H.264 from which RGB comes back bit for bit. To show a single image a reader
# decodes from the key frame before it; every tenth is one.
CODEC, PIXELS, SETTINGS = 'libx264rgb', 'rgb24', {'qp': '0', 'g': '10', 'bf': '0'}
SPEC = {
    'codebase_version': 'v3.0', 'robot_type': None, 'chunks_size': CHUNK,
    'data_files_size_in_mb': 100, 'video_files_size_in_mb': 200, 'data_path': DATA,
    'video_path': VIDEO}


def write(folders, episodes, out):
  """Write recordings as one LeRobot data set into the empty folder `out`.

  An episode of T steps has T rows. Row t holds action and image of step t and,
  as `next.*`, the reward, success and end received at step t + 1. The last
  row is there for its image: its action and `next.reward` are zero, the others
  are those of the row before. Images are lossless, and 10 per second where the
  manifest has no `fps`. Raises a `UserError` if sources differ in this.
  """
  manifests = [recording.load_manifest(x) for x in folders]
  names, fps = [x['source'] for x in manifests], _rate(manifests)
  tasks = list(dict.fromkeys(names))
  tables, entries, moments = [], [], []
  for source, group in itertools.groupby(episodes, lambda x: x[0]):
    place = dict(zip(('chunk_index', 'file_index'), divmod(source, CHUNK)))
    first, images = len(tables), 0
    with _film(_made(out / VIDEO.format(**place, video_key=IMAGE)), fps) as film:
      for _, episode in group:
        begin = entries[-1]['dataset_to_index'] if entries else 0
        entries.append(_entry(len(entries), names[source], place, begin, images, episode, fps))
        tables.append(_rows(episode, len(tables), begin, tasks.index(names[source]), fps))
        # One at a time: numbers to sum by take many times the memory of images.
        moments.append(_joined(map(_moments, episode['image'])))
        film(episode['image'])
        images += len(episode['image'])
    _parquet(_made(out / DATA.format(**place)), tables[first:])
  _meta(out / 'meta', tasks, entries, tables, list(episode['image'].shape[1:]), moments, fps)


def _rate(manifests):
  told = lambda x: {**x, 'fps': x.get('fps') or FPS, 'env': x['imported']} if isinstance(x.get('imported'), dict) else x
  rates = [bodies.pace(told(x)) or FPS for x in manifests]
  if len(set(rates)) > 1:
    given = ', '.join(f"{x['source']} {rate:g}" for x, rate in zip(manifests, rates))
    raise UserError(
        f'The recordings differ in images per second ({given}); export them separately.')
  return int(rates[0]) if rates[0] == int(rates[0]) else rates[0]


def _entry(index, task, place, begin, images, episode, fps):
  T = len(episode['image'])
  return {
      'episode_index': index, 'tasks': [task], 'length': T,
      **{f'data/{k}': v for k, v in place.items()},
      'dataset_from_index': begin, 'dataset_to_index': begin + T,
      **{f'videos/{IMAGE}/{k}': v for k, v in place.items()},
      f'videos/{IMAGE}/from_timestamp': images / fps,
      f'videos/{IMAGE}/to_timestamp': (images + T) / fps,
      'meta/episodes/chunk_index': 0, 'meta/episodes/file_index': 0}


def _rows(episode, index, begin, task, fps):
  import pyarrow as pa
  T, size = episode['action'].shape
  t = np.arange(T)
  later = np.minimum(t + 1, T - 1)
  done = episode['is_last'] | episode['is_terminal']
  action = pa.array(episode['action'].reshape(-1))
  if size > 1:  # A single number has no list around it.
    action = pa.FixedSizeListArray.from_arrays(action, size)
  return pa.table({
      'action': action, 'next.reward': np.append(episode['reward'][1:], np.float32(0)),
      'next.success': episode['success'][later], 'next.done': done[later],
      'next.truncated': (done & ~episode['is_terminal'])[later],
      'timestamp': (t / fps).astype(np.float32), 'frame_index': t,
      'episode_index': np.full(T, index), 'index': begin + t, 'task_index': np.full(T, task)})


def _meta(folder, tasks, entries, tables, shape, moments, fps):
  import pyarrow as pa
  table = pa.concat_tables(tables)
  features = {IMAGE: {
      'dtype': 'video', 'shape': shape, 'names': ['height', 'width', 'channels'],
      'info': {
          'video.height': shape[0], 'video.width': shape[1], 'video.channels': shape[2],
          'video.codec': 'h264', 'video.pix_fmt': 'gbrp', 'video.fps': fps,
          'video.is_depth_map': False, 'has_audio': False}}}
  stats = {IMAGE: _stats(moments, (3, 1, 1), len(table), 255)}
  for key in table.column_names:
    column = table[key].combine_chunks()
    value = (column.flatten() if pa.types.is_fixed_size_list(column.type) else column).to_numpy(
        zero_copy_only=False).reshape(len(table), -1)
    features[key] = {'dtype': str(value.dtype), 'shape': [value.shape[1]], 'names': None}
    stats[key] = _stats([_moments(value)], (-1,), len(table))
  count = len(entries)
  info = dict(
      SPEC, fps=fps, features=features, total_episodes=count, total_frames=len(table),
      total_tasks=len(tasks), splits={'train': f'0:{count}'})
  for name, content in (('info', info), ('stats', stats)):
    _made(folder / f'{name}.json').write_text(json.dumps(content, indent=1), encoding='utf-8')
  _parquet(_made(folder / 'episodes/chunk-000/file-000.parquet'), [pa.Table.from_pylist(entries)])
  _parquet(folder / 'tasks.parquet', [_tasks(tasks)])


def _tasks(tasks):
  # Readers of this table look tasks up by their place in an index, which only Pandas' notes in
  # the file make of a column.
  import pyarrow as pa
  columns = [
      {'name': k, 'field_name': k, 'pandas_type': x, 'numpy_type': y, 'metadata': None}
      for k, x, y in (('task_index', 'int64', 'int64'), ('task', 'unicode', 'object'))]
  notes = {
      'index_columns': ['task'], 'columns': columns, 'column_indexes': [
          {'name': None, 'field_name': None, 'pandas_type': 'unicode', 'numpy_type': 'object',
           'metadata': {'encoding': 'UTF-8'}}]}
  table = pa.table({'task_index': np.arange(len(tasks)), 'task': tasks})
  return table.replace_schema_metadata({'pandas': json.dumps(notes)})


def _moments(value):
  value = value.astype(np.float64).reshape(-1, value.shape[-1])
  return len(value), value.min(0), value.max(0), value.sum(0), (value ** 2).sum(0)


def _joined(moments):
  n, low, high, total, squares = map(np.array, zip(*moments))
  return n.sum(), low.min(0), high.max(0), total.sum(0), squares.sum(0)


def _stats(moments, shape, count, scale=1):
  n, low, high, total, squares = _joined(moments)
  mean = total / n
  std = np.sqrt(np.maximum(squares / n - mean ** 2, 0))
  stats = {'min': low, 'max': high, 'mean': mean, 'std': std}
  return {**{k: (v / scale).reshape(shape).tolist() for k, v in stats.items()}, 'count': [count]}


@contextlib.contextmanager
def _film(path, fps):
  """Yield a function that adds images `[T, H, W, 3]` uint8 to a video."""
  import av
  with av.open(str(path), 'w', format='mp4') as container:
    rate = fractions.Fraction(fps).limit_denominator(1001)
    stream = container.add_stream(CODEC, rate=rate, options=SETTINGS)
    stream.pix_fmt = PIXELS

    def add(images):
      if not stream.codec_context.is_open:
        stream.height, stream.width = images.shape[1:3]
      for image in images:
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))

    yield add
    container.mux(stream.encode())


def _parquet(path, tables):
  import pyarrow.parquet as pq
  with pq.ParquetWriter(path, tables[0].schema) as writer:
    for table in tables:  # Each a row group, so that an episode can be read by itself.
      writer.write_table(table)


def _made(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  return path
