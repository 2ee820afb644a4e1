"""LeRobot data sets of version 3.0 by hand, with pictures in the rows or in one film."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from . import foreign

CAMERA, FPS, STEPS = 'observation.images.top', 10, 6


def png(image):
  content = io.BytesIO()
  Image.fromarray(image).save(content, 'PNG')
  return {'bytes': content.getvalue(), 'path': None}


def rows(index, one, more=None, film=False):
  """Return the rows of an episode; more: `{column: values}`, of which None is left out."""
  T = len(one['action'])
  columns = {
      'action': list(one['action']), 'timestamp': (np.arange(T) / FPS).astype(np.float32),
      'frame_index': np.arange(T), 'episode_index': np.full(T, index),
      'task_index': np.zeros(T, int)}
  if not film:
    columns[CAMERA] = [png(x) for x in one['image']]
  return pa.table({k: v for k, v in {**columns, **(more or {})}.items() if v is not None})


def table(path, content):
  path.parent.mkdir(parents=True, exist_ok=True)
  pq.write_table(content, path)


def write(folder, count=3, more=None, tasks=('x',), features=None, files=None, film=None):
  """Write `count` episodes and return the plays.

  more: columns of every episode, see `rows`. tasks: of the episodes, in turns. files: the number
  of the file in which each episode's rows lie, whatever the metadata say (0). film: seconds by
  which the metadata are off, None: no film.
  """
  plays = [foreign.play(STEPS, i) for i in range(count)]
  tables = [rows(i, x, more, film is not None) for i, x in enumerate(plays)]
  for number in set(files or [0]):
    parts = [t for i, t in enumerate(tables) if not files or files[i] == number]
    table(folder / f'data/chunk-000/file-{number:03d}.parquet', pa.concat_tables(parts))
  entries = [{
      'episode_index': i, 'length': STEPS, 'tasks': [tasks[i % len(tasks)]], 'data/chunk_index': 0,
      'data/file_index': 0} for i in range(count)]
  if film is not None:
    for i, x in enumerate(entries):
      begin = i * STEPS / FPS
      x.update({f'videos/{CAMERA}/{k}': v for k, v in dict(
          chunk_index=0, file_index=0, from_timestamp=begin + film,
          to_timestamp=begin + STEPS / FPS).items()})
    foreign.write_mp4(
        folder / f'videos/{CAMERA}/0-0.mp4', np.concatenate([x['image'] for x in plays]), FPS)
  table(folder / 'meta/episodes/chunk-000/file-000.parquet', pa.Table.from_pylist(entries))
  kinds = {k: dict(dtype='float32', shape=[1]) for k in tables[0].column_names}
  kinds[CAMERA] = dict(dtype='image' if film is None else 'video', shape=[32, 32, 3])
  (folder / 'meta/info.json').write_text(json.dumps(dict(
      codebase_version='v3.0', fps=FPS, features={**kinds, **(features or {})},
      data_path='data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet',
      video_path='videos/{video_key}/{chunk_index}-{file_index}.mp4')), encoding='utf-8')
  return plays
