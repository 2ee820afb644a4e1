"""The images of an episode: of whatever kind they are, they become `[H, W, 3]` uint8.

Axes: K images that are kept, H height, W width.
"""

import numpy as np

from ..common import budget
from ..common.errors import UserError
from ..common.images import resized

CHANNELS = (1, 3, 4)
OVER = .05  # By so much floats leave 0 to 1, or -1 to 1, where they were resized by curves, or are of a network.
DEEP = ' of 16 bits, whose 65535 becomes 255'
DARK = 4096  # 12 bits of 16: of images that stay below it little is seen.
KINDS = (
    'images of [H, W] or, with 1, 3 or 4 channels first or last, [H, W, C] and [C, H, W] are '
    'read, of numbers from 0 to 255, 0 to 1, -1 to 1, or of 16 bits')


def images(name, frames, keep, steps, size, resize, again=None, key='image'):
  """Return the images `[K, H, W, 3]` at the places `keep`; reads no more than these need.

  again: function that returns the frames anew; where they are not of 8 bits, all of an episode
  decide what black and white are. key: what the images are called there, as an
  episode's `names` have it, for messages.
  """
  images, row, count, kind = None, 0, 0, None
  key = ', '.join([key] if isinstance(key, str) else key).partition(DEEP)[0]
  for count, frame in enumerate(frames, 1):
    if row == len(keep):
      break
    if count - 1 == keep[row]:
      frame = np.asarray(frame)
      kind = kind or _kind(name, frame, again, key)
      frame = resized(_pixels(name, frame, kind, key), resize)
      if size and tuple(frame.shape[:2]) != tuple(size):
        raise UserError(
            f'The episode {name} has images of {frame.shape[0]}x{frame.shape[1]} and those before '
            f'have {size[0]}x{size[1]}; give one size with --resize.')
      if images is None:
        _room(name, len(keep) * frame.nbytes)
        images, size = np.empty((len(keep), *frame.shape), np.uint8), frame.shape[:2]
      images[row] = frame
      row += 1
  if row < len(keep):
    raise UserError(
        f'The episode {name} has only {count} images, but {steps} rows of actions; write both to '
        'the same step.')
  if count > steps:
    raise UserError(
        f'The episode {name} has more images than its {steps} rows of actions; write both to the '
        'same step.')
  return images


def told(key, dtype, frames):
  """Return for the report what images of a key and type are; frames: function that returns them.

  Cameras of 12 bits may leave the upper four of 16 empty; which do, no file says.
  """
  if np.dtype(dtype) != np.uint16:
    return key
  first = next(iter(frames()), None)
  dark = f' (the first is below {DARK})' if first is not None and np.max(first, initial=0) < DARK else ''
  return f'{key}{DEEP}{dark}'


def _room(name, size):
  have = int(budget.SHARE * budget.memory())
  if size > have:
    raise UserError(
        f'The episode {name} has {size:,} bytes of images, and {have:,} can be kept here; give '
        '--resize, or cut it with --limit.')


def _kind(name, frame, again, key):
  """Return `(first, low, high)`: whether channels come first, and what becomes 0 and 255."""
  if frame.dtype.kind not in 'fiub' or frame.ndim not in (2, 3) or 0 in frame.shape or (
      frame.ndim == 3 and not {frame.shape[0], frame.shape[2]} & {*CHANNELS}):
    raise _unknown(name, frame)
  first = frame.ndim == 3 and frame.shape[2] not in CHANNELS
  if frame.dtype == np.uint8:
    return first, 0, 255
  ranges = [(x.min(), x.max()) for x in map(np.asarray, again())]
  low, high = min(x for x, _ in ranges), max(x for _, x in ranges)
  if frame.dtype.kind == 'b' or frame.dtype.kind == 'f' and -OVER <= low and high <= 1 + OVER:
    return first, 0, 1
  if frame.dtype.kind == 'f' and -1 - OVER <= low and high <= 1 + OVER:
    if low >= -.5 - OVER:
      raise UserError(
          f"The episode {name} has images '{key}' of values from {low:g} to {high:g}, whose black may be 0, -.5 or -1; "
          'scale them to 0 to 1, or 0 to 255.')
    return first, -1, 1
  if frame.dtype.kind == 'f' and 1 < high < 2 or frame.dtype.kind in 'iu' and high == 1:
    raise UserError(
        f"The episode {name} has images '{key}' of values from {low:g} to {high:g}, whose white may be 1 or 255; scale "
        'them to floats from 0 to 1, or to 0 to 255.')
  if frame.dtype == np.uint16 and 0 < high < 256:  # Beside others of the data it would be of another brightness.
    raise UserError(
        f"The episode {name} has images '{key}' of 16 bits, whose brightest is {high}, so that white may be 255 or "
        '65535; write those of 8 bits as uint8, and leave out those that are black.')
  return first, 0, 65535 if frame.dtype == np.uint16 else 255


def _pixels(name, frame, kind, key):
  """Return an image as `[H, W, 3]` uint8; a `UserError` if it is not of the episode's kind."""
  first, low, high = kind
  if frame.dtype != np.uint8:
    over = OVER if frame.dtype.kind == 'f' and high == 1 else 0
    if not (low - over <= frame.min() and frame.max() <= high + over):  # Also where they are not numbers.
      raise _unknown(name, frame, f', and values from {frame.min():g} to {frame.max():g}')
    frame = np.clip((frame.astype(np.float64) - low) * (255 / (high - low)), 0, 255)
    frame = np.rint(frame).astype(np.uint8)
  frame = frame[..., None] if frame.ndim == 2 else frame.transpose(1, 2, 0) if first else frame
  if frame.shape[-1] not in CHANNELS:
    raise _unknown(name, frame)
  if frame.shape[-1] == 4 and np.ptp(frame[..., 3]):
    raise UserError(
        f"The episode {name} has images '{key}' of four channels, of which the last is not the same throughout: they "
        'look like frames that were stacked, or depth; write three, or name other images with --key image=THEIRS.')
  return np.repeat(frame, 3, -1) if frame.shape[-1] == 1 else np.ascontiguousarray(frame[..., :3])


def _unknown(name, frame, more=''):
  return UserError(
      f'The episode {name} has images of shape {frame.shape} and type {frame.dtype}{more}; '
      f'{KINDS}, one kind in an episode.')
