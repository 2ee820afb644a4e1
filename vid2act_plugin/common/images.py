"""Images and films in files, and matplotlib without a display."""

import contextlib
import functools
import pathlib

import numpy as np

from . import files
from .budget import Budget
from .errors import UserError, reason
from .output import note, printable

LONGEST = 40  # Characters of a name in a picture.
PICTURES = 'PNG', 'JPEG'  # To show some others, Pillow starts programs.


def gif(path, video, fps=10):
  """Write a film `[T, H, W, 3]` uint8 as an animated GIF that repeats."""
  from PIL import Image
  first, *rest = map(Image.fromarray, np.asarray(video))
  # Of equal frames Pillow writes one that lasts longer: by whole hundredths, so that they can be told.
  duration = 10 * max(2, int(100 / fps))
  with _written(path) as part:
    first.save(
        part, 'GIF', save_all=True, append_images=rest, duration=duration, loop=0, disposal=2)


def png(path, image):
  """Write an image `[H, W, 3]` uint8."""
  from PIL import Image
  with _written(path) as part:
    Image.fromarray(np.asarray(image)).save(part, 'PNG')


def pyplot():
  """Return matplotlib's pyplot, drawing without a display."""
  import matplotlib
  matplotlib.use('Agg')
  import matplotlib.pyplot as plt
  return plt


@functools.cache
def drawing():
  """Say whether matplotlib draws; that it does not, a run notes once, and goes on without pictures."""
  try:
    pyplot()
  except Exception as e:  # It is not installed, or is of another time than NumPy.
    note(f'Note: without matplotlib no curves, charts and report are made ({reason(e)}); where it is '
         'installed, `vid2act report LOGDIR` makes the report.')
    return False
  return True


@contextlib.contextmanager
def figure(path, *args, **kwargs):
  """Yield figure and axes as `plt.subplots` makes them; in the end they are drawn into `path`."""
  plt = pyplot()
  fig, axes = plt.subplots(*args, **kwargs)
  try:
    yield fig, axes
    with _written(path) as part:
      fig.savefig(part, format='png', dpi=110)
  finally:
    plt.close(fig)


def label(name):
  """Return a name of others as matplotlib shows it: no formula, not left out, and not endless."""
  text = printable(str(name))
  text = text if len(text) <= LONGEST else f'{text[:LONGEST - 1]}…'
  # A legend leaves out what begins with an underscore.
  return (' ' * text.startswith('_') + text).replace('$', r'\$')


def _written(path):
  return files.atomic_write(pathlib.Path(str(path)))


def rgb(source, limit):
  """Return the picture `[H, W, 3]` uint8 of a path or stream, if `limit`, a `Budget`, allows it.

  It is turned as it says it is to be shown; of 16 bits, 65535 becomes 255.
  """
  from PIL import Image, ImageOps
  with Image.open(source, formats=PICTURES) as picture:
    _fits(picture, limit)
    ImageOps.exif_transpose(picture, in_place=True)
    if not _deep(picture):
      return np.asarray(picture.convert('RGB'))
    grey = (np.asarray(picture).astype(np.uint32).clip(0, 65535) + 128) // 257
    return np.repeat(grey.astype(np.uint8)[..., None], 3, -1)


def resized(image, size):
  """Return an image `[H, W, 3]` uint8 at a size (height, width), of averaged areas; None: as it is."""
  from PIL import Image
  if not size or image.shape[:2] == tuple(size):
    return image
  return np.asarray(Image.fromarray(image).resize(tuple(size)[::-1], Image.Resampling.BOX))


def brightest(source, limit):
  """Return the largest value in a picture of 16 bits, None of any other; `limit` as of `rgb`."""
  from PIL import Image
  with Image.open(source, formats=PICTURES) as picture:
    _fits(picture, limit)
    return int(np.asarray(picture).max()) if _deep(picture) else None


def _fits(picture, limit):
  limit.fits(4 * picture.width * picture.height, 'a picture')


def _deep(picture):
  return picture.mode.startswith('I')  # Pillow itself would cut what is above 255.


def upright(frame):
  """Return the image `[H, W, 3]` uint8 of a decoded frame, turned and mirrored as it is shown.

  Raises a `ValueError` where it is to be shown at an angle.
  """
  image = frame.to_ndarray(format='rgb24')
  matrix = next((x for x in frame.side_data if x.type.name == 'DISPLAYMATRIX'), None)
  if matrix is None:
    return image
  # A point (x, y) is shown at (a x + c y, b x + d y), up to a shift.
  a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32, 9).tolist()
  if (a or d) and (b or c):
    raise ValueError(f'it is to be shown turned by {frame.rotation} degrees')
  right, down = (c, b) if b or c else (a, d)
  image = image.transpose(1, 0, 2) if b or c else image
  return np.ascontiguousarray(image[::-1 if down < 0 else 1, ::-1 if right < 0 else 1])


@contextlib.contextmanager
def film(path, form, **options):
  """Open a video; yields its container and first stream, whose images the file's size allows.

  form: FFmpeg's name of the format: never guessed from content, which may name
  other files. options: of the codec. Raises a `UserError` if it has several
  tracks of images.
  """
  import av
  from av.stream import Disposition as covers
  path = pathlib.Path(path)
  limit = Budget.of(files.regular(path))
  most = {'max_pixels': str(limit.bytes // 8)}  # Decoded, and converted to RGB.
  with av.open(str(path), format=form, options=most) as container:
    tracks = [x for x in container.streams.video if not x.disposition & (covers.attached_pic | covers.timed_thumbnails)]
    if len(tracks) > 1:
      raise UserError(
          f'The film {path} has {len(tracks)} tracks of images; write one of them alone, such as with ffmpeg -i FILM '
          f'-map 0:v:0 -c copy NEW{path.suffix}.')
    stream = container.streams.best('video')  # A cover comes after it.
    if stream is None:
      raise ValueError('it has no images')
    stream.codec_context.options = {**most, **options}
    limit.fits(8 * stream.codec_context.width * stream.codec_context.height, 'an image')
    yield container, stream
