"""Images and films in files, and matplotlib without a display."""

import contextlib
import pathlib

import numpy as np

from . import files
from .output import printable

LONGEST = 40  # Characters of a name in a picture.


def gif(path, video, fps=10):
  """Write a film `[T, H, W, 3]` uint8 as an animated GIF that repeats."""
  from PIL import Image
  first, *rest = map(Image.fromarray, np.asarray(video))
  with _written(path) as part:
    first.save(
        part, 'GIF', save_all=True, append_images=rest, duration=1000 / fps, loop=0, disposal=2)


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
