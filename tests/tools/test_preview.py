"""The pictures of `vid2act inspect`: a sheet of frames, and a film of every source."""

import math

import numpy as np
import pytest
from helpers.inspecting import damage, frames, read
from PIL import Image

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.tools import inspect as inspection
from vid2act_plugin.tools import preview


def test_damage_is_shown_below_the_tables_and_drawn_without(make, capsys, tmp_path):
  path = damage(make('one'))
  with pytest.raises(SystemExit) as error:
    cli.main(['inspect', str(path.parent), '--out', str(tmp_path)])
  output = capsys.readouterr().out
  assert error.value.code == 1 and f'Damaged: The file {path}' in output
  assert output.index('Settings') < output.index('Damaged') < output.index('Pictures')
  assert len(frames(tmp_path / 'one-episodes.mp4')) == 5


def test_pictures_of_one_recording(make, capsys, tmp_path):
  report, _ = read(capsys, make('one', (7, 5), size=(8, 16)), '--out', tmp_path / 'new')
  png, mp4 = (tmp_path / 'new' / f'one-episodes.{x}' for x in ('png', 'mp4'))
  assert report['pictures'] == [str(png), str(mp4)]
  S, L = preview.SIDE, preview.LABEL
  sheet = np.asarray(Image.open(png))
  assert sheet.shape == (2 * (L // 2 + S), preview.FRAMES * S, 3)
  film = frames(mp4)
  assert film.shape == (7, L + S, 2 * S, 3)
  # Letters, then black, grey and black: the image is twice as wide as high.
  assert sheet[:L // 2].max() > 200 and film[:, :L].max() > 200
  for row, value in ((0, 40), (1, 10)):
    middle = sheet[(row + 1) * L // 2 + row * S:][:S, :, 0]
    assert (middle[S // 4: -S // 4] == value).all() and not middle[:S // 4].any()
    shown = film[:, L + S // 2, row * S + S // 2].astype(int)
    assert np.abs(shown - value).max() < 8
  assert sorted(x.name for x in (tmp_path / 'new').iterdir()) == [png.name, mp4.name][::-1]


def test_the_frames_of_a_sheet_are_spread_over_the_episode():
  image = np.arange(91, dtype=np.uint8)[:, None, None, None].repeat(3, -1)
  strip = preview._strip(image, 'text')
  assert strip[-1, ::preview.SIDE, 0].tolist() == list(range(0, 91, 10))


def test_shorter_episodes_wait_at_their_end():
  short, long = (np.arange(1, n + 1, dtype=np.uint8)[:, None, None, None] * np.ones(
      (1, preview.LABEL + preview.SIDE, preview.SIDE, 3), np.uint8) for n in (2, 4))
  shown = np.stack(list(preview._grid([short, long], 2)))
  assert shown[:, 0, 0, 0].tolist() == [1, 2, 2, 2]
  assert shown[:, 0, -1, 0].tolist() == [1, 2, 3, 4]


def test_a_film_that_fails_halfway_leaves_the_former_one(make, tmp_path):
  folder = make('one', (90, 90))  # Enough for the encoder to begin writing.
  cli.main(['inspect', str(folder), '--out', str(tmp_path)])
  film = tmp_path / 'one-episodes.mp4'
  before, names = film.read_bytes(), sorted(tmp_path.iterdir())
  shown = [
      (folder, x, ('one',)) for x in recordings.load_manifest(folder)['episodes'] * preview.PAGE]
  shown[-1] = tmp_path, *shown[-1][1:]  # On the second page.
  with pytest.raises(UserError, match='cannot be read'):
    preview.draw(shown, tmp_path / 'one')
  assert film.read_bytes() == before and sorted(tmp_path.iterdir()) == names


def test_every_source_is_drawn_in_at_most_twenty_seconds(make, capsys, tmp_path):
  for i in range(14):
    make(f's{i:02d}', (900,) if i == 3 else (5, 4))
  report, _ = read(capsys, tmp_path / 'all', '--out', tmp_path)
  film, S, L = frames(report['pictures'][1]), preview.SIDE, preview.LABEL
  # Two pages share 400 frames: every fifth of 900 steps, and of 5 steps all.
  assert len(film) == math.ceil(900 / 5) + 5 <= preview.FPS * preview.SECONDS
  assert film.shape[1:] == (3 * (L + S), 4 * S, 3)
  assert np.asarray(Image.open(report['pictures'][0])).shape[0] == 14 * (L // 2 + S)
  last = film[-1, L + S // 2:: L + S, S // 2:: S, 0]
  assert (last[0, :2] > 30).all() and (last[0, 2:] < 20).all() and (last[1:] < 20).all()


def test_equal_names_get_pictures_of_their_own(make, capsys, tmp_path):
  folder = make('one')
  (tmp_path / 'one').symlink_to(make('two').rename(tmp_path / 'kept'))
  stems = inspection._stems([folder, folder, tmp_path / 'one'], tmp_path)
  assert [x.name for x in stems] == ['one', 'one-2', 'kept']


def test_pictures_that_cannot_be_written(make, tmp_path):
  (tmp_path / 'file').write_text('mine')
  with pytest.raises(UserError, match='file.*cannot be written.*--out.*--no-pictures'):
    cli.main(['inspect', str(make('one')), '--out', str(tmp_path / 'file')])
  assert (tmp_path / 'file').read_text() == 'mine'
