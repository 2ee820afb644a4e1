"""Films without actions: where they are cut, at what rate they are read, and what is left out."""

import pathlib
import types

import numpy as np
import pytest
from helpers import cameras, moves

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import recording, shots
from vid2act_plugin.sources.formats import places, video

REAL = pathlib.Path(__file__).parents[1] / 'data/660db1a/cache/recordings/f3e5c54620f8'


def scene(value, length=10, size=32, speed=1):
  """Return images of a bright square that moves over a plain background."""
  image = np.full((length, size, size, 3), value, np.uint8)
  for t in range(length):
    image[t, 5:15, speed * t % 20: speed * t % 20 + 8] = 250
  return image


def test_cut_where_the_picture_changes_at_once(tmp_path):
  path = moves.film(tmp_path / 'a.mp4', np.concatenate([scene(20), scene(90, 12), scene(40, 9)]))
  found = shots.shots(shots.changes(shots.images(path)))
  assert [(x.start, x.stop, x.why) for x in found] == [(0, 10, ''), (10, 22, ''), (22, 31, '')]


def test_fast_motion_is_no_cut():
  assert not shots.cuts(np.array([0, 6, 7, 6, 8, 7, 6.0]))
  assert shots.cuts(np.array([0, 1, 1, 6, 1, 1, 1.0])) == [3]
  assert shots.cuts(np.array([0, .1, .1, 1.5, .1, .1])) == []


def test_both_cuts_around_a_shot_of_one_or_two_images(tmp_path):
  assert shots.cuts(np.array([0, 1, 1, 6, 7, 1, 1.0])) == [3, 4]
  assert shots.cuts(np.array([0, 1, 1, 6, 1, 7, 1, 1.0])) == [3, 5]
  assert not shots.cuts(np.array([0, 1, 1, 6, 7, 5, 1, 1.0]))
  assert not shots.cuts(np.array([0, 0, 0, 6, 7, 0, 0, 0.0]))  # What moves between rests is one shot.
  path = moves.film(tmp_path / 'a.mp4', np.concatenate([scene(20), scene(90, 1), scene(40), scene(99, 2), scene(20)]))
  found = shots.shots(shots.changes(shots.images(path)))
  assert [(x.start, x.stop) for x in found if not x.why] == [(0, 10), (11, 21), (23, 33)]


def test_cuts_between_real_renderings_of_two_tasks(tmp_path):
  """Episodes of door-close and faucet-open, one after the other: the same robot on the same table."""
  episodes = [
      recording.read_episode(folder, x)['image'] for folder in sorted(REAL.iterdir())
      for x in recording.load_manifest(folder)['episodes']]
  episodes = [episodes[i] for i in (0, 2, 1, 3)]
  path = moves.film(tmp_path / 'a.mp4', np.concatenate(episodes).repeat(2, 1).repeat(2, 2))
  starts = [x.start for x in shots.shots(shots.changes(shots.images(path)))]
  assert starts == [0, *np.cumsum([len(x) for x in episodes])[:-1]]


def test_still_and_short_shots_are_left_out():
  change = np.array([0, .01, .02, .01, .03, 9, .5, .4, 9, .5, .5, .6, .5])
  found = shots.shots(change)
  assert [(x.start, x.stop, x.why) for x in found] == [
      (0, 5, 'still'), (5, 8, 'fewer than 4 images'), (8, 13, '')]
  assert shots.clips(found) == [(8, 13)]


def test_a_film_of_one_image():
  found = shots.shots(shots.changes(iter(scene(3, 1))))
  assert [x.why for x in found] == ['fewer than 4 images'] and not shots.clips(found)
  assert not shots.clips(shots.shots(np.zeros(0)))


def test_long_shots_become_clips_that_lose_no_action(monkeypatch):
  monkeypatch.setattr(shots, 'LONGEST', 5)
  for length in (4, 5, 6, 9, 10, 13):
    parts = shots.clips([shots.Shot(3, 3 + length)])
    steps = [t for a, b in parts for t in range(a, b - 1)]
    assert steps == list(range(3, 3 + length - 1)) and all(b - a <= 5 for a, b in parts)
  images = np.arange(20, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 4, 4, 3), np.uint8)
  parts = shots.clips([shots.Shot(3, 12), shots.Shot(12, 14, 'still'), shots.Shot(14, 20)])
  read = list(shots.read(iter(images), parts, (4, 4)))
  assert [x for x, _ in read] == parts
  for (a, b), part in read:
    np.testing.assert_array_equal(part[:, 0, 0, 0], np.arange(a, b))


def test_no_more_than_a_clip_is_in_memory(monkeypatch):
  """A clip is there before any image behind it was read."""
  monkeypatch.setattr(shots, 'LONGEST', 5)
  count = types.SimpleNamespace(read=0)
  def frames():
    for _ in range(1000):
      count.read += 1
      yield np.zeros((4, 4, 3), np.uint8)
  for (_, stop), images in shots.read(frames(), shots.clips([shots.Shot(0, 1000)]), (4, 4)):
    assert count.read == stop and len(images) <= 5


def test_rate_and_repeat(tmp_path):
  image = (10 * np.arange(24, dtype=np.uint8))[:, None, None, None] + np.zeros((1, 32, 32, 3), np.uint8)
  path = moves.film(tmp_path / 'a.mkv', image, fps=24)
  tell = lambda **options: [round(x.mean() / 10) for x in shots.images(path, **options)]
  assert tell() == list(range(24))
  assert tell(rate=12) == list(range(0, 24, 2)) == tell(repeat=2)
  assert tell(rate=10) == [0, 2, 5, 7, 10, 12, 14, 17, 19, 22]
  assert tell(rate=12, repeat=3) == [0, 6, 12, 18]
  assert tell(rate=24.2) == list(range(24))
  with pytest.raises(UserError, match='has 24 images/s, and --rate is 30'):
    tell(rate=30)


@pytest.mark.parametrize('suffix', ['mkv', 'mp4'])
def test_images_are_taken_by_their_times(tmp_path, suffix):
  """Cameras slow down in the dark, and screens are filmed only where they change."""
  times = [0, 100, 200, 250, 300, 350, 400, 800, 900, 1000]
  image = (25 * np.arange(10, dtype=np.uint8))[:, None, None, None] + np.zeros((1, 32, 32, 3), np.uint8)
  path = moves.film(tmp_path / f'a.{suffix}', image, times=times)
  tell = lambda **options: [round(x.mean() / 25) for x in shots.images(path, **options)]
  assert tell() == list(range(10))
  found = tell(rate=5)
  assert found == [0, 2, 6, 6, 7, 9] or found == [0, 2, 6, 7, 7, 9], found  # 600 is as near to both.
  assert tell(rate=2.5, repeat=1) == [0, 6, 7]


def test_the_rate_is_that_of_most_images(tmp_path):
  """Of a screen that was filmed where it changed, and then hardly did."""
  for step, fps in ((50, 20), (33.4, 30)):
    times = [*np.arange(60) * step, *(60 * step + 500 * np.arange(1, 21))]
    image = np.arange(80, dtype=np.uint8)[:, None, None, None] * 3 + np.zeros((1, 32, 32, 3), np.uint8)
    path = moves.film(tmp_path / f'{fps}.mkv', image, times=np.round(times))
    assert video.rate(path) == pytest.approx(fps, rel=.01) and shots.pace(path, 10) == (10, '')
    found = [round(x.mean() / 3) for x in shots.images(path, 10)]
    assert found[:20] == [*range(0, 40, 2)] or fps == 30 and found[:20] == [*range(0, 60, 3)]
  rate, note = shots.pace(path, 45)
  assert rate == 0 and 'it has 29.9' in note and 'each step 1.5 times as long' in note


def test_images_that_are_shown_several_times_are_no_shots():
  for times in (2, 3, 4):
    change = np.repeat([0, .5, .6, 5, .5, .4, .6, .5, .5], times) * (np.arange(9 * times) % times == 0)
    assert shots.cuts(change) == [3 * times]
    found = shots.shots(change)
    assert [(x.start, x.stop, x.why) for x in found] == [(0, 3 * times, ''), (3 * times, 9 * times, '')]
    assert not shots.cuts(np.repeat([0, 6, 7, 6, 8, 7, 6.0], times) * (np.arange(7 * times) % times == 0))
  slides = np.zeros(60)
  slides[10::10] = 20
  assert shots.cuts(slides) == [*range(10, 60, 10)]
  assert [x.why for x in shots.shots(slides)] == ['still'] * 6


def test_where_nothing_moves_for_long_a_shot_ends():
  change = np.full(80, .5)
  change[20:60] = 0
  found = shots.shots(change)
  assert [(x.start, x.stop, x.why) for x in found] == [(0, 20, ''), (20, 59, 'still'), (59, 80, '')]
  rest = np.zeros(100)
  assert [(x.start, x.stop, x.why) for x in shots.shots(rest)] == [(0, 100, 'still')]
  rest[50:60] = .5
  assert [(x.start, x.stop, x.why) for x in shots.shots(rest)] == [
      (0, 49, 'still'), (49, 60, ''), (60, 100, 'still')]
  change[20 + shots.REST:] = .5
  assert [(x.start, x.stop, x.why) for x in shots.shots(change)] == [(0, 80, '')]
  assert shots.shots(np.zeros(0)) == []


def test_films_and_pictures_in_folders(tmp_path):
  for name in ('b/cam.mkv', 'b/deep/cam.mp4', 'a.mkv', 'a.png', 'c.png', 'notes.csv', 'b/cam.csv', '.hidden/x.mkv'):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b'x')
  cameras.pictures(tmp_path / 'd/left', cameras.corner(3), names='{}.png')
  (tmp_path / 'loop').symlink_to(tmp_path)
  found = places.films(tmp_path)
  assert [*found] == ['a.mkv', 'b/cam.mkv', 'b/deep/cam.mp4', 'd/left']
  assert all(v == tmp_path / k for k, v in found.items())
  assert [*places.films(tmp_path / 'd')] == ['left']
  (tmp_path / 'd/cover.png').write_bytes(b'x')
  assert [*places.films(tmp_path / 'd')] == ['left']
  assert places.films(tmp_path / 'd/left') == {'left': tmp_path / 'd/left'}
  assert places.films(tmp_path / 'notes.csv') == {}
  for name in ('e/x/1/0', 'e/x/1/1', 'e/x/1/wrist/0', 'e/x/2/0', 'e/x/2/1', 'e/x/2/wrist/0', 'e/0', 'e/1'):
    (tmp_path / f'{name}.png').parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / f'{name}.png').write_bytes(b'x')
  assert {k: str(v.relative_to(tmp_path / 'e')) for k, v in places.films(tmp_path / 'e').items()} == {
      '.': '.', 'x/1': 'x/1', 'x/1/wrist': 'x/1/wrist', 'x/2': 'x/2', 'x/2/wrist': 'x/2/wrist'}


@pytest.mark.parametrize('suffix', ['avi', 'mp4'])
def test_images_that_were_coded_in_another_order(tmp_path, suffix):
  """AVI has no times of when an image is shown."""
  image = (6 * np.arange(40, dtype=np.uint8))[:, None, None, None] + np.zeros((1, 32, 32, 3), np.uint8)
  path = moves.film(tmp_path / f'a.{suffix}', image, fps=10, between=3)
  tell = lambda rate: [round(x.mean() / 6) for x in shots.images(path, rate)]
  assert tell(10) == list(range(40)) and tell(5) == list(range(0, 40, 2))


def test_a_gap_in_the_times_is_a_rest():
  frames = [(0.1 * i + 1e7 * (i >= 20), i) for i in range(40)]
  found = list(shots.nearest(iter(frames), 10))
  assert found[:20] == [*range(20)] and found[-20:] == [*range(20, 40)]
  assert shots.REST < found.count(19) < shots.REST + 6
  assert list(shots.nearest(iter([(0, 'a'), (.1, 'b'), (.05, 'c'), (.3, 'd')]), 10)) == ['a', 'b', 'd', 'd']


def test_a_film_that_is_cut_off_is_refused(tmp_path):
  path = moves.film(tmp_path / 'a.mp4', scene(20, 60))
  path.write_bytes(path.read_bytes()[:-2000])
  with pytest.raises(UserError, match='a.mp4 cannot be read to its end'):
    list(shots.images(path))


def test_films_are_turned_as_they_say_and_pictures_are_a_film(tmp_path):
  (tmp_path / 'in').mkdir()
  cameras.film(tmp_path / 'in/a.mp4', cameras.corner(), cameras.TURNED)
  cameras.pictures(tmp_path / 'in/b', cameras.corner(12), names='frame_{}.png')
  first, second = places.films(tmp_path / 'in').values()
  found = np.stack(list(shots.images(first)))
  wanted = cameras.turned(cameras.corner(), cameras.TURNED)
  assert found.shape == wanted.shape and np.abs(found.astype(int) - wanted).mean() < 3
  np.testing.assert_array_equal(list(shots.images(second)), cameras.corner(12))
  with pytest.raises(UserError, match='does not tell how many images/s'):
    list(shots.images(second, rate=5))
