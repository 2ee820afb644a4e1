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
import stat
import tempfile

from . import lock
from .budget import DEPTH, Budget
from .errors import UserError

TEXT = 2 ** 26  # Bytes of a text that is read as a whole.
KINDS = {
    stat.S_IFDIR: 'a folder', stat.S_IFIFO: 'a pipe', stat.S_IFCHR: 'a device',
    stat.S_IFBLK: 'a device', stat.S_IFSOCK: 'a socket'}


def regular(path):
  """Return `path` if a regular file is there, links followed; otherwise raise an `OSError`.

  Reading a pipe or a device may never end, and may change what it is read from.
  """
  mode = os.stat(path).st_mode
  if not stat.S_ISREG(mode):
    kind = KINDS.get(stat.S_IFMT(mode), 'something else')
    raise OSError(errno.EINVAL, f'it is {kind} and no regular file', str(path))
  return path


def regular_file(folder, name):
  """Return the path of the regular file `name` in `folder`.

  Raises an `OSError` if it is not there, no regular file, or a link that leads
  out of the folder.
  """
  path = regular(pathlib.Path(folder) / name)
  if path.resolve().parent != pathlib.Path(folder).resolve():
    raise OSError(errno.EINVAL, f'it is a link to {os.path.realpath(path)}', str(path))
  return path


def read(path, most=TEXT):
  """Return the bytes of a regular file; more than `most` are a `ValueError`."""
  with open(regular(path), 'rb') as file:
    # Not `most`: Python allocates at once as much as it is asked for.
    content = file.read(min(os.fstat(file.fileno()).st_size, most) + 1)
  if len(content) > most:
    raise ValueError(f'it has more than {most:,} bytes')
  return content


def parse(folder, name):
  """Return what a JSON file holds; raises an `OSError` as `regular_file` does, or a `ValueError`."""
  return loads(read(regular_file(folder, name)))


def loads(content):
  """Return the value of JSON, bytes or text; a `ValueError` if it is none or nested too deep."""
  try:
    value = json.loads(content)
  except RecursionError as e:
    raise ValueError(f'it is nested more than {DEPTH} times') from e
  Budget(len(content)).measure(value)
  json.dumps(value, ensure_ascii=False).encode()  # Half a character could not be printed.
  return value


def lines(path):
  """Yield the lines of a regular file, bytes; one of more than `TEXT` is a `ValueError`."""
  with open(regular(path), 'rb') as file:
    while line := file.readline(TEXT + 1):
      if len(line) > TEXT:
        raise ValueError(f'it has a line of more than {TEXT:,} bytes')
      yield line


def sha256(path):
  """Return the hash of a regular file, read piece by piece."""
  with open(regular(path), 'rb') as file:
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
