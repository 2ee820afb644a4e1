"""Pictures of recordings: a contact sheet and a film of some of their episodes.

Axes: T steps, t those of them that are shown, H W image, L `LABEL`, S `SIDE`.
"""

import math

import numpy as np

from ..common import files, progress
from ..common.errors import UserError
from ..common.output import printable, say
from ..sources import recording

SIDE, LABEL = 128, 44  # Pixels: of the square that an image is fitted into, of the text above it.
LONGEST = 200  # Characters of a line of that: no font is small enough for any number of them.
FRAMES = 10  # Of each episode on the sheet.
PAGE, COLUMNS = 12, 4  # Episodes side by side in the film; the next page follows after.
FPS, SECONDS = 20, 20  # The film leaves out frames rather than last longer.


def draw(shown, stem):
  """Write STEM-episodes.png and STEM-episodes.mp4 and return their paths.

  shown: (folder, entry of the manifest, lines of text) of each episode, in
  order. In memory are one episode and the film's frames of one page. Raises a
  `UserError` if a file cannot be read or written.
  """
  sheet, film = (stem.with_name(stem.name + x) for x in ('-episodes.png', '-episodes.mp4'))
  strips = []
  try:
    stem.parent.mkdir(parents=True, exist_ok=True)
    with progress.bar('drawing', len(shown), 'episodes') as bar, files.atomic_write(film) as path:
      _mp4(path, _film(shown, strips, bar))
    with files.atomic_write(sheet) as path:
      _png(path, np.concatenate(strips))
  except OSError as e:
    raise UserError(
        f'The pictures {sheet} and {film} cannot be written ({e.strerror or e}); name another '
        'folder with --out, or leave them out with --no-pictures.') from e
  say(f'Pictures: {sheet} and {film}')
  return [str(sheet), str(film)]


def _film(shown, strips, bar):
  """Yield the frames of all pages; each episode's part of the sheet goes into `strips`."""
  pages = [shown[i: i + PAGE] for i in range(0, len(shown), PAGE)]
  for page in pages:
    longest = max(entry['steps'] for _, entry, _ in page)
    stride = math.ceil(longest / max(1, FPS * SECONDS // len(pages)))
    videos = []
    for folder, entry, lines in page:
      image = recording.read_episode(folder, entry, verify=False)['image']
      strips.append(_strip(image, ', '.join(lines)))
      videos.append(_video(image[::stride], lines))
      bar.advance()
    yield from _grid(videos, len(pages[0]))


def _strip(image, text):
  """Draw evenly spaced frames of `image` `[T, H, W, 3]` uint8 in a row below a line of text."""
  steps = np.linspace(0, len(image) - 1, FRAMES).round().astype(int)
  row = np.concatenate([_fit(image[t]) for t in steps], 1)
  return np.concatenate([_label([text], row.shape[1], LABEL // 2), row])


def _video(image, lines):
  """Return frames `[t, L + S, S, 3]` uint8 of an episode below its lines of text."""
  label = _label(lines, SIDE, LABEL)
  return np.stack([np.concatenate([label, _fit(x)]) for x in image])


def _grid(videos, count):
  """Yield frames of `videos` side by side in a grid for `count`; shorter ones wait."""
  columns = min(count, COLUMNS)
  canvas = np.zeros((math.ceil(count / columns), columns, LABEL + SIDE, SIDE, 3), np.uint8)
  for t in range(max(map(len, videos))):
    for i, video in enumerate(videos):
      canvas[divmod(i, columns)] = video[min(t, len(video) - 1)]
    yield np.concatenate([np.concatenate(x, 1) for x in canvas])


def _fit(image):
  """Fit an image `[H, W, 3]` into the middle of a black square, without smoothing."""
  from PIL import Image, ImageOps
  return np.asarray(ImageOps.pad(Image.fromarray(image), (SIDE, SIDE), Image.Resampling.BOX))


def _label(lines, width, height):
  """Draw lines of text, white on black, small enough for the width -> `[height, width, 3]`."""
  from PIL import Image, ImageDraw, ImageFont
  lines = [printable(x)[:LONGEST] for x in lines]
  image = Image.new('RGB', (width, height))
  widest = max(1, *(ImageFont.load_default(12).getlength(x) for x in lines))
  font = ImageFont.load_default(min(12, 12 * (width - 10) / widest))
  ImageDraw.Draw(image).text((2, 2), '\n'.join(lines), 'white', font, spacing=1)
  return np.asarray(image)


def _mp4(path, frames):
  """Write frames `[H, W, 3]` uint8, of even size, as H.264 that any player shows."""
  import av
  with av.open(str(path), 'w', format='mp4') as file:
    stream = file.add_stream('libx264', rate=FPS, options={'preset': 'veryfast'})
    stream.pix_fmt = 'yuv420p'
    for t, frame in enumerate(frames):
      if not t:
        stream.height, stream.width = frame.shape[:2]
      file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
    file.mux(stream.encode())


def _png(path, image):
  from PIL import Image
  Image.fromarray(image).save(path, format='png')
