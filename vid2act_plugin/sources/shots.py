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
CUT, ABRUPT = 2.0, 2.5  # Of 255; and times the largest change among the two before and after.
STILL = 0.1  # Of 255: in a shot whose images all change by no more, nothing moves.
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


def films(path):
  """Return the films and folders of pictures in `path`, in the order of their names."""
  return places.sources(path, shared=False)


def check(path):
  """Raise a `UserError` unless there are films in `path`."""
  if not films(path):
    raise UserError(
        f"There are no films in {path} ({', '.join(places.VIDEOS)}, or folders of numbered pictures); "
        'name a folder of films, or a recording.')


def images(film, rate=0, repeat=1):
  """Return an iterator of the images `[H, W, 3]` of a film, turned as it says they are to be shown.

  rate: images per second, of which the nearest are kept; 0: all. repeat: every so many-th of these.
  Raises a `UserError` if the film cannot be read to its end, or has fewer images per second.
  """
  frames, fps = video.frames(film)
  if rate and not fps:
    raise UserError(
        f'The film {film} does not tell how many images/s it has; leave --rate out, or it.')
  if rate and fps < rate * (1 - SLACK):
    raise UserError(
        f'The film {film} has {fps:.4g} images/s, and --rate is {rate:g}; ask for no more than it '
        'has, or leave it out.')
  if not rate:
    return (x for i, (_, x) in enumerate(frames) if i % repeat == 0)
  timed = ((i / fps if time is None else time, x) for i, (time, x) in enumerate(frames))
  return nearest(timed, min(rate, fps) / repeat)


def nearest(frames, rate):
  """Yield of the pairs `(seconds, image)` the image nearest to each of `rate` times a second.

  The first one's time is the first. Between images that are further apart, one is taken again.
  """
  kept, before = 0, None
  for now, image in frames:
    start = now if before is None else start
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

  A cut is one large change between small ones; fast motion is large for several images.
  """
  found = []
  for t in np.flatnonzero(change >= CUT):
    near = np.concatenate([change[max(1, t - 2): t], change[t + 1: t + 3]])
    if change[t] >= ABRUPT * near.max(initial=0):
      found.append(int(t))
  return found


def shots(change):
  """Return the `Shot`s of a film by its changes `[T]`."""
  bounds, found = [0, *cuts(change), len(change)], []
  for start, stop in zip(bounds, bounds[1:]):
    why = ''
    if stop - start < SHORT:
      why = f'fewer than {SHORT} images'
    elif change[start + 1: stop].max() <= STILL:
      why = 'still'
    found.append(Shot(start, stop, why))
  return found


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
