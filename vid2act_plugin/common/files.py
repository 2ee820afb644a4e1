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
import stat

from . import lock
from .budget import DEPTH, Budget
from .errors import UserError

THERE = errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR
FOUND = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # How to open what others may have put there.
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


def resolved(path):
  """Return a path of the user's without links, but for that of a file, which names it rightly.

  In caches of hubs what files link to is named by its hash. Unlike pathlib's, nothing is raised
  for a link to itself or a home that is not there.
  """
  path = os.path.abspath(os.path.expanduser(path))
  if os.path.isfile(path):
    return pathlib.Path(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
  return pathlib.Path(os.path.realpath(path))


def read(path, most=TEXT):
  """Return the bytes of a regular file; more than `most` are a `ValueError`."""
  with open(regular(path), 'rb') as file:
    # Not `most`: Python allocates at once as much as it is asked for.
    content = file.read(min(os.fstat(file.fileno()).st_size, most) + 1)
  if len(content) > most:
    raise ValueError(f'it has more than {most:,} bytes')
  return content


def parse(folder, name, links=False):
  """Return what a JSON file holds; raises an `OSError` as `regular_file` does, or a `ValueError`.

  links: those that lead out of the folder are followed, as `regular` does.
  """
  return loads(read(pathlib.Path(folder) / name if links else regular_file(folder, name)))


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
  """Yield where to write a file that in the end is complete, or as it was before.

  There lies an empty file of ours, under a name that nobody could foresee.
  """
  with _claimed(path, lambda part: part.touch(exist_ok=False)) as part:
    yield part
    os.replace(part, path)


@contextlib.contextmanager
def atomic_folder(folder, replace=()):
  """Yield a new folder that in the end becomes `folder`, complete or not at all.

  replace: an earlier one that holds only files of these names is removed, see `replaceable`; any other
  is a `UserError`.
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
        replaceable(folder, replace)
      if _exchange(made, folder):
        break
      with contextlib.suppress(FileNotFoundError):
        os.rename(folder, temp / secrets.token_hex(4))


def replaceable(folder, names):
  """Raise a `UserError` if a folder that is to be written anew holds anything but files of these names."""
  try:
    other = sorted({*os.listdir(folder)} - {*names})
  except FileNotFoundError:
    return
  except NotADirectoryError:
    raise UserError(f'{folder} is a file; name a folder.') from None
  if other:
    raise UserError(
        f'The folder {folder} is to be written anew, but holds {other[0]!r}, which would be lost; name another one.')


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
      ours = os.open(part, _found(part))
    except FileNotFoundError:
      continue
    if lock.acquire(ours) and part.exists():  # Else another process took it for a dead one's.
      return part, ours
    os.close(ours)


@contextlib.contextmanager
def _opened(path):
  file = os.open(path, _found(path))
  try:
    yield file
  finally:
    os.close(file)


def _found(path):
  return FOUND | os.O_RDWR if path.is_file() else FOUND  # On NFS who locks has to be able to write; so folders have none.


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
