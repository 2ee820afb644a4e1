"""A film without actions as shots: cut where the picture changes at once, still ones left out.

A film is decoded twice: once for what changes between images, and once for the images. No more
than one clip of it is in memory.

Axes: T images of a film after its rate was matched, H W image.
"""

import dataclasses

import numpy as np

from ..common.errors import UserError
from ..common.images import resized
from .formats import places, video

SIDE = 32  # Pixels of the pictures that changes are measured on.
CUT, ABRUPT, BRIEF = 2.0, 2.5, 3.0  # Of 255; times the largest change around one cut, and around two.
NEAR = 8  # Images: how far around a cut there may be the changes that it is measured by.
STILL = 0.1  # Of 255: in a shot whose images all change by no more, nothing moves.
REST = 25  # Images in which nothing moves, that are left out of a shot.
SHORT = 4  # Images; a shot with fewer of them is left out.
LONGEST = 500  # Images of a clip; a longer shot becomes several.
EXACT = 1e-4  # Seconds; containers round times, to a thousandth at worst.
SLACK = 0.02  # Of a rate: cameras keep theirs no better.


@dataclasses.dataclass(frozen=True)
class Shot:
  """Images `start` to `stop` (not itself) of a film; `why` they are left out, or ''."""

  start: int
  stop: int
  why: str = ''

  def __str__(self):
    return f'{self.start}-{self.stop - 1}'


def check(path, rate=0, option='--rate', sign=' '):
  """Raise a `UserError` unless there are films in `path`, of which one can be read at `rate` images per second; 0: all.

  option, sign: how the rate was given.
  """
  films, faults = places.films(path), []
  if not films:
    raise UserError(
        f"There are no films in {path} ({', '.join(places.VIDEOS)}, or folders of numbered pictures); "
        'name a folder of films, or a recording.')
  for film in films.values() if rate else ():
    try:
      return _fps(film, rate, option, sign)
    except UserError as e:  # Others may have it, and this one is left out.
      faults.append(e)
  if faults:
    raise faults[0]


def pace(film, rate):
  """Return at which rate a film is read where `rate` images per second are the usual one, and a note.

  The rate is 0, all images as they are, where the film does not tell its own or has fewer.
  """
  fps = video.rate(film)
  if rate and not fps:
    return 0, 'it tells no images/s, and all are taken'
  if rate and fps < rate * (1 - SLACK):
    return 0, f'it has {fps:.4g} images/s, and all are taken, each step {rate / fps:.2g} times as long as those learned from'
  return rate, ''


def images(film, rate=0, repeat=1):
  """Return an iterator of the images `[H, W, 3]` of a film, turned as it says they are to be shown.

  rate: images per second, of which the nearest are kept; 0: all. repeat: every so many-th of these.
  Raises a `UserError` if the film cannot be read to its end, or has fewer images per second.
  """
  if not rate:
    return (x for i, (_, x) in enumerate(video.frames(film)) if i % repeat == 0)
  fps = _fps(film, rate)
  timed = ((i / fps if time is None else time, x) for i, (time, x) in enumerate(video.frames(film)))
  return nearest(timed, min(rate, fps) / repeat)


def _fps(film, rate, option='--rate', sign=' '):
  """Return images per second of a film; a `UserError` if it has fewer than `rate`, the value of `option`, or does not tell."""
  fps = video.rate(film)
  if not fps:
    raise UserError(
        f'The film {film} does not tell how many images/s it has, and {option} is {rate:g}; give {option}{sign}0, which '
        'takes all images.')
  if fps < rate * (1 - SLACK):
    raise UserError(
        f'The film {film} has {fps:.4g} images/s, and {option} is {rate:g}; give {fps:.4g} or less, or 0, which '
        'takes all images.')
  return fps


def nearest(frames, rate):
  """Yield of the pairs `(seconds, image)` the image nearest to each of `rate` times a second.

  The first one's time is the first. Between images that are further apart, each is taken again,
  but none for many more than `REST` times.
  """
  kept, before, start = 0, None, None
  for now, image in frames:
    start = now if start is None else start
    if before:
      now = max(now, before[0])
      skipped = max(0, now - before[0] - 2 * (REST + 3) / rate)
      start, before = start + skipped, (before[0] + skipped, before[1])
    # Half of what lies between two images beyond the last one, which is nearest there.
    while (due := start + kept / rate) <= now + EXACT:
      kept += 1
      yield image if before is None or now - due <= due - before[0] else before[1]
    apart, before = now - before[0] if before else 0, (now, image)
  if before and due <= before[0] + apart / 2 - EXACT:
    yield before[1]


def changes(frames):
  """Return how much each of the images `[H, W, 3]` differs from the one before, `[T]`.

  It is the mean absolute difference, of 255, between pictures of `SIDE` x `SIDE` pixels; at the
  first it is 0.
  """
  before, found = None, []
  for frame in frames:
    now = resized(frame, (SIDE, SIDE)).astype(np.int16)
    found.append(0.0 if before is None else float(np.abs(now - before).mean()))
    before = now
  return np.array(found)


def cuts(change):
  """Return the images at which a new shot begins, by the changes `[T]`.

  A cut is one large change between small ones, or one of two with a shot of an image or two between
  them; fast motion is large for several images. Images that are shown several times have no changes
  between them, which say nothing of others.
  """
  found, moved = set(), np.flatnonzero(change > STILL)
  for i, t in enumerate(moved):
    for j, other in enumerate(moved[i: i + 3], i):
      around = [*moved[max(0, i - 2): i], *moved[i + 1: j], *moved[j + 1: j + 3]]
      around = change[[x for x in around if t - NEAR <= x <= other + NEAR]]
      alone = i == j
      if (alone or len(around)) and change[[t, other]].min() >= max(
          CUT, (ABRUPT if alone else BRIEF) * around.max(initial=0)):
        found |= {int(t), int(other)}
  return sorted(found)


def shots(change):
  """Return the `Shot`s of a film by its changes `[T]`."""
  found = []
  if not len(change):
    return found
  edges = [0, *cuts(change), len(change)]
  for start, stop in zip(edges, edges[1:]):
    for a, b in _parts(change, start, stop):
      why = ''
      if b - a < SHORT:
        why = f'fewer than {SHORT} images'
      elif change[a + 1: b].max() <= STILL:
        why = 'still'
      found.append(Shot(a, b, why))
  return found


def _parts(change, start, stop):
  """Split a shot where nothing moves for `REST` images, whose last one begins what follows."""
  parts, begun = [], start
  moved = [start, *(t for t in range(start + 1, stop) if change[t] > STILL), stop]
  for t, then in zip(moved, moved[1:]):
    if then - t - 1 > REST:
      first, last = start if t == start else t + 1, stop if then == stop else then - 1
      parts += [(begun, first), (first, last)]
      begun = last
  return [(a, b) for a, b in [*parts, (begun, stop)] if b > a]


def clips(found):
  """Return the shots that are taken, cut into parts `(start, stop)` of at most `LONGEST` images.

  A part begins with the last image of the one before, so that no action between two is lost.
  """
  parts = []
  for shot in found:
    start = shot.start
    while not shot.why and shot.stop - start > 1:
      parts.append((start, min(start + LONGEST, shot.stop)))
      start = parts[-1][1] - 1 if parts[-1][1] < shot.stop else shot.stop
  return parts


def read(frames, parts, size):
  """Yield each part `(start, stop)` and its images `[T, H, W, 3]` of that size, one at a time."""
  parts, kept = list(parts), []
  for i, frame in enumerate(frames):
    if parts and i >= parts[0][0]:
      kept.append(resized(frame, size))
      if i == parts[0][1] - 1:
        part, *parts = parts
        yield part, np.stack(kept)
        kept = kept[-1:] if parts and parts[0][0] == i else []
        if not parts:
          return
