"""Films and pictures of cameras: upright, of the right colours, and one image for each action."""

import itertools
import os

import numpy as np
import pytest
from helpers import cameras
from helpers.cameras import actions, corner, film, pictures, turned
from helpers.foreign import check, play, skipped, table, write_mp4, write_png, write_v2
from PIL import Image

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import importing as imports
from vid2act_plugin.sources import recording as recordings

SIGNS = [*itertools.product((1, -1), repeat=2)]
MATRICES = [(a, 0, 0, d) for a, d in SIGNS] + [(0, b, c, 0) for b, c in SIGNS]


def images(folder, data, **options):
  """Import data of one episode and return its images."""
  imports.run(data, folder, **options)
  return recordings.load(folder)[1][0]['image']


@pytest.mark.parametrize('matrix', MATRICES)
def test_films_are_upright(tmp_path, matrix):
  film(tmp_path / 'in' / 'v.mp4', corner(), matrix)
  actions(tmp_path / 'in' / 'v.mp4')
  found, wanted = images(tmp_path / 'out', tmp_path / 'in'), turned(corner(), matrix)
  assert found.shape == wanted.shape == (4, *((48, 32) if matrix[1] else (32, 48)), 3)
  assert np.abs(found.astype(int) - wanted).mean() < 3


def test_a_phone_held_upright(tmp_path):
  film(tmp_path / 'in' / 'v.mp4', corner(), cameras.TURNED)
  actions(tmp_path / 'in' / 'v.mp4')
  found = images(tmp_path / 'out', tmp_path / 'in', resize=(48, 32))
  red = np.abs(found[0].astype(int) - (220, 30, 30)).max(-1) < 40
  assert red[2, -3] and not red[2, 2] and not red[-3, -3] and not red[-3, 2]


def test_a_film_at_an_angle_is_refused(tmp_path, capsys):
  film(tmp_path / 'in' / 'v.mp4', corner(), (0.7, 0.7, -0.7, 0.7))
  actions(tmp_path / 'in' / 'v.mp4')
  with pytest.raises(UserError):
    imports.run(tmp_path / 'in', tmp_path / 'out')
  assert 'to be shown turned by' in capsys.readouterr().out


STORED = {  # Orientation -> what is stored of an upright image; rows and columns as EXIF says.
    1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2), 6: lambda x: x.transpose(1, 0, 2)[::-1],
    7: lambda x: x.transpose(1, 0, 2)[::-1, ::-1], 8: lambda x: x.transpose(1, 0, 2)[:, ::-1]}


@pytest.mark.parametrize('orientation', STORED)
@pytest.mark.parametrize('suffix', ['png', 'jpg'])
def test_pictures_are_upright(tmp_path, orientation, suffix):
  exif = Image.Exif()
  exif[0x0112] = orientation
  stored = [np.ascontiguousarray(STORED[orientation](x)) for x in corner()]
  options = dict(quality=98, subsampling=0) if suffix == 'jpg' else {}
  pictures(tmp_path / 'in' / 'ep', stored, 'f{}.' + suffix, exif=exif, **options)
  actions(tmp_path / 'in' / 'ep')
  found = images(tmp_path / 'out', tmp_path / 'in')
  np.testing.assert_allclose(found, corner(), atol=20 if suffix == 'jpg' else 0)


@pytest.mark.parametrize('value', [
    np.arange(256) * 257, np.minimum(np.arange(256) * 257 + 128, 65535),
    np.maximum(np.arange(256) * 257 - 128, 0)])
def test_pictures_of_16_bits(tmp_path, value, capsys):
  pictures(tmp_path / 'in' / 'ep', [value.astype(np.uint16).reshape(16, 16)] * 4)
  actions(tmp_path / 'in' / 'ep')
  found = images(tmp_path / 'out', tmp_path / 'in')
  np.testing.assert_array_equal(found[2], np.arange(256).reshape(16, 16, 1).repeat(3, -1))
  assert 'the pictures of 16 bits, whose 65535 becomes 255' in capsys.readouterr().out


@pytest.mark.parametrize('mode', ['L', 'LA', 'P', 'RGBA', '1'])
def test_pictures_of_other_kinds(tmp_path, mode):
  grey = np.where(corner()[..., :1] > 60, 255, 0).astype(np.uint8).repeat(3, -1)
  made = [np.asarray(Image.fromarray(x).convert('RGB')) for x in grey]
  (tmp_path / 'in' / 'ep').mkdir(parents=True)
  for t, x in enumerate(made):
    Image.fromarray(x).convert(mode).save(tmp_path / 'in' / 'ep' / f'{t}.png')
  actions(tmp_path / 'in' / 'ep')
  np.testing.assert_array_equal(images(tmp_path / 'out', tmp_path / 'in'), made)


def test_rates_of_one_camera_are_one_kind(tmp_path, capsys):
  path, good = tmp_path / 'in', play(6, 2)
  rates = {'a': '30', 'b': '30000/1001', 'c': '3002/100', 'd': '298/10', 'e': '25', 'f': '60'}
  for name, rate in rates.items():
    write_mp4(path / f'{name}.mp4', good['image'], cameras.Fraction(rate))
    np.save(path / f'{name}.npy', good['action'])
  manifest = imports.run(path, tmp_path / 'out')
  check(tmp_path / 'out', [good] * 4, False, False, atol=0.03)
  assert 29.8 <= manifest['fps'] <= 30.02
  assert [f'{x}.mp4 has' in y for x, y in zip('ef', manifest['skipped'])] == [True] * 2
  assert 'rates from 29.8 to 30.02 images/s are taken as' in capsys.readouterr().out


def shots(tmp_path, names, more=()):
  """Write a play under these names, and other pictures; returns what was played."""
  good = play(len(names), 4)
  pictures(tmp_path / 'in' / 'ep', good['image'], [*names])
  pictures(tmp_path / 'in' / 'ep', np.full((len(more), 32, 32, 3), 255, np.uint8), [*more])
  import pyarrow.csv
  pyarrow.csv.write_csv(table(good), tmp_path / 'in' / 'ep.csv')
  return good


@pytest.mark.parametrize('names', [
    [f'{1700000000 + round(.05 * t, 2)}.png' for t in range(8)],
    [f'{t / 8:g}.png' for t in range(12)],
    ['shot.png', *(f'shot ({t}).png' for t in range(1, 12))],
    [f'IMG_{t}.PNG' for t in range(12)]])
def test_pictures_come_in_their_order(tmp_path, names):
  good = shots(tmp_path, names)
  imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', [good])


@pytest.mark.parametrize('more', [['preview.png'], ['._frame_0.png'], ['frame_3 (1).png', 'a.png']])
def test_a_stray_picture_is_no_image_of_an_episode(tmp_path, more, capsys):
  good = shots(tmp_path, [f'frame_{t}.png' for t in range(8)], more)
  cli.main(['import', str(tmp_path / 'in'), '--out', str(tmp_path), '--name', 'out'])
  check(tmp_path / 'out', [good])
  said = "(its name is not like those of the others)" in capsys.readouterr().out
  assert said == (not more[0].startswith('.'))


def test_pictures_that_may_be_of_two_cameras_are_not_mixed(tmp_path, capsys):
  names = [f'{x}_{t}.png' for x in ('left', 'right') for t in range(4)]
  pictures(tmp_path / 'in' / 'ep', play(8)['image'], names)
  actions(tmp_path / 'in' / 'ep')
  with pytest.raises(UserError):
    imports.run(tmp_path / 'in', tmp_path / 'out')
  assert 'has 8 images' in capsys.readouterr().out


def episode(folder, form, good):
  folder.mkdir(parents=True)
  if form == 'film':
    write_mp4(folder / 'video.mp4', good['image'])
  elif form == 'pictures':
    write_png(folder / 'images', good['image'])
  else:
    write_mp4(folder / 'front.mp4', good['image'])
    write_mp4(folder / 'wrist.mp4', 255 - good['image'])
  np.save(folder / ('data.npy' if form == 'pictures' else 'actions.npy'), good['action'])


@pytest.mark.parametrize('form', ['film', 'pictures', 'cameras'])
def test_a_folder_for_each_episode(tmp_path, form):
  plays = [play(6, i) for i in range(3)]
  for i, x in enumerate(plays):
    episode(tmp_path / 'in' / f'episode_{i}', form, x)
  keys = {'image': 'front'} if form == 'cameras' else {}
  layout, = imports.run(tmp_path / 'in', tmp_path / 'out', keys=keys)['columns']
  check(tmp_path / 'out', plays, False, False, atol=0.03)
  assert layout['taken']['image'] == [
      dict(film='the film video.mp4', pictures='the pictures in images', cameras='the film front.mp4')[
          form]]
  imports.run(tmp_path / 'in' / 'episode_1', tmp_path / 'one', keys=keys)  # It alone.
  check(tmp_path / 'one', plays[1:2], False, False, atol=0.03)


def test_of_several_cameras_one_is_named(tmp_path, capsys):
  episode(tmp_path / 'in' / 'e0', 'cameras', play(6))
  for keys, words in (({}, ';'), ({'image': 'top'}, ", and not 'top';")):
    with pytest.raises(UserError):
      imports.run(tmp_path / 'in', tmp_path / 'out', keys=keys)
    assert f'e0 has the cameras front.mp4, wrist.mp4{words} choose one with --key image=front.' in (
        capsys.readouterr().out)


def test_a_folder_with_a_table_alone_says_what_it_lacks(tmp_path):
  episode(tmp_path / 'in' / 'e0', 'film', good := play(6))
  (tmp_path / 'in' / 'e1').mkdir()
  np.save(tmp_path / 'in' / 'e1' / 'actions.npy', np.zeros((3, 2)))
  imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', [good], False, False, atol=0.03)
  assert 'e1 has neither a film nor pictures; put them beside' in skipped(tmp_path / 'out')[0]


def test_a_folder_with_some_table_is_no_data_set(tmp_path):
  (tmp_path / 'in' / 'sub').mkdir(parents=True)
  (tmp_path / 'in' / 'sub' / 'prices.csv').write_text('a,b\n1.5,2.5\n')
  with pytest.raises(UserError, match='of no format that is known'):
    imports.run(tmp_path / 'in', tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


KINDS = {
    'channels first': lambda x: x.transpose(0, 3, 1, 2), 'from 0 to 1': lambda x: x / 255,
    'of 32 bits': lambda x: (x / 255).astype(np.float32), 'to 255': lambda x: x.astype(np.float32),
    'from -1 to 1': lambda x: x / 127.5 - 1, 'integers': lambda x: x.astype(np.int64),
    'first and float': lambda x: x.transpose(0, 3, 1, 2) / 255,
    'four channels': lambda x: np.concatenate([x, 0 * x[..., :1]], -1),
    'of 16 bits': lambda x: x.astype(np.uint16) * 257,
    'of the other order': lambda x: (x / 255).astype('>f4')}


@pytest.mark.parametrize('kind', KINDS)
def test_arrays_of_images_of_other_kinds(tmp_path, kind):
  wrote = play()
  wrote['image'][0] = 128  # Between black and white: one image alone would not tell.
  wrote['image'][3, :8, :, 1] = np.arange(256).reshape(8, 32)
  write_v2(tmp_path / 'in' / 'a.npz', wrote, image=KINDS[kind](wrote['image']))
  np.testing.assert_array_equal(images(tmp_path / 'out', tmp_path / 'in'), wrote['image'])


@pytest.mark.parametrize('change', [lambda x: x[..., 0], lambda x: x[..., :1], lambda x: x[:, None, :, :, 0]])
def test_grey_arrays(tmp_path, change):
  wrote = play()
  write_v2(tmp_path / 'in' / 'a.npz', wrote, image=change(wrote['image']))
  found = images(tmp_path / 'out', tmp_path / 'in')
  np.testing.assert_array_equal(found, wrote['image'][..., :1].repeat(3, -1))


@pytest.mark.parametrize('change', [
    lambda x: x.reshape(7, -1), lambda x: x.repeat(3, -1), lambda x: x * 1.5,
    lambda x: np.where(x > 200, np.nan, x), lambda x: x.astype(np.int64) - 200])
def test_arrays_that_are_no_images(tmp_path, change, capsys):
  wrote = play()
  wrote['image'][2] = 255
  write_v2(tmp_path / 'in' / 'a.npz', wrote, image=change(wrote['image']))
  with pytest.raises(UserError):
    imports.run(tmp_path / 'in', tmp_path / 'out')
  out = capsys.readouterr().out
  assert 'channels first or last' in out and '--key image' not in out


def test_films_of_a_cache_of_links(tmp_path):
  film(tmp_path / 'blobs' / 'v.mp4', corner())
  actions(tmp_path / 'blobs' / 'v.mp4')
  (tmp_path / 'in').mkdir()
  for name, blob in (('v.mp4', 'abc'), ('v.npy', 'def')):
    os.rename(tmp_path / 'blobs' / name, tmp_path / 'blobs' / blob)
    (tmp_path / 'in' / name).symlink_to(f'../blobs/{blob}')
  for i, path in enumerate((tmp_path / 'in', tmp_path / 'in' / 'v.mp4')):
    assert images(tmp_path / str(i), path).shape == (4, 32, 48, 3)
