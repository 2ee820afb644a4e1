"""Data that claim gigabytes: the episode is skipped, the others are imported, and memory stays."""

import io
import json
import struct

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.bombs import negations, png, runs, zeros
from helpers.foreign import play, skipped, three, write_gif, write_mp4
from helpers.plays import read, refuse
from helpers.recordings import write
from helpers.special import in_time

from bench.robustness import fuzz
from vid2act_plugin import cli
from vid2act_plugin.common import budget
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import export
from vid2act_plugin.sources import importing as imports
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.sources.dataset import Sources
from vid2act_plugin.sources.formats import tables

MORE = 600e6  # Bytes that an import may take here, of claims of gigabytes.


@pytest.fixture
def meagre(monkeypatch):
  """Tables are bombs from 4 MB on: to write larger ones takes long."""
  monkeypatch.setattr(budget, 'FREE', 2 ** 22)


@pytest.fixture(autouse=True)
def little():
  """Assert that no test takes much memory, or long."""
  before = fuzz.peak(reset=True)
  with in_time(60):
    yield
  assert fuzz.peak() - before < MORE


@pytest.mark.parametrize('fault, words', [
    (negations, 'claims more memory than a file of this size can mean'),
    (zeros, 'an array claims 1,073,741,824 bytes')])
def test_arrays(tmp_path, fault, words):
  path, plays = three(tmp_path / 'in')
  fault(path / 'bad.npz')
  cli.main(['import', str(path), '--out', str(tmp_path / 'out')])
  sentence, = skipped(tmp_path / 'out' / 'in')
  assert words in sentence and 'bad.npz' in sentence
  assert len(recordings.load(tmp_path / 'out' / 'in')[1]) == len(plays)


def test_films_pictures_and_tables(tmp_path, meagre):
  path, good = tmp_path / 'in', play(12)
  write_mp4(path / 'good.mp4', good['image'])
  (path / 'good.csv').write_text('\n'.join(['a,b', *(f'{x},{y}' for x, y in good['action'])]))
  (path / 'large.csv').write_text('a,b\n0,0\n0,0')
  write_gif(path / 'large.gif', good['image'][:2])
  size = [struct.pack('<2H', x, x) for x in (32, 65000)]
  (path / 'large.gif').write_bytes((path / 'large.gif').read_bytes().replace(*size))
  (path / 'words.mp4').write_bytes((path / 'good.mp4').read_bytes())
  (path / 'words.csv').write_text('action\n' + 'x' * 10 ** 5 + '\n' + 'x\n' * 11)
  (path / 'pictures').mkdir()
  for i in range(2):
    (path / 'pictures' / f'{i}.png').write_bytes(png(2000, 2000))
  np.save(path / 'pictures.npy', np.zeros((2, 2)))
  (path / 'runs.mp4').write_bytes((path / 'good.mp4').read_bytes())
  runs(path / 'runs.parquet', dict(action=[0.0]))
  imports.run(path, tmp_path / 'out')
  assert len(recordings.load(tmp_path / 'out')[1]) == 1
  found = skipped(tmp_path / 'out')
  for name, words in dict(
      large='large.gif cannot be read to its end', words='type object', pictures='a picture claims 16,000,000',
      runs='action claims').items():
    assert [f'{name}.' in x or f'/{name}/' in x for x in found if words in x] == [True], (name, found)


def test_run_lengths_and_dictionaries(tmp_path, meagre):
  path = runs(tmp_path / 'x.parquet', dict(a=[0.5], b=[1]))
  with pytest.raises(ValueError, match='^[ab] claims'):
    tables.check(path)
  word = runs(tmp_path / 'y.parquet', dict(a=['x' * 10 ** 4]), 2 ** 10, 1)
  with pytest.raises(ValueError, match='it claims'):
    tables.parquet(word)
  with pytest.raises(ValueError, match="no column 'c'"):
    tables.parquet(path, ['a', 'c'])
  few = runs(tmp_path / 'z.parquet', dict(a=[0.5]), 10, 2)
  assert tables.numbers(tables.parquet(few)['a']).tolist() == [0.5] * 20


def test_columns_of_an_arrow_file_are_as_long_as_they_say(tmp_path):
  """Else what lies behind a column in memory would be read as its values."""
  whole = pa.array([1.0, 2.0])
  batch, content = pa.record_batch([whole], ['a']), io.BytesIO()
  with pa.ipc.new_file(content, batch.schema) as file:
    file.write_batch(batch)
  data = content.getvalue()
  at = data.index(struct.pack('<2q', 2, 0), data.index(b'ARROW1') + 8)  # Length and nulls.
  (tmp_path / 'x.arrow').write_bytes(data[:at] + struct.pack('<2q', 2 ** 20, 0) + data[at + 16:])
  with pytest.raises((ValueError, OSError)):
    list(tables.batches(tmp_path / 'x.arrow', 'arrow'))
  (tmp_path / 'x.arrow').write_bytes(data)
  assert [x.to_pydict() for x in tables.batches(tmp_path / 'x.arrow', 'arrow')] == [{'a': [1, 2]}]


@pytest.fixture
def lerobot(tmp_path):
  folders = [write(tmp_path / x, 2, size=16) for x in ('one', 'two')]
  return export.export(folders, 'lerobot', tmp_path / 'set')


def test_lerobot(lerobot, tmp_path, meagre):
  """The file of one source is a bomb; the other's episodes are imported."""
  file = lerobot / 'data/chunk-000/file-001.parquet'
  row = pq.read_table(file).slice(0, 1).to_pydict()
  runs(file, {k: v for k, v in row.items() if k != 'action'} | {'action': [0.0]})
  imports.run(lerobot, tmp_path / 'out', tasks=['*'])
  assert len(recordings.load(tmp_path / 'out')[1]) == 2
  assert ['claims' in x and 'file-001' in x for x in skipped(tmp_path / 'out')] == [True] * 2


def test_paths_of_a_billion_digits(lerobot):
  file = lerobot / 'meta/info.json'
  for path in ('{file_index:0999999999d}', '{chunk_index.__class__}', '{0}', '{file_index!r}'):
    file.write_text(json.dumps({**json.loads(file.read_text()), 'data_path': path}))
    refuse(lambda: read(lerobot), 'info.json', 'data_path')


@pytest.fixture
def minari(tmp_path):
  write(tmp_path / 'one', 3, size=16)
  return export.export([tmp_path / 'one'], 'minari', tmp_path / 'set-v0')


def large(group, name, dtype='f4', **kwargs):
  del group[name]
  return group.create_dataset(name, dtype=dtype, **kwargs)


@pytest.mark.parametrize('spoil, words', [
    (lambda x: large(x, 'rewards', shape=(5, 2 ** 28)), 'rewards claims'),  # All of them fill values.
    (lambda x: large(x, 'observations', 'u1', shape=(10 ** 9, 16, 16, 3)), 'observations claims'),
    (lambda x: large(x, 'rewards', shape=(5, 2 ** 28), chunks=(1, 2 ** 28), compression='gzip'), 'claims'),
    (lambda x: large(x, 'actions', 'S2147483647', shape=(5,)), 'actions claims')])
def test_minari(minari, tmp_path, spoil, words):
  with h5py.File(minari / 'data/main_data.hdf5', 'a') as file:
    spoil(file['episode_1'])
  imports.run(minari, tmp_path / 'out')
  assert len(recordings.load(tmp_path / 'out')[1]) == 2
  assert [words in x and 'episode 1' in x for x in skipped(tmp_path / 'out')] == [True]


def box(*shape):
  return dict(type='Box', dtype='uint8', shape=shape, low=0, high=255)


@pytest.mark.parametrize('change, words', [
    (dict(total_episodes=10 ** 12), 'claims 1,000,000,000,000 episodes'),
    (dict(observation_space=box(10 ** 6, 10 ** 6, 3), action_space=box(10 ** 12)), None),
    (dict(observation_space=box('x')), 'shape'), (dict(observation_space='[' * 100_000), 'nested')])
def test_metadata_of_minari(minari, tmp_path, change, words):
  file = minari / 'data/metadata.json'
  file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
  if words is None:  # Shapes of spaces say nothing about the episodes in HDF5.
    imports.run(minari, tmp_path / 'out')
    return
  with pytest.raises(UserError, match=f'metadata.json.*{words}'):
    imports.run(minari, tmp_path / 'out')


def test_an_episode_larger_than_the_machine(tmp_path, monkeypatch):
  path, _ = three(tmp_path / 'in')
  monkeypatch.setattr(budget, 'memory', lambda: 20_000)
  with pytest.raises(UserError, match='no episode that can be imported'):
    imports.run(path, tmp_path / 'out')


def test_recordings_are_taken_from_one_budget(tmp_path, monkeypatch):
  folders = [write(tmp_path / x, 3, size=16) for x in ('one', 'two')]
  sizes = sum(16 * 16 * 3 * 6 + 6 * 19 for _ in range(6))
  monkeypatch.setattr(budget, 'SHARE', 1)
  for most in (sizes, sizes - 1):
    monkeypatch.setattr(budget, 'memory', lambda most=most: most)
    if most == sizes:
      Sources(folders)
    else:
      with pytest.raises(MemoryError, match='takes .* while reading .*two/episode-000002.npz'):
        Sources(folders)


def test_an_episode_is_listed_once(tmp_path):
  folder = write(tmp_path / 'one', 2)
  manifest = recordings.load_manifest(folder)
  recordings.write_manifest(folder, {**manifest, 'episodes': manifest['episodes'] * 2})
  with pytest.raises(UserError, match='manifest.json is not a manifest.*listed twice'):
    recordings.load(folder)


def test_metadata_of_one_episode(lerobot, tmp_path):
  (lerobot / 'meta/episodes/chunk-000/file-001.parquet').write_bytes(b'PAR1')
  imports.run(lerobot, tmp_path / 'out', tasks=['*'])
  assert len(recordings.load(tmp_path / 'out')[1]) == 4
  assert ['file-001.parquet' in x for x in skipped(tmp_path / 'out')] == [True]
