"""Good inputs as cameras and loggers write them: odd headers, orders, orientations, layouts."""

import fractions
import struct

import numpy as np

from .makers import episode

HEADERS = (  # A table's first lines, and a row of it.
    ('# of a robot\n# action_0, action_1', '{x}, {y}'),
    ('Unnamed: 0,action_0,action_1,done', '{t},{x},{y},False'), ('0,1', '{x},{y}'),
    ('frame,action_x,action_y,Reward', '{back},{x},{y},{t}'), ('action_0;action_1', '{x};{y}'),
    ('timestamp,dx,dy', '{t}.5,{x},{y}'), ('image,action_0,action_1', 'frame_{t}.png,{x},{y}'))


def tables(folder):
  """Write pictures with tables of many forms, and one table for some of them."""
  for i, (head, row) in enumerate(HEADERS):
    made = episode(i)
    pictures(folder / f'ep{i}', made['image'])
    lines = [row.format(x=x, y=y, t=t, back=9 - t) for t, (x, y) in enumerate(made['action'])]
    (folder / f'ep{i}.csv').write_text('\n'.join([head, *lines]))
  for i in (7, 8):
    pictures(folder / f'ep{i}', episode(i)['image'])
  rows = [f'{i}.0,{t},{x},{y}' for i in (7, 8) for t, (x, y) in enumerate(episode(i)['action'])]
  (folder / 'actions.csv').write_text('\n'.join(['episode_index,step,action_0,action_1', *rows]))


def shots(folder):
  """Write pictures turned by EXIF, of 16 bits, named by times or copies, with a stray one."""
  from PIL import Image
  exif = Image.Exif()
  exif[0x0112] = 6
  made = [episode(i) for i in range(4)]
  pictures(folder / 'turned', made[0]['image'], 'f_{}.jpg', exif=exif)
  pictures(folder / 'deep', made[1]['image'][..., 0].astype(np.uint16) * 257)
  pictures(folder / 'times', made[2]['image'], '170000000{}.05.png')
  pictures(folder / 'copies', made[3]['image'], 'shot ({}).png', exif=exif)
  pictures(folder / 'copies', made[3]['image'][:1], 'preview.png')
  for name, x in zip(('turned', 'deep', 'times', 'copies'), made):
    np.save(folder / f'{name}.npy', x['action'])


def films(folder):
  """Write a folder for each episode, with films that are turned, and one with pictures."""
  import av
  for i in range(2):
    made = episode(i, size=32)
    (folder / f'ep{i}').mkdir()
    path = folder / f'ep{i}' / 'video.mp4'
    with av.open(str(path), 'w') as film:
      stream = film.add_stream('libx264', rate=fractions.Fraction(3000 - i, 100))
      stream.height = stream.width = 32
      for x in made['image']:
        film.mux(stream.encode(av.VideoFrame.from_ndarray(x, 'rgb24')))
      film.mux(stream.encode())
    content = bytearray(path.read_bytes())
    at = content.index(b'tkhd') + 44
    content[at: at + 36] = struct.pack('>9i', 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    np.save(folder / f'ep{i}' / 'actions.npy', made['action'])
  made = episode(2, size=32)
  pictures(folder / 'ep2' / 'images', made['image'])
  rows = [f'{t},{x},{y}' for t, (x, y) in enumerate(made['action'])]
  (folder / 'ep2' / 'data.csv').write_text('\n'.join(['frame,action_0,action_1', *rows]))


def arrays(folder):
  """Write episodes of arrays whose images are of other kinds than uint8 `[H, W, 3]`."""
  for i, change in enumerate((
      lambda x: x.transpose(0, 3, 1, 2), lambda x: (x / 255).astype(np.float32),
      lambda x: x[..., 0], lambda x: x.astype(np.uint16) * 257)):
    made = episode(i)
    np.savez_compressed(folder / f'{i}.npz', **{**made, 'image': change(made['image'])})


def pictures(folder, images, name='frame_{}.png', **options):
  from PIL import Image
  folder.mkdir(parents=True, exist_ok=True)
  for t, x in enumerate(images):
    Image.fromarray(x).save(folder / name.format(t), **options)
