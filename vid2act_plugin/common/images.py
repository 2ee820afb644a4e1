"""Images and films in files, and matplotlib without a display."""

import contextlib

import numpy as np

from . import files
from .budget import Budget

PICTURES = 'PNG', 'JPEG'  # To show some others, Pillow starts programs.


def gif(path, video, fps=10):
  """Write a film `[T, H, W, 3]` uint8 as an animated GIF that repeats."""
  from PIL import Image
  first, *rest = map(Image.fromarray, np.asarray(video))
  first.save(
      path, 'GIF', save_all=True, append_images=rest, duration=1000 / fps, loop=0, disposal=2)


def png(path, image):
  """Write an image `[H, W, 3]` uint8."""
  from PIL import Image
  Image.fromarray(np.asarray(image)).save(path, 'PNG')


def pyplot():
  """Return matplotlib's pyplot, drawing without a display."""
  import matplotlib
  matplotlib.use('Agg')
  import matplotlib.pyplot as plt
  return plt


def rgb(source, limit):
  """Return the picture `[H, W, 3]` uint8 of a path or stream, if `limit`, a `Budget`, allows it."""
  from PIL import Image
  with Image.open(source, formats=PICTURES) as picture:
    limit.fits(4 * picture.width * picture.height, 'a picture')
    return np.asarray(picture.convert('RGB'))


@contextlib.contextmanager
def film(path, form, **options):
  """Open a video; yields its container and first stream, whose images the file's size allows.

  form: FFmpeg's name of the format: never guessed from content, which may name
  other files. options: of the codec.
  """
  import av
  limit = Budget.of(files.regular(path))
  most = {'max_pixels': str(limit.bytes // 8)}  # Decoded, and converted to RGB.
  with av.open(str(path), format=form, options=most) as container:
    stream = container.streams.video[0]
    stream.codec_context.options = {**most, **options}
    limit.fits(8 * stream.codec_context.width * stream.codec_context.height, 'an image')
    yield container, stream
