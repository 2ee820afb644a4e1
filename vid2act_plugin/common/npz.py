"""Arrays of .npz files, one by one and row by row; no pickles, and never larger than the file.

Axes: N rows of an array, the steps of what was recorded.
"""

import contextlib
import hashlib
import math
import os
import zipfile

import numpy as np

from . import budget, files
from .errors import UserError, reason

DENSEST = 1032  # Deflate makes nothing smaller than by this factor.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def keys(path):
  """Return the names of the arrays in a file."""
  with _archive(path) as archive:
    return [x.removesuffix('.npy') for x in archive.namelist()]


def read(path, key, limit=None):
  """Return a whole array; limit: the `Budget` that it is taken from, default the file's own."""
  with _archive(path) as archive, _open(archive, path, key) as (stream, shape, order, dtype):
    return _array(stream, shape, order, dtype, (limit or budget.Budget.of(path)).take)


def rows(path, key, start=0, stop=None):
  """Yield the rows `start` to `stop` of an array, one in memory at a time.

  The rest is read as well, because the checksum covers the whole array.
  """
  with _archive(path) as archive, _open(archive, path, key) as (stream, shape, order, dtype):
    fits = budget.Budget.of(path).fits
    if order == 'F' and len(shape) > 1:  # Its rows do not lie together.
      yield from _array(stream, shape, order, dtype, fits)[start: stop]
      return
    stop = shape[0] if stop is None else stop
    for i in range(stop):
      row = _array(stream, shape[1:], order, dtype, fits)
      if i >= start:
        yield row
    while stream.read(1 << 20):
      pass


def shape(path, key):
  """Return shape and dtype of an array without reading it."""
  with _archive(path) as archive, _open(archive, path, key) as (_, shape, _, dtype):
    return shape, dtype


@contextlib.contextmanager
def _archive(path):
  try:
    with zipfile.ZipFile(files.regular(path)) as archive:
      yield archive
  except UserError:
    raise
  except Exception as e:  # Zip, zlib and NumPy each raise errors of their own.
    if isinstance(e, budget.TooLarge) or budget.ran_out(e):  # The file is as it should be.
      raise MemoryError(f'{e} while reading {path}'.strip()) from e
    raise UserError(
        f'The file {path} is no readable .npz file of plain arrays ({reason(budget.fault(e))}); '
        'copy it again or delete it.') from budget.fault(e)


@contextlib.contextmanager
def _open(archive, path, key):
  info = archive.getinfo(f'{key}.npy')
  with archive.open(info) as stream:
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
      raise ValueError(f'array format {version} of {key}')
    shape, fortran, dtype = HEADERS[version](stream)
    if dtype.hasobject:
      raise ValueError(f'{key} holds Python objects, which are never loaded')
    size = math.prod(shape) * dtype.itemsize
    # A directory may lie about sizes as well as a header; the bytes on disk do not.
    there = min(info.compress_size, os.path.getsize(path)) * DENSEST
    if info.compress_type not in METHODS or size != info.file_size - stream.tell() or size > there:
      raise ValueError(f'{key} claims {size:,} bytes, which are not there')
    yield stream, shape, 'F' if fortran else 'C', dtype


def _array(stream, shape, order, dtype, ask):
  size = math.prod(shape) * dtype.itemsize
  ask(size, 'an array')
  content = stream.read(size)
  if len(content) < size:
    raise ValueError('an array ends too early')
  return np.frombuffer(content, dtype).reshape(shape, order=order)


def digest(arrays):
  """Return a hash of arrays `{key: array}`."""
  found = hashlib.sha256()
  for key, value in sorted(arrays.items()):
    found.update(f'{key} {value.dtype.str} {value.shape}'.encode() + np.ascontiguousarray(value).tobytes())
  return found.hexdigest()[:16]
