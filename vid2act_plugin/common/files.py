"""Files: regular ones alone are read, and all are written atomically.

Names, links and contents may come from others, and a process may be killed at any time.
"""

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import pathlib
import secrets
import shutil

from . import lock
from .errors import UserError

THERE = errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR
FOUND = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # How to open what others may have put there.
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
  """Yield where to write a file that in the end is complete, or as it was before.

  There lies an empty file of ours, under a name that nobody could foresee.
  """
  with _claimed(path, lambda part: part.touch(exist_ok=False)) as part:
    yield part
    os.replace(part, path)


@contextlib.contextmanager
def atomic_folder(folder, replace=False):
  """Yield a new folder that in the end becomes `folder`, complete or not at all.

  replace: an earlier one is removed; otherwise it is a `UserError`.
  """
  with temporary(folder) as temp:
    made = temp / folder.name
    made.mkdir()
    yield made
    while True:
      try:
        os.rename(made, folder)
        break
      except OSError as e:
        if e.errno not in THERE:
          raise
        if not replace:
          raise UserError(f'The folder {folder} exists by now; name another one.') from e
      if _exchange(made, folder):
        break
      with contextlib.suppress(FileNotFoundError):
        os.rename(folder, temp / secrets.token_hex(4))


@contextlib.contextmanager
def temporary(folder):
  """Yield a new folder beside `folder`, gone afterwards, as are those of processes that died."""
  folder.parent.mkdir(parents=True, exist_ok=True)
  with _claimed(folder, lambda part: part.mkdir(0o700)) as part:
    yield part


@contextlib.contextmanager
def _claimed(path, make):
  """Yield a new path beside `path`, locked while we live; what dead processes left is removed."""
  for name in os.listdir(path.parent):
    random = name[len(path.name) + 2: -len('.part')]
    if len(random) == 8 and name == _name(path, random):
      with contextlib.suppress(OSError), _opened(path.with_name(name)) as dead:
        if lock.acquire(dead, lockless=False):
          _remove(path.with_name(name))
  part, ours = _claim(path, make)
  try:
    yield part
  finally:
    _remove(part)
    os.close(ours)


def _name(path, random):
  return f'.{path.name}-{random}.part'


def _claim(path, make):
  while True:
    part = path.with_name(_name(path, secrets.token_hex(4)))
    make(part)
    try:
      ours = os.open(part, FOUND)
    except FileNotFoundError:
      continue
    if lock.acquire(ours) and part.exists():  # Else another process took it for a dead one's.
      return part, ours
    os.close(ours)


@contextlib.contextmanager
def _opened(path):
  file = os.open(path, FOUND)
  try:
    yield file
  finally:
    os.close(file)


def _remove(path):
  if path.is_dir():
    shutil.rmtree(path, ignore_errors=True)
  else:
    path.unlink(missing_ok=True)


def _exchange(one, two):
  """Swap two paths, so that at no moment either is absent; return whether the system can."""
  rename = getattr(ctypes.CDLL(None), 'renameat2', None)
  here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
  return bool(rename) and not rename(here, os.fsencode(one), here, os.fsencode(two), swap)


def _deep(value, left):
  if not isinstance(value, (dict, list)):
    return False
  values = value.values() if isinstance(value, dict) else value
  return not left or any(_deep(x, left - 1) for x in values)
