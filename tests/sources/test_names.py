"""Names that are no UTF-8, or not printable: data of such names are imported and labelled, and found again."""

import os

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from helpers import cameras, lerobot, moves
from helpers.foreign import check, play, skipped, table, write_mp4, write_png, write_v2, write_v3

from vid2act_plugin import cli
from vid2act_plugin.sources import importing as imports
from vid2act_plugin.sources import labelling, recording

RAW = [os.fsdecode(x) for x in (b'\xd0\xc2', b'caf\xe9', b'x\xff')]  # 'new' in GBK, in Latin-1, in none.
PLAIN = 'a\u202fb', 'a\x1bb'  # As a Mac has it in names of screenshots, and what steers a terminal.


def call(path, out, *options):
  cli.main(['import', str(path), '--out', str(out), *options])


def ours(folder, count):
  """Check that a recording can be read, and return its manifest."""
  manifest, found = recording.load(folder)
  assert len(found) == count and manifest['complete'] and not manifest['skipped']
  assert all(x.isprintable() for x in (manifest['source'], manifest['task'], manifest['imported']['path']))
  return manifest


@pytest.mark.parametrize('name', RAW)
def test_files(tmp_path, capsys, name):
  plays = [play(seed=i) for i in range(3)]
  for i, x in enumerate(plays):
    write_v2(tmp_path / 'in' / f'{name}{i}.npz', x)
  for options in (['--episodes', '2'], [], []):  # Continued, and repeated.
    call(tmp_path / 'in', tmp_path / 'out', *options)
  assert 'is complete already: 3 episodes' in capsys.readouterr().out
  check(tmp_path / 'out' / 'in', plays)
  names = [x['name'] for x in ours(tmp_path / 'out' / 'in', 3)['episodes']]
  assert all(x.isprintable() for x in names) and [f'{i}.npz-' in x for i, x in enumerate(names)] == [True] * 3
  (tmp_path / 'in' / f'{name}1.npz').unlink()
  with pytest.raises(ValueError, match=r'lacks the episode \S*1\.npz-'):
    call(tmp_path / 'in', tmp_path / 'out')


def test_names_that_look_alike_are_two(tmp_path):
  plays = [play(seed=i) for i in range(2)]
  for x, name in zip(plays, (b'x\xfe', b'x\xff')):
    write_v2(tmp_path / 'in' / os.fsdecode(name + b'.npz'), x)
  call(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out' / 'in', plays)
  one, two = (x['name'] for x in ours(tmp_path / 'out' / 'in', 2)['episodes'])
  assert one[:7] == two[:7] == 'x?.npz-' and one != two


def arrays(path):
  write_v2(path / 'a.npz', play())


def film(suffix, write):
  def written(path):
    write_mp4(path / 'a.mp4', play()['image'])
    write(path / f'a.{suffix}')
  return written


FORMS = {
    'dreamerv2': arrays, 'csv': film('csv', lambda x: pyarrow.csv.write_csv(table(play()), x)),
    'parquet': film('parquet', lambda x: pyarrow.parquet.write_table(table(play()), x)),
    'npy': film('npy', lambda x: np.save(x, play()['action'])),
    'dreamerv3': lambda path: write_v3(path, [[play(6, 0), play(7, 1)]]),
    'lerobot': lerobot.write, 'lerobot with films': lambda path: lerobot.write(path, film=0)}
COUNTS = {'dreamerv3': 2, 'lerobot': 3, 'lerobot with films': 3}


@pytest.mark.parametrize('form', FORMS)
def test_folders(tmp_path, capsys, form):
  """That of the data, and one that it lies in; one data set is moved, as not all programs can write it there."""
  FORMS[form](tmp_path / 'plain')
  for data in (tmp_path / RAW[1], tmp_path / RAW[0] / 'data'):
    data.parent.mkdir(exist_ok=True)
    os.rename(tmp_path / 'plain', data)
    for _ in range(2):
      call(data, tmp_path / 'out')
    assert f"is complete already: {COUNTS.get(form, 1)} episode" in capsys.readouterr().out
    source = ours(tmp_path / 'out' / data.name, COUNTS.get(form, 1))['source']
    assert source == 'data' or source.startswith('caf?-')
    os.rename(data, tmp_path / 'plain')


def test_folders_of_pictures_and_cameras(tmp_path, capsys):
  good = play()
  for name in RAW:
    for camera, image in ((RAW[1], good['image']), ('top', 255 - good['image'])):
      write_png(tmp_path / 'in' / name / camera, image)
    np.save(tmp_path / 'in' / name / 'actions.npy', good['action'])
  for _ in range(2):
    call(tmp_path / 'in', tmp_path / 'out', '--key', f'image={RAW[1]}')
  check(tmp_path / 'out' / 'in', [good] * 3, False, False)
  assert ours(tmp_path / 'out' / 'in', 3)['imported']['key']['image'].startswith('caf?-')
  assert 'is complete already: 3 episodes' in capsys.readouterr().out


@pytest.mark.parametrize('name', PLAIN)
def test_names_that_are_utf8_stay_as_they_are(tmp_path, name):
  """Those of episodes, so that earlier imports go on; a source is called what can be printed."""
  write_v2(tmp_path / name / f'{name}.npz', play())
  (tmp_path / name / 'bad.npz').write_bytes(b'nothing')
  manifest = imports.run(tmp_path / name, tmp_path / 'out' / name)
  assert manifest['episodes'][0]['name'] == f'{name}.npz' and manifest['imported']['path'].endswith(name)
  assert manifest['source'].startswith('a?b-') and len(skipped(tmp_path / 'out' / name)) == 1
  assert imports.run(tmp_path / name, tmp_path / 'out' / name) == manifest


def label(path, out):
  """Label films as `vid2act label` does, with actions of zeros."""
  head = dict(
      source=path.name, suite='import', task=path.name, seed=0, versions={}, behaviour={}, env={}, act_size=2,
      reward=False, success=False, labels='inferred', inferred=dict(path=str(path)))
  infer = lambda image: (np.zeros((len(image), 2), np.float32), np.ones(len(image), np.float32))
  made = labelling.Labels(out, head, infer, (32, 32, 3))
  return made.run(labelling.of_films(path, (32, 32)))


@pytest.mark.parametrize('name', [*RAW, PLAIN[0]])
def test_films_to_label(tmp_path, name):
  moves.film(tmp_path / name / f'{name}.mkv', moves.play(1, 12, 32)[0])
  for stray in ('', name):  # Beside a series of pictures.
    cameras.pictures(tmp_path / name / f'shots{stray}', moves.play(2, 12, 32)[0], names='{}.png')
    cameras.pictures(tmp_path / name / f'shots{stray}', moves.play(3, 1, 32)[0], names=[f'stray{stray}.png'])
  manifest = label(tmp_path / name, tmp_path / 'out')
  assert len(recording.load(tmp_path / 'out')[1]) == 3 and len(manifest['material']) == 3
  assert manifest['source'].isprintable() and manifest['task'].isprintable()
  assert all(x.isprintable() for x in manifest['material']) and manifest['inferred']['path'].encode()
  notes = [x for y in manifest['material'].values() for x in y['notes'] if 'left out, as their names' in x]
  assert len(notes) == 2 and all(x.isprintable() for x in notes)
  assert label(tmp_path / name, tmp_path / 'out') == manifest
