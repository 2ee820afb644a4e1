"""Files: regular ones alone are read, and all are written atomically.

Names, links and contents may come from others, and a process may be killed at any time.
"""

import contextlib
import errno
import glob
import hashlib
import json
import os
import pathlib
import shutil
import tempfile

from . import lock
from .errors import UserError

DEPTH = 20  # Levels of JSON; what is nested deeper exhausts the stack of whoever prints it.


def regular_file(folder, name):
  """Return the path of the regular file `name` in `folder`.

  Raises an `OSError` if it is not there, no regular file (reading a pipe or a
  device may never end), or a link that leads out of the folder.
  """
  path = pathlib.Path(folder) / name
  if not path.is_file():
    path.stat()
    raise OSError(errno.EINVAL, 'it is no file', str(path))
  if path.resolve().parent != pathlib.Path(folder).resolve():
    raise OSError(errno.EINVAL, f'it is a link to {os.path.realpath(path)}', str(path))
  return path


def parse(folder, name):
  """Return what a JSON file holds; raises an `OSError` as `regular_file` does, or a `ValueError`."""
  content = regular_file(folder, name).read_bytes()
  try:
    value = json.loads(content)
    deep = _deep(value, DEPTH)
  except RecursionError:
    deep = True
  if deep:
    raise ValueError(f'it is nested more than {DEPTH} times')
  json.dumps(value, ensure_ascii=False).encode()  # Half a character could not be printed.
  return value


def sha256(path):
  """Return the hash of a file, read piece by piece."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


@contextlib.contextmanager
def atomic_write(path):
  """Yield where to write a file that in the end is complete, or as it was before."""
  part = path.with_name(f'{path.name}.{os.getpid()}.part')
  try:
    yield part
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(folder, replace=False):
  """Yield a new folder that in the end becomes `folder`, complete or not at all.

  replace: an earlier one is removed; otherwise it is a `UserError`.
  """
  with temporary(folder) as temp:
    made = temp / folder.name
    made.mkdir()
    yield made
    if folder.exists():
      if not replace:
        raise UserError(f'The folder {folder} exists by now; name another one.')
      os.replace(folder, temp / f'{folder.name}.before')
    os.replace(made, folder)


@contextlib.contextmanager
def temporary(folder):
  """Yield a new folder beside `folder`, gone afterwards, as are those of processes that died."""
  folder.parent.mkdir(parents=True, exist_ok=True)
  ends = dict(prefix=f'.{folder.name}-', suffix='.part')
  for path in folder.parent.glob(f"{glob.escape(ends['prefix'])}????????{ends['suffix']}"):
    with _opened(path) as dead:
      if lock.acquire(dead):
        shutil.rmtree(path, ignore_errors=True)
  path = pathlib.Path(tempfile.mkdtemp(dir=folder.parent, **ends))
  with _opened(path) as ours:
    lock.acquire(ours)
    try:
      yield path
    finally:
      shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _opened(folder):
  file = os.open(folder, os.O_RDONLY)
  try:
    yield file
  finally:
    os.close(file)


def _deep(value, left):
  if not isinstance(value, (dict, list)):
    return False
  values = value.values() if isinstance(value, dict) else value
  return not left or any(_deep(x, left - 1) for x in values)
