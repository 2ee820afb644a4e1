"""LeRobot data sets, written by hand here, are read without a shift, and faults are named."""

import json
import os
import pickle

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.plays import LENGTHS, play, read, refuse
from PIL import Image

from vid2act_plugin.sources import formats

CAMERA, FPS = 'observation.images.top', 20
V2 = dict(
  data_path='data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet',
  video_path='videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4')
V3 = dict(
  data_path='data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet',
  video_path='videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4')


def film(path, levels, fps=FPS, size=32):
  path.parent.mkdir(parents=True, exist_ok=True)
  with av.open(str(path), 'w') as container:  # With B-frames, and one key frame at the beginning.
    stream = container.add_stream('libx264', rate=fps, options={'crf': '10'})
    stream.width = stream.height = size
    for level in levels:
      image = np.full((size, size, 3), level, np.uint8)
      container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
    container.mux(stream.encode())


def picture(level, folder):
  Image.fromarray(np.full((32, 32, 3), level, np.uint8)).save(folder / 'x.png')
  return {'bytes': (folder / 'x.png').read_bytes(), 'path': 'frame.png'}


def rows(index, begin, one, inline=None):
  T = len(one['level'])
  columns = {
      'action': list(one['action']), 'next.reward': pa.array(one['reward'], pa.float32()),
      'next.success': one['success'], 'next.done': one['success'],
      'timestamp': (np.arange(T) / FPS).astype(np.float32), 'frame_index': np.arange(T),
      'episode_index': np.full(T, index), 'index': begin + np.arange(T),
      'task_index': np.zeros(T, int)}
  if inline:
    columns[CAMERA] = [picture(x, inline) for x in one['level']]
  return pa.table(columns)


def write(path, table):
  path.parent.mkdir(parents=True, exist_ok=True)
  pq.write_table(table, path)


def lerobot(folder, version, inline=False, cameras=(CAMERA,), **changes):
  """Write a LeRobot data set of three episodes by hand."""
  plays = [play(i, T) for i, T in enumerate(LENGTHS)]
  begins = np.cumsum([0, *LENGTHS])
  features = {
      'action': dict(dtype='float32', shape=[2]), 'next.reward': dict(dtype='float32', shape=[1]),
      'next.success': dict(dtype='bool', shape=[1]), 'next.done': dict(dtype='bool', shape=[1]),
      'index': dict(dtype='int64', shape=[1]),
      'observation.depth': dict(
          dtype='video', shape=[32, 32, 3], info={'video.is_depth_map': True}),
      **{x: dict(dtype='image' if inline else 'video', shape=[32, 32, 3]) for x in cameras}}
  meta = folder / 'meta'
  meta.mkdir(parents=True)
  inline = folder if inline else None
  tables = [rows(i, b, x, inline) for i, (b, x) in enumerate(zip(begins, plays))]
  if version == 'v2.1':
    for i, (one, table) in enumerate(zip(plays, tables)):
      names = dict(episode_chunk=i // 2, episode_index=i, video_key=CAMERA)
      write(folder / V2['data_path'].format(**names), table)
      film(folder / V2['video_path'].format(**names), one['level'])
    (meta / 'episodes.jsonl').write_text(''.join(
        json.dumps(dict(episode_index=i, length=T, tasks=['x'])) + '\n'
        for i, T in enumerate(LENGTHS)))
  else:
    entries = []  # Rows of two files, and two videos which are cut elsewhere.
    for i, T in enumerate(LENGTHS):
      data, video, start = i // 2, min(i, 1), (0, 0, LENGTHS[1])[i] / FPS
      entries.append({
          'episode_index': i, 'length': T, 'tasks': ['x'], 'data/chunk_index': 0,
          'data/file_index': data, 'dataset_from_index': begins[i],
          'dataset_to_index': begins[i + 1], f'videos/{CAMERA}/chunk_index': 0,
          f'videos/{CAMERA}/file_index': video, f'videos/{CAMERA}/from_timestamp': start,
          f'videos/{CAMERA}/to_timestamp': start + T / FPS})
    write(meta / 'episodes/chunk-000/file-000.parquet', pa.Table.from_pylist(entries))
    for k, parts in enumerate(([0, 1], [2])):
      table = pa.concat_tables([tables[i] for i in parts])
      write(folder / V3['data_path'].format(chunk_index=0, file_index=k), table)
    for k, parts in enumerate(([0], [1, 2])):
      film(folder / V3['video_path'].format(chunk_index=0, file_index=k, video_key=CAMERA),
           np.concatenate([plays[i]['level'] for i in parts]))
  (meta / 'info.json').write_text(json.dumps({
      'codebase_version': version, 'fps': FPS, 'chunks_size': 2, 'features': features,
      **(V2 if version == 'v2.1' else V3), **changes}))
  return folder


@pytest.mark.parametrize('version,inline', [
    ('v2.1', False), ('v2.1', True), ('v3.0', False), ('v3.0', True)])
def test_lerobot_is_read_without_a_shift(tmp_path, version, inline):
  found = read(lerobot(tmp_path / 'data', version, inline))
  assert len(found) == 3
  for index, (images, arrays) in enumerate(found):
    T = LENGTHS[index]
    wrote = play(index, T)
    assert images.shape == (T, 32, 32, 3) and images.dtype == np.uint8
    np.testing.assert_allclose(images.mean((1, 2, 3)) / 255, arrays['action'][:, 0], atol=0.008)
    np.testing.assert_array_equal(arrays['action'], wrote['action'])
    late = [0, *wrote['reward'][:-2], wrote['reward'][-2:].sum()]  # Nothing arrives at the end.
    np.testing.assert_allclose(arrays['reward'], late, atol=1e-6)
    np.testing.assert_array_equal(arrays['success'], np.arange(T) == T - 1)
    assert 'is_terminal' not in arrays


def test_lerobot_columns_can_be_chosen(tmp_path):
  path = lerobot(tmp_path / 'data', 'v3.0')
  (_, arrays), *_ = read(path, is_terminal='next.done', success='index')
  assert arrays['is_terminal'][-1] and not arrays['is_terminal'][:-1].any()
  np.testing.assert_array_equal(arrays['success'], np.arange(7))  # Not of the next row: no shift.
  refuse(lambda: read(path, reward='score'), 'score', 'next.reward', '--key reward=')


def test_of_several_cameras_one_has_to_be_named(tmp_path):
  path = lerobot(tmp_path / 'data', 'v3.0', cameras=('observation.images.wrist', CAMERA))
  refuse(lambda: read(path), CAMERA, 'observation.images.wrist', '--key image=')
  refuse(lambda: read(path, image='front'), CAMERA, 'front')
  assert len(read(path, image=CAMERA)) == 3


@pytest.mark.parametrize('version,file,words', [
    ('v2.1', 'meta/episodes.jsonl', ['episodes.jsonl', 'No such file']),
    ('v3.0', 'meta/episodes/chunk-000/file-000.parquet', ['no parquet file', 'episodes']),
    ('v3.0', 'data/chunk-000/file-001.parquet', ['file-001.parquet']),
    ('v2.1', f'videos/chunk-000/{CAMERA}/episode_000001.mp4', ['episode_000001.mp4'])])
def test_a_missing_file_is_named(tmp_path, version, file, words):
  path = lerobot(tmp_path / 'data', version)
  (path / file).unlink()
  refuse(lambda: read(path), *words)


@pytest.mark.parametrize('file', [
    'meta/info.json', 'meta/episodes/chunk-000/file-000.parquet',
    'data/chunk-000/file-000.parquet', f'videos/{CAMERA}/chunk-000/file-001.mp4'])
def test_a_damaged_file_is_named(tmp_path, file):
  path = lerobot(tmp_path / 'data', 'v3.0')
  content = (path / file).read_bytes()
  (path / file).write_bytes(content[:len(content) // 2])
  refuse(lambda: read(path), file.split('/')[-1])


def test_video_and_rows_have_to_fit(tmp_path):
  path = lerobot(tmp_path / 'data', 'v2.1')
  video = path / V2['video_path'].format(episode_chunk=0, episode_index=1, video_key=CAMERA)
  film(video, play(1, 4)['level'])
  refuse(lambda: read(path), 'episode_000001.mp4', 'ends before 0.200 s')
  film(video, play(1, 5)['level'], fps=2 * FPS)
  refuse(lambda: read(path), 'episode_000001.mp4', '40 images per second', 'has 20')
  lengths = (path / 'meta/episodes.jsonl').read_text()
  (path / 'meta/episodes.jsonl').write_text(lengths.replace('"length": 7', '"length": 8'))
  refuse(lambda: read(path), 'episode_000000.parquet', '7 rows, not 8')


def test_a_line_that_cannot_be_read_costs_one_episode(tmp_path):
  path = lerobot(tmp_path / 'data', 'v2.1')
  with open(path / 'meta/episodes.jsonl', 'a') as file:
    file.write('{"episode_index": 3\n\n{"episode_index": null, "length": 5}\n' + '[' * 9999)
  found = dict(formats.find(path)[1].episodes(path, {}))
  assert list(found) == [f'episode {x}' for x in (0, 1, 2, 'of line 4', 'of line 6', 'of line 7')]
  for name, load in found.items():
    if 'line' in name:
      refuse(load, 'episodes.jsonl', name.removeprefix('episode of '))
    else:
      assert load().arrays


@pytest.mark.parametrize('change,words', [
    (dict(codebase_version='v1.6'), ['v1.6', '2.0']), (dict(fps=0), ['fps']), (dict(fps=float('inf')), ['fps']),
    (dict(data_path='../{chunk_index}/{file_index}.parquet'), ['leaves the folder']),
    (dict(video_path='/tmp/{file_index}.mp4'), ['leaves the folder']),
    (dict(data_path='{unknown}.parquet'), ['info.json', 'unknown'])])
def test_metadata_of_lerobot_is_checked(tmp_path, change, words):
  path = lerobot(tmp_path / 'data', 'v3.0', **change)
  refuse(lambda: read(path), *words)


def test_pickles_in_lerobot_are_not_loaded(tmp_path):
  trap = tmp_path / 'sprung'

  class Trap:
    def __reduce__(self):
      return os.mkdir, (str(trap),)

  path = lerobot(tmp_path / 'data', 'v3.0')
  file = path / V3['data_path'].format(chunk_index=0, file_index=0)
  table = pq.read_table(file)
  bait = {b'ARROW:extension:name': b'arrow.py_extension_type',
          b'ARROW:extension:metadata': pickle.dumps(Trap())}
  fields = [x.with_metadata(bait) if x.name == 'next.reward' else x for x in table.schema]
  write(file, table.cast(pa.schema(fields)))
  assert pq.read_schema(file).field('next.reward').metadata == bait
  assert len(read(path)) == 3
  assert not trap.exists()
