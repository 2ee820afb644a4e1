"""Films and pictures as cameras write them: turned, of 16 bits, at rates of their own."""

import struct
from fractions import Fraction as Fraction

import numpy as np
from PIL import Image

from .foreign import write_mp4

IDENTITY = (1, 0, 0, 1)
TURNED = (0, 1, -1, 0)  # As a phone held upright: what is coded at the top is shown at the right.


def corner(steps=4, height=32, width=48):
  """Return images `[T, H, W, 3]` that are red at the top left, and lighter in the middle by step."""
  image = np.full((steps, height, width, 3), 40, np.uint8)
  for t in range(steps):
    image[t, height // 4: -height // 4, width // 4: -width // 4] = 60 + 10 * t
  image[:, :8, :12] = (220, 30, 30)
  return image


def film(path, image, matrix=IDENTITY, fps=10):
  """Write a film whose point (x, y) is to be shown at (a x + c y, b x + d y)."""
  write_mp4(path, image, fps)
  turn(path, matrix)


def turn(path, matrix):
  """Let a film be shown like this."""
  content = bytearray(path.read_bytes())
  start = content.index(b'tkhd')
  at = start + 8 + (32 if content[start + 4] else 20) + 16
  a, b, c, d = (int(x * 65536) for x in matrix)
  content[at: at + 36] = struct.pack('>9i', a, b, 0, c, d, 0, 0, 0, 1 << 30)
  path.write_bytes(content)


def turned(image, matrix):
  """Return images as they are shown, pixel by pixel."""
  a, b, c, d = matrix
  place = np.array([
      [(a * x + c * y, b * x + d * y) for x in range(image.shape[2])]
      for y in range(image.shape[1])])
  place -= place.min((0, 1))
  size = place.max((0, 1)) + 1
  shown = np.zeros((len(image), size[1], size[0], 3), image.dtype)
  for y, row in enumerate(place):
    for x, (right, down) in enumerate(row):
      shown[:, down, right] = image[:, y, x]
  return shown


def pictures(folder, images, names='frame_{}.png', **options):
  """Write pictures under names with their number."""
  folder.mkdir(parents=True, exist_ok=True)
  for t, x in enumerate(images):
    name = names[t] if isinstance(names, list) else names.format(t)
    Image.fromarray(x).save(folder / name, **options)


def actions(path, steps=4):
  """Write actions, of whatever values, beside a film or folder."""
  np.save(path.with_suffix('.npy') if path.suffix == '.mp4' else f'{path}.npy', np.zeros((steps, 1)))
