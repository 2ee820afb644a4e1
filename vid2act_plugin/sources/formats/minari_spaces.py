"""Spaces of Minari data sets, as metadata.json has them or, before version 0.5, as the arrays say.

These versions have all in main_data.hdf5, with episodes as in later ones. What some have of
spaces is not read: the arrays of the first episode say as much.
"""

import typing

import numpy as np

from ...common import files
from ...envs.gymnasium import UNBOUNDED


class Leaf(typing.NamedTuple):
  """A space without others in it; a shape of None is that of anything but a box.

  bounds: low and high of a box, `[A]` each, None where one is so large that it stands for none, or not said.
  """

  kind: str
  dtype: str
  shape: tuple | None
  bounds: tuple | None = None


def flat(spec, path):
  """Yield the leaves of a space as Minari writes it: ('observations/a/b', leaf)."""
  spec = files.loads(spec) if isinstance(spec, str) else spec
  inner = spec.get('subspaces') if spec['type'] in ('Dict', 'Tuple') else None
  if inner is None:
    shape = spec['shape'] if spec['type'] == 'Box' else None
    if shape is not None and not all(type(x) is int and x >= 0 for x in shape):
      raise ValueError(f'the shape of {path} is {shape}')
    yield path, Leaf(
        spec['type'], str(spec.get('dtype')), shape and tuple(shape), _bounds(spec, shape))
    return
  for key, x in inner.items() if isinstance(inner, dict) else enumerate(inner):
    yield from flat(x, f'{path}/{key}')


def _bounds(spec, shape):
  try:
    low, high = (np.array(spec[k], np.float64).reshape(-1) for k in ('low', 'high'))
  except (KeyError, TypeError, ValueError, OverflowError):
    return None
  good = shape and low.size == high.size == np.prod(shape, dtype=float) and (
      (np.abs(low) < UNBOUNDED) & (np.abs(high) < UNBOUNDED) & (low <= high)).all()
  return (low, high) if good else None


def detect(path):
  """Return whether `path` is the HDF5 file of such a data set."""
  try:
    return _early(path)
  except Exception:  # No such file, or not of this kind.
    return False


def metadata(path):
  """Return what metadata.json would hold: `data_format`, `total_episodes` and spaces."""
  import h5py
  with h5py.File(files.regular(path)) as file:
    count = sum(x.startswith('episode_') for x in file)
    first = file['episode_0']
    return dict(data_format='hdf5', total_episodes=count, **{
        f'{k}_space': _space(first[f'{k}s']) for k in ('observation', 'action')})


def _early(path):
  import h5py
  with h5py.File(files.regular(path)) as file:
    names = 'episode_0', 'episode_0/observations', 'episode_0/actions'
    return all(isinstance(file.get(x, getlink=True), h5py.HardLink) for x in names)


def _space(node):
  import h5py
  if isinstance(node, h5py.Group):
    keys = {k.removeprefix('_index_'): node.get(k, getlink=True) for k in node}
    if not all(isinstance(x, h5py.HardLink) for x in keys.values()):
      raise ValueError('it refers to data elsewhere')
    return dict(type='Dict', subspaces={
        k.removeprefix('_index_'): _space(node[k]) for k in node})
  if node.ndim == 1 and node.dtype.kind in 'iu':
    return dict(type='Discrete')
  return dict(type='Box', dtype=str(node.dtype), shape=[*node.shape[1:]])
