"""What `vid2act label` says of how fast films are, and what an export makes of it."""

import json
import shutil

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers import cameras, moves
from helpers.labelling import SIZE, call

from vid2act_plugin import cli
from vid2act_plugin.sources import bodies, recording

FILMS = {  # Name -> how it is written, with images/s.
    'fast.mkv': lambda path, images: moves.film(path, images.repeat(2, 0), fps=40),
    'same.mkv': lambda path, images: moves.film(path, images, fps=20),
    'slow.mkv': lambda path, images: moves.film(path, images, fps=5),
    'bad.mkv': lambda path, images: path.write_bytes(b'no film'),
    'pictures': lambda path, images: cameras.pictures(path, images, names='{}.png')}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  """Recordings to learn from, of 20 steps/s, which one of `two` is as two of another recording, and of no known pace."""
  root = tmp_path_factory.mktemp('rates')
  for name, facts, env in (('one', dict(fps=20), {}), ('two', dict(fps=40), dict(repeat=2)), ('none', {}, dict(repeat=2)),
                           ('odd', dict(fps=20), dict(repeat='2'))):
    for i in range(2):
      moves.write(root / name / str(i), seed=i, size=SIZE, env=env, facts=facts)
  return root


@pytest.fixture
def label(root, tmp_path):
  """Return a function that labels the films of these names, and returns the manifest."""
  def fn(names, *options, source='one'):
    (tmp_path / 'films').mkdir(exist_ok=True)
    images = moves.play(70, 24, SIZE)[0]
    for name in {*names} - {x.name for x in (tmp_path / 'films').iterdir()}:
      FILMS[name](tmp_path / 'films' / name, images)
    call(tmp_path / 'films', '--from', root / source, '--out', tmp_path / 'out', '--updates', 2, '--model', root / 'models' / source,
         *options)
    return recording.load_manifest(tmp_path / 'out/films')
  return fn


@pytest.mark.parametrize('names, options, source, fps', [
    (['fast.mkv'], ['--rate', '20'], 'one', 20), (['fast.mkv'], ['--rate', '20'], 'none', 20),
    (['fast.mkv', 'slow.mkv', 'pictures'], ['--rate', '20'], 'one', 20),  # These have no such rate, and are left out.
    (['fast.mkv'], ['--rate', '15', '--repeat', '2'], 'one', 7.5), (['fast.mkv', 'same.mkv'], ['--repeat', '4'], 'one', 5),
    (['fast.mkv', 'same.mkv'], [], 'one', 20), (['fast.mkv', 'bad.mkv'], [], 'one', 20), (['fast.mkv'], [], 'two', 20),
    (['fast.mkv'], ['--repeat', '2'], 'two', 10), (['slow.mkv'], [], 'one', None), (['fast.mkv', 'slow.mkv'], [], 'one', None),
    (['fast.mkv', 'pictures'], [], 'one', None), (['fast.mkv'], ['--rate', '0'], 'one', None),
    (['fast.mkv'], [], 'none', None), (['pictures', 'fast.mkv'], ['--rate', '0'], 'two', None),
    (['fast.mkv'], ['--rate', '20'], 'odd', None)])
def test_an_export_is_as_fast_as_the_films_were_taken(label, tmp_path, names, options, source, fps):
  manifest = label(names, *options, source=source)
  assert bodies.pace(manifest) == pytest.approx(fps or 0) and ('fps' in manifest) == bool(fps)
  assert manifest['env'].get('repeat', 1) == {'one': 1, 'two': 2, 'none': 2, 'odd': '2'}[source]
  cli.main(['export', str(tmp_path / 'out/films'), '--format', 'lerobot', '--out', str(tmp_path / 'set')])
  shown, info = fps or 10, json.loads((tmp_path / 'set/meta/info.json').read_text())
  table = pq.read_table(tmp_path / 'set/data/chunk-000/file-000.parquet')
  first = np.array(table['timestamp'])[np.array(table['episode_index']) == 0]
  assert info['fps'] == shown and np.allclose(first, np.arange(len(first)) / shown)
  with av.open(str(next((tmp_path / 'set/videos').rglob('*.mp4')))) as film:
    assert float(film.streams.video[0].average_rate) == pytest.approx(shown)


def test_films_that_went_are_not_forgotten(label, tmp_path):
  """What was labelled of them is kept, and they may have been slower."""
  assert 'fps' not in label(['fast.mkv', 'slow.mkv'])
  (tmp_path / 'films/slow.mkv').unlink()
  assert 'fps' not in label(['fast.mkv'])
  shutil.rmtree(tmp_path / 'out')
  assert label(['fast.mkv'])['fps'] == 20
  # A film that comes later may be slower as well.
  assert 'fps' not in label(['fast.mkv', 'slow.mkv'])


def test_a_recording_that_is_labelled_keeps_its_rate(root, tmp_path):
  moves.write(tmp_path / 'target', count=2, seed=7, size=SIZE, facts=dict(fps=20))
  call(tmp_path / 'target', '--from', root / 'one', '--out', tmp_path / 'out', '--updates', 2, '--model', root / 'models/one')
  assert recording.load_manifest(tmp_path / 'out/target')['fps'] == 20
