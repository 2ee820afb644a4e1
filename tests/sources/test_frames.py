"""Images of other kinds: what becomes black and white, and channels that are no colours."""

import numpy as np
import pytest
from helpers.cameras import pictures
from helpers.foreign import check, play, skipped, write_v2, write_v3
from helpers.plays import LENGTHS

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import importing as imports
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.sources.formats import minari, video
from vid2act_plugin.sources.frames import images


def read(frames, key=('image',)):
  """Return the images of an episode."""
  frames = np.asarray(frames)
  return images('x', iter(frames), np.arange(len(frames)), len(frames), None, None, lambda: iter(frames), key)


RAMP = np.linspace(0, 1, 256).reshape(1, 16, 16, 1).repeat(3, -1)
BYTES = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, -1)


@pytest.mark.parametrize('dtype', [np.float64, np.float32, np.float16])
@pytest.mark.parametrize('low, high', [(0, 1.02), (-.02, 1), (-.05, 1.05), (-1, 1.04), (-1.05, .9), (-1.02, 1.02)])
def test_floats_that_overshoot_are_clipped(dtype, low, high):
  """As resizing by cubic curves, or a network, makes them."""
  signed = low < -.5
  value = np.concatenate([RAMP * 2 - 1 if signed else RAMP, RAMP]).astype(dtype)
  value[1] = 1 if not signed else 0
  value[1, 0, 0], value[1, 0, 1] = low, high
  found = read(value)
  assert np.abs(found[0].astype(int) - BYTES[0]).max() <= (dtype == np.float16)
  np.testing.assert_array_equal(found[1, 0, 0], 0)
  np.testing.assert_array_equal(found[1, 0, 1], 255 if high > 1 or not signed else round(1.9 * 127.5))


@pytest.mark.parametrize('low, high', [(0, 1.2), (0, 1.99), (-1, 1.5), (-.2, 1.06)])
def test_floats_whose_white_may_be_1_or_255_are_refused(low, high):
  value = RAMP * (high - low) + low
  with pytest.raises(UserError, match=rf'image.* from {low:g} to {high:g}.* 1 or 255; scale'):
    read(value)


@pytest.mark.parametrize('low, high', [(-.5, .5), (-.52, .55), (-.08, 1.04), (-.3, -.1)])
def test_floats_whose_black_may_be_several_are_refused(low, high):
  """As those of Dreamer's first version, x / 255 - .5, which are no dim images of -1 to 1."""
  with pytest.raises(UserError, match=rf'image.* from {low:g} to {high:g}, whose black may be 0, -.5 or -1; scale'):
    read(RAMP * (high - low) + low)
  np.testing.assert_array_equal(read(np.clip(RAMP, 0, 1)), BYTES)  # As the sentence says.


@pytest.mark.parametrize('dtype', [np.int64, np.int8, np.uint16, np.uint32])
def test_whole_numbers_whose_white_may_be_1_or_255_are_refused(dtype):
  mask = (RAMP > .5).astype(dtype)
  with pytest.raises(UserError, match='from 0 to 1, whose white may be 1 or 255; scale them to floats'):
    read(mask)
  np.testing.assert_array_equal(read(mask.astype(float)), read(mask.astype(bool)))
  assert read(mask.astype(float)).max() == 255 and not read(0 * mask).any()


@pytest.mark.parametrize('high', [2, 3.5, 255])
def test_floats_to_255(high):
  found = read(RAMP * high)
  np.testing.assert_array_equal(found, np.rint(RAMP * high))


@pytest.mark.parametrize('first', [False, True])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32, np.uint16])
@pytest.mark.parametrize('kind', ['stack', 'depth', 'alpha', 'none'])
def test_four_channels_are_colours_where_the_last_is_constant(kind, dtype, first):
  rng = np.random.default_rng(0)
  value = rng.integers(0, 256, (3, 16, 16, 4))
  value[..., 3] = {'alpha': 255, 'none': 0, 'depth': np.arange(16), 'stack': value[..., 3]}[kind]
  colours = value[..., :3].astype(np.uint8)
  value = {'u': value, 'f': value / 255}[np.dtype(dtype).kind] * (257 if dtype == np.uint16 else 1)
  value = value.astype(dtype)
  value = value.transpose(0, 3, 1, 2) if first else value
  if kind in ('alpha', 'none'):
    np.testing.assert_array_equal(read(value), colours)
    return
  with pytest.raises(UserError, match="'pixels'.*four channels.*frames that were stacked, or depth.*--key image"):
    read(value, 'pixels')


def test_stacked_frames_of_files(tmp_path):
  wrote, rng = play(), np.random.default_rng(0)
  write_v2(tmp_path / 'in' / 'a.npz', wrote, image=None, seen=wrote['image'])
  write_v2(tmp_path / 'in' / 'b.npz', wrote, image=None, seen=rng.integers(0, 256, (7, 4, 32, 32), np.uint8))
  imports.run(tmp_path / 'in', tmp_path / 'out', keys={'image': 'seen'})
  check(tmp_path / 'out', [wrote])
  assert "images 'seen' of four" in skipped(tmp_path / 'out')[0] and 'stacked' in skipped(tmp_path / 'out')[0]


def write_minari(folder, image):
  import h5py
  (folder / 'data').mkdir(parents=True)
  with h5py.File(folder / 'data/main_data.hdf5', 'w') as file:
    for i, T in enumerate(LENGTHS):
      group = file.create_group(f'episode_{i}')
      group['observations'], group['actions'] = image(T), np.zeros((T - 1, 2))
      group['rewards'], group['terminations'] = np.zeros(T - 1), np.zeros(T - 1, bool)


def test_stacked_frames_of_minari(tmp_path, capsys):
  write_minari(tmp_path / 'in', lambda T: np.random.default_rng(0).integers(0, 256, (T, 4, 16, 16), np.uint8))
  assert minari.detect(tmp_path / 'in')
  with pytest.raises(UserError, match='no episode that can be imported'):
    imports.run(tmp_path / 'in', tmp_path / 'out')
  assert "'observations'" in (said := capsys.readouterr().out) and 'stacked' in said


def test_16_bits_are_of_one_scale_in_all_episodes():
  ramp = np.arange(256).reshape(1, 16, 16)
  np.testing.assert_array_equal(read((ramp * 257).astype(np.uint16))[..., 0], ramp)
  np.testing.assert_array_equal(read((ramp * 16).astype(np.uint16))[..., 0], np.rint(ramp * 16 / 257))
  np.testing.assert_array_equal(read(np.zeros((1, 16, 16), np.uint16)), np.zeros((1, 16, 16, 3)))
  with pytest.raises(UserError, match="'image'.*16 bits.*brightest is 255.*uint8"):
    read(ramp.astype(np.uint16))


WRITERS = {
    'dreamerv2': lambda path, value: write_v2(path / 'a.npz', play(4), image=value),
    'dreamerv3': lambda path, value: write_v3(path, [[dict(play(4), image=value)]]),
    'minari': lambda path, value: write_minari(path, lambda T: value[:1].repeat(T, 0))}


@pytest.mark.parametrize('most', [4095, 4096])
@pytest.mark.parametrize('form', WRITERS)
def test_arrays_of_12_bits_in_16_are_said_to_be_dark(tmp_path, capsys, form, most):
  WRITERS[form](tmp_path / 'in', np.full((4, 16, 16, 3), most, np.uint16))
  manifest = imports.run(tmp_path / 'in', tmp_path / 'out')
  assert (recordings.load(tmp_path / 'out')[1][0]['image'] == 16).all()
  words = 'of 16 bits, whose 65535 becomes 255' + ' (the first is below 4096)' * (most == 4095)
  assert f'{words};' in capsys.readouterr().out
  assert manifest['columns'][0]['taken']['image'][0].endswith(words) and not {
      'image', 'observations'} & {*manifest['columns'][0]['left']}


def test_bytes_are_said_to_be_nothing_else(tmp_path):
  write_v2(tmp_path / 'in' / 'a.npz', play())
  layout, = imports.run(tmp_path / 'in', tmp_path / 'out')['columns']
  assert layout['taken']['image'] == ['image']


MIXED = [f'frame-{t:06}.{x}.png' for t in range(4) for x in ('color', 'depth')]


def test_pictures_of_two_kinds_are_not_one_film(tmp_path, capsys):
  pictures(tmp_path / 'in' / 'ep', play(8)['image'], MIXED)
  np.save(tmp_path / 'in' / 'ep.npy', np.zeros((8, 2)))
  with pytest.raises(UserError, match='no episode that can be imported'):
    imports.run(tmp_path / 'in', tmp_path / 'out')
  assert 'frame-#.color.png (4), frame-#.depth.png (4)' in capsys.readouterr().out
  with pytest.raises(UserError, match='images of several kinds'):  # As films that are labelled are read.
    video.frames(tmp_path / 'in' / 'ep')
  assert len(video.numbered(tmp_path / 'in' / 'ep')) == 8  # Of them a hash is taken all the same.
  for x in ('color', 'depth'):  # As the sentence says.
    (tmp_path / 'in' / 'ep' / x).mkdir()
    for path in (tmp_path / 'in' / 'ep').glob(f'*.{x}.png'):
      path.rename(path.parent / x / path.name)
  np.save(tmp_path / 'in' / 'ep.npy', np.zeros((4, 2)))
  imports.run(tmp_path / 'in', tmp_path / 'out', keys={'image': 'color'})
  np.testing.assert_array_equal(recordings.load(tmp_path / 'out')[1][0]['image'], play(8)['image'][::2])
