"""Minari data sets: arrays of episodes in HDF5, Arrow or Parquet files."""

import functools
import importlib.metadata
import io
import json
import pathlib
import re

import numpy as np

from ...common.errors import UserError, reading
from . import Episode

NAMES = {'action': 'actions', 'reward': 'rewards', 'is_terminal': 'terminations'}
SUCCESS = ('infos/success', 'infos/is_success')
CURE = 'download or write the data set again'


def detect(path):
  """Return whether `path` is the folder of a Minari data set or the `data` in it."""
  return _folder(path) is not None


def episodes(path, options):
  """Yield `(name, load)` of every episode of a Minari data set; see `formats`.

  Of n transitions Minari has n + 1 observations, so T = n + 1: rewards and
  terminations are those received on arriving at the next image. The image is
  the only uint8 `[H, W, 3]` among the observations, or the one of `--key
  image=NAME`; success is `infos/success` or `infos/is_success`, or that of
  `--key success=infos/NAME`, with n or n + 1 elements. Raises a `UserError` if
  the metadata is not whole or the choice of images is not clear.
  """
  path, keys = _folder(path) or path, options.get('keys', {})
  form, count, space = _metadata(path)
  image, shape = _camera(path, space, keys.get('image'))
  for index in range(count):
    yield f'episode {index}', functools.partial(_load, path, form, index, image, shape, keys)


def write(folders, episodes, out):
  """Write recordings as one Minari data set, images without loss, into the empty folder `out`.

  The folder's name is the data set's, such as `door-v0`: `minari.load_dataset`
  finds it by this name where MINARI_DATASETS_PATH is the folder above.
  Observations `[T, H, W, 3]` uint8, actions, rewards, terminations and
  truncations `[T - 1]`, `infos/success` `[T]`.
  """
  import gymnasium as gym
  from minari.data_collector import EpisodeBuffer
  from minari.dataset.minari_storage import MinariStorage

  if not re.fullmatch(r'[-\w]+-v\d+', out.name):
    raise UserError(
        f"The folder is called '{out.name}', but it names the Minari data set; end it with a "
        f"version, such as {re.sub('[^-a-zA-Z0-9_]', '-', out.name)}-v0.")
  storage = None
  for _, episode in episodes:
    if not storage:
      storage = MinariStorage.new(
          out / 'data', gym.spaces.Box(0, 255, episode['image'].shape[1:], np.uint8),
          gym.spaces.Box(-1, 1, episode['action'].shape[1:], np.float32), jpeg_encoding=False)
      storage.update_metadata(dict(
          dataset_id=out.name, minari_version=importlib.metadata.version('minari'),
          description=f"Recordings of {', '.join(x.name for x in folders)}"))
    last, terminal = episode['is_last'][1:], episode['is_terminal'][1:]
    storage.update_episodes([EpisodeBuffer(
        observations=episode['image'], actions=episode['action'][:-1],
        rewards=episode['reward'][1:], terminations=terminal, truncations=last & ~terminal,
        infos={'success': episode['success']})])


def _folder(path):
  for folder in (pathlib.Path(path) / 'data', pathlib.Path(path)):
    try:
      metadata = json.loads((folder / 'metadata.json').read_text())
    except (OSError, ValueError):
      continue
    if isinstance(metadata, dict) and 'data_format' in metadata:
      return folder


def _metadata(path):
  from minari.serialization import deserialize_space
  file = path / 'metadata.json'
  with _reading(file):
    metadata = json.loads(file.read_text())
    form, count = metadata['data_format'], int(metadata['total_episodes'])
    # Minari itself would make the environment otherwise, and import whatever the file names.
    spaces = [deserialize_space(metadata[f'{x}_space']) for x in ('observation', 'action')]
    if form not in ('hdf5', 'arrow', 'parquet'):
      raise ValueError(f"its data_format is '{form}'")
  if type(spaces[1]).__name__ != 'Box':
    raise UserError(
        f'The actions in {path} are {spaces[1]}; choose a data set with actions of the kind Box.')
  return form, count, spaces[0]


def _camera(path, space, name):
  cameras = {
      k: v.shape for k, v in _flat(space).items()
      if v.dtype == np.uint8 and len(v.shape) == 3 and v.shape[-1] == 3}
  if name is None and len(cameras) == 1:
    name, = cameras
  for key in (name, f'observations/{name}'):
    if key in cameras:
      return key, cameras[key]
  raise UserError(
      f"The data set {path} has these images: {', '.join(cameras) or 'none'}"
      + (f", and not '{name}'" if name else '')
      + '; choose one with --key image=NAME.' * bool(cameras)
      + '; choose a data set with uint8 images [H, W, 3].' * (not cameras))


def _load(path, form, index, image, shape, keys):
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
            f'choose one of them with --key {key}=NAME.')

    def read(name):
      value = np.stack(list(_rows(path, form, index, leaves[name])))
      # Outside HDF5 these are filled up to the length of the observations.
      return value[:-1] if form != 'hdf5' and name in NAMES.values() else value

    action = read(names.pop('action')).astype(np.float32)
    T, action = len(action) + 1, action.reshape(len(action), -1)
    arrays = {
        k: _arrived(read(v), bool if k == 'is_terminal' else np.float32, T)
        for k, v in names.items()}
    arrays['action'] = np.concatenate([action, np.zeros_like(action[:1])])
    return Episode(_images(path, form, index, leaves[image], shape, T), arrays)


def _arrived(value, dtype, T):
  # Of one element per transition or per image.
  value = value.reshape(len(value), -1)[:, 0].astype(dtype)
  if len(value) not in (T - 1, T):
    raise ValueError(f'{len(value)} values at {T} images')
  return np.concatenate([np.zeros(T - len(value), dtype), value])


def _images(path, form, index, leaf, shape, T):
  from PIL import Image
  count = 0
  with _reading(path, f', episode {index},'):
    for row in _rows(path, form, index, leaf):
      if form != 'hdf5' and isinstance(row, np.ndarray):
        row = row.reshape(shape)
      if np.ndim(row) < 3:  # The bytes of a JPEG file.
        with Image.open(io.BytesIO(bytes(row))) as picture:
          row = np.asarray(picture.convert('RGB'))
      count += 1
      yield row
    if count != T:
      raise ValueError(f'{count} images for {T - 1} actions')


def _leaves(path, form, index):
  # Names as those of a space -> names in the file.
  if form != 'hdf5':
    names = _fields(_arrow(path, form, index).schema)
    return {x: x for x in names}
  import h5py
  with h5py.File(path / 'main_data.hdf5') as file:
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
    import h5py
    with h5py.File(path / 'main_data.hdf5') as file:
      data = _group(file, index)[leaf]
      for t in range(0, len(data), 16):
        yield from data[t: t + 16]
    return
  import pyarrow.dataset as ds
  for batch in _arrow(path, form, index).scanner(
      columns={'row': ds.field(*leaf.split('/'))}, batch_size=16, batch_readahead=1).to_batches():
    yield from batch.column(0).to_numpy(zero_copy_only=False)


def _group(file, index):
  import h5py
  name = f'episode_{index}'
  if not isinstance(file.get(name, getlink=True), h5py.HardLink):
    raise ValueError(f'it has no {name}')
  return file[name]


def _arrow(path, form, index):
  import pyarrow.dataset as ds
  return ds.dataset(
      path / str(index), format=form, partitioning=None,
      ignore_prefixes=['_', '.', 'metadata.json'])


def _fields(fields, path=''):
  import pyarrow as pa
  for field in fields:
    if pa.types.is_struct(field.type):
      yield from _fields(field.type, f'{path}{field.name}/')
    else:
      yield f'{path}{field.name}'


def _flat(space, path='observations'):
  # Dicts and tuples of leaves as {'observations/a/b': leaf, 'observations/c/0': leaf}.
  inner = getattr(space, 'spaces', None)
  if inner is None:
    return {path: space}
  items = inner.items() if hasattr(inner, 'items') else enumerate(inner)
  return {k: v for key, x in items for k, v in _flat(x, f'{path}/{key}').items()}


def _reading(path, where=''):
  return reading(f'The data set {path}{where}', CURE)
