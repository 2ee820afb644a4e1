"""Films as pictures in a page: all frames on one sheet, of which the page shows one at a time.

Axes: T frames, H W image.
"""

import io
import math

import numpy as np

from . import files
from .budget import Budget

LOSSLESS = 150_000  # Bytes of a sheet; a larger one is compressed with loss.
QUALITY = 85
PIXELS = 6_000_000  # Of a sheet: frames are left out, or are made smaller, rather than more.
FRAMES = 500
SIDE = 16_383  # Pixels that WebP has at most on a side.


def read(path):
  """Return the frames `[T, H, W, 3]` uint8 of an animated GIF, and the milliseconds that each lasts.

  Of equal frames there is one that lasts longer. Raises an `OSError` if no
  regular file is there, or a `ValueError` if its size does not allow its frames.
  """
  from PIL import Image, ImageSequence
  limit, frames, times = Budget.of(files.regular(path)), [], []
  with Image.open(path, formats=['GIF']) as film:
    for frame in ImageSequence.Iterator(film):
      limit.take(3 * frame.width * frame.height, 'the film')
      frames.append(np.asarray(frame.convert('RGB')))
      times.append(max(1, int(frame.info.get('duration', 0))))
  return np.stack(frames), times


def steps(times, count=None):
  """Return which frame is shown at each step, `[T]`, from the milliseconds that each lasts.

  count: number of steps, where it is known.
  """
  ends = np.cumsum(times)
  count = count or max(len(times), round(ends[-1] / min(times)))
  middles = (np.arange(count) + 0.5) * ends[-1] / count
  return np.searchsorted(ends, middles, 'right').tolist()


def sheet(frames, shown):
  """Return a film for a page: a sheet of the frames `[T, H, W, 3]`, and where each step is on it.

  shown: index of the frame at each step. Result: `data` bytes of WebP, `columns`
  and `rows` of the sheet, `width` and `height` of a frame, and `places`, the
  place on the sheet at each step.
  """
  T, H, W, _ = frames.shape
  every = math.ceil(T / FRAMES)
  smaller = math.ceil(math.sqrt(math.ceil(T / every) * H * W / PIXELS))
  kept = frames[::every, ::smaller, ::smaller]
  T, H, W, _ = kept.shape
  columns = max(1, min(T, SIDE // W, round(math.sqrt(T * H / W))))
  rows = math.ceil(T / columns)
  canvas = np.zeros((rows, columns, H, W, 3), np.uint8)
  canvas.reshape((-1, H, W, 3))[:T] = kept
  picture = canvas.transpose((0, 2, 1, 3, 4)).reshape((rows * H, columns * W, 3))
  return dict(
      data=webp(picture), columns=columns, rows=rows, width=W, height=H,
      places=[k // every for k in shown])


def webp(image):
  """Return an image `[H, W, 3]` uint8 as WebP, without loss unless that is large."""
  from PIL import Image
  made = Image.fromarray(np.ascontiguousarray(image))
  content = _encoded(made, lossless=True, quality=50, method=2)
  if len(content) > LOSSLESS:
    content = _encoded(made, quality=QUALITY, method=4)
  return content


def _encoded(image, **options):
  out = io.BytesIO()
  image.save(out, 'WEBP', **options)
  return out.getvalue()
