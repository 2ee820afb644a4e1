"""Images and films in files, and matplotlib without a display."""

import numpy as np


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
