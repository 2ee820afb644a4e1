"""Minari data sets: arrays of episodes in HDF5, Arrow or Parquet files."""

import functools
import io
import math
import pathlib
import re

import numpy as np

from ...common import files, images
from ...common.budget import FEW, Budget
from ...common.errors import UserError, reading
from .. import frames
from . import Episode, asked, columns, lerobot_meta, tables
from . import minari_spaces as spaces
from .minari_writer import write as write  # A part of what a format's module has.

NAMES = {'action': 'actions', 'reward': 'rewards', 'is_terminal': 'terminations'}
SUCCESS = ('infos/success', 'infos/is_success')
CURE = lerobot_meta.CURE
HDF5 = 'main_data.hdf5'


def detect(path):
  """Return whether `path` is the folder of a Minari data set or the `data` in it."""
  return _folder(path) is not None


def episodes(path, options):
  """Yield `(name, load)` of every episode of a Minari data set; see `formats`.

  Of n transitions Minari has n + 1 observations, so T = n + 1: rewards and
  terminations are those received on arriving at the next image. The image is
  the only uint8 `[H, W, 3]` among the observations, else the only one with 1, 3
  or 4 channels first or last, or the one of `--key image=NAME`; success is
  `infos/success` or `infos/is_success`, or that of `--key success=infos/NAME`,
  with n or n + 1 elements. Raises a `UserError` if
  the metadata is not whole or the choice of images is not clear.
  """
  path, keys = _folder(path) or path, options.get('keys', {})
  form, count, space, bounds = _metadata(path)
  image, shape = _camera(path, space, keys.get('image'))
  dtype = space[image].dtype
  for index in range(count):
    yield f'episode {index}', functools.partial(_load, path, form, index, image, shape, dtype, keys, bounds)


def _folder(path):
  places = pathlib.Path(path) / 'data', pathlib.Path(path)
  for folder in places:
    try:
      metadata = files.loads(files.read(folder / 'metadata.json'))
    except (OSError, ValueError):
      continue
    if isinstance(metadata, dict) and 'data_format' in metadata:
      return folder
  return next((
      x for x in places if not (x / 'metadata.json').exists() and spaces.detect(x / HDF5)), None)


def _metadata(path):
  file = path / 'metadata.json'
  with _reading(file):
    metadata = files.loads(files.read(file)) if file.exists() else spaces.metadata(path / HDF5)
    form, count = metadata['data_format'], int(metadata['total_episodes'])
    # Minari itself would make the environment otherwise, and import whatever the file names;
    # and Gymnasium fills arrays of any shape that it is told.
    leaves = [
        dict(spaces.flat(metadata[f'{x}_space'], f'{x}s')) for x in ('observation', 'action')]
    if form not in ('hdf5', 'arrow', 'parquet'):
      raise ValueError(f"its data_format is '{form}'")
    if count > FEW and count > (there := _there(path, form)):
      raise ValueError(f'it claims {count:,} episodes, and there are {there:,}')
  kinds, first = [x.kind for x in leaves[1].values()], next(iter(leaves[1].values()))
  if kinds != ['Box']:
    raise UserError(
        f"The actions in {path} are of the kind {', '.join(kinds)}; choose a data set with actions "
        'of the kind Box.')
  return form, count, leaves[0], first.bounds


def _there(path, form):
  """Return how many episodes there are at most."""
  if form != 'hdf5':
    return sum(1 for _ in path.iterdir())
  with _hdf5(path) as file:
    return len(file)


def _camera(path, space, name):
  cameras = {
      k: v.shape for k, v in space.items()
      if len(v.shape or ()) == 3 and {v.shape[0], v.shape[2]} & {*frames.CHANNELS}}
  plain = [k for k, v in cameras.items() if space[k].dtype == 'uint8' and v[2] == 3] or [*cameras]
  if name is None and len(plain) == 1:
    name, = plain
  for key in (name, f'observations/{name}'):
    if key in cameras:
      return key, cameras[key]
  raise UserError(
      f"The data set {path} has these images: {', '.join(cameras) or 'none'}"
      + (f", and not '{name}'" if name else '')
      + f"; choose one with {asked('image', 'NAME')}." * bool(cameras)
      + '; choose a data set that has some: [H, W, C] or [C, H, W] with C of 1, 3 or 4.'
      * (not cameras))


def _load(path, form, index, image, shape, dtype, keys, bounds):
  with _reading(path, f', episode {index},'):
    leaves = _leaves(path, form, index)
    names = dict(NAMES, **{k: v for k, v in keys.items() if k in (*NAMES, 'success')})
    for name in SUCCESS:
      if name in leaves:
        names.setdefault('success', name)
    for key, name in names.items():
      if name not in leaves:
        raise UserError(
            f"The data set {path} has no '{name}' in episode {index}, but {', '.join(leaves)}; "
            f"choose one of them with {asked(key, 'NAME')}.")

    def read(name):
      value = np.stack(list(_rows(path, form, index, leaves[name])))
      # Outside HDF5 these are filled up to the length of the observations.
      return value[:-1] if form != 'hdf5' and name in NAMES.values() else value

    action = read(actions := names.pop('action')).astype(np.float32)
    T, action = len(action) + 1, action.reshape(len(action), -1)
    arrays = {
        k: _arrived(read(v), bool if k == 'is_terminal' else np.float32, T)
        for k, v in names.items()}
    arrays['action'] = np.concatenate([action, np.zeros_like(action[:1])])
    taken = {'image': image, 'action': actions, **names}
    left = {k: columns.LEFT.get(columns.meaning(k), 'not asked for')
            for k in leaves if k not in taken.values()}
    seen = functools.partial(_images, path, form, index, leaves[image], shape, T)
    taken['image'] = frames.told(image, dtype, seen)
    return Episode(seen(), arrays, None, taken, left, bounds)


def _arrived(value, dtype, T):
  # Of one element per transition or per image.
  value = value.reshape(len(value), -1).astype(dtype)
  if value.shape[1] != 1:
    raise ValueError(f'{value.shape[1]} values in a row instead of one')
  value = value[:, 0]
  if len(value) not in (T - 1, T):
    raise ValueError(f'{len(value)} values at {T} images')
  return np.concatenate([np.zeros(T - len(value), dtype), value])


def _images(path, form, index, leaf, shape, T):
  count = 0
  with _reading(path, f', episode {index},'):
    for row in _rows(path, form, index, leaf):
      if form != 'hdf5' and isinstance(row, np.ndarray):
        row = row.reshape(shape)
      if np.ndim(row) < 3:  # The bytes of a JPEG file.
        row = images.rgb(io.BytesIO(row := bytes(row)), Budget(len(row)))
      count += 1
      yield row
    if count != T:
      raise ValueError(f'{count} images for {T - 1} actions')


def _leaves(path, form, index):
  # Names as those of a space -> names in the file.
  if form != 'hdf5':
    names = _fields(tables.schema(_parts(path, form, index)[0], form))
    return {x: x for x in names}
  import h5py
  with _hdf5(path) as file:
    group, leaves, links = _group(file, index), [], []
    group.visititems_links(lambda _, x: links.append(x))
    group.visititems(lambda k, x: leaves.append((k, x)) if isinstance(x, h5py.Dataset) else None)
    # HDF5 can point to other files, and h5py follows.
    if not all(isinstance(x, h5py.HardLink) for x in links) or any(
        x.external or x.is_virtual for _, x in leaves):
      raise ValueError('it refers to data elsewhere')
    return {k.replace('_index_', ''): k for k, _ in leaves}


def _rows(path, form, index, leaf):
  if form == 'hdf5':
    with _hdf5(path) as file:
      data = _group(file, index)[leaf]
      _claimed(data, path / HDF5)
      for t in range(0, len(data), tables.ROWS):
        yield from data[t: t + tables.ROWS]
    return
  first, *inner = leaf.split('/')
  for part in _parts(path, form, index):
    for batch in tables.batches(part, form, [leaf.replace('/', '.')]):
      column = batch.column(first)
      for name in inner:
        column = column.field(name)
      yield from column.to_numpy(zero_copy_only=False)


def _claimed(data, path):
  """Refuse an HDF5 data set that claims more than what is stored of it can mean."""
  limit = Budget(min(data.id.get_storage_size(), path.stat().st_size))
  for shape in (data.shape, data.chunks or ()):
    limit.fits(math.prod(shape) * data.dtype.itemsize, data.name[:80])


def _hdf5(path):
  import h5py
  return h5py.File(files.regular(path / HDF5))


def _group(file, index):
  import h5py
  name = f'episode_{index}'
  if not isinstance(file.get(name, getlink=True), h5py.HardLink):
    raise ValueError(f'it has no {name}')
  return file[name]


def _parts(path, form, index):
  """Return the files of an episode in Arrow or Parquet."""
  number = lambda x: [int(y) for y in re.findall(r'[0-9]+', x.name)]
  there = [x for x in (path / str(index)).glob(f'*.{form}') if not x.name.startswith('.')]
  found = sorted(there, key=lambda x: (number(x), x.name))
  if not found:
    raise ValueError(f'there is no file *.{form} in {path / str(index)}')
  return found


def _fields(fields, path=''):
  import pyarrow as pa
  for field in fields:
    if pa.types.is_struct(field.type):
      yield from _fields(field.type, f'{path}{field.name}/')
    else:
      yield f'{path}{field.name}'


def _reading(path, where=''):
  return reading(f'The data set {path}{where}', CURE)
