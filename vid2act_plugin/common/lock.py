"""One process at a time makes what several need."""

import contextlib
import errno
import fcntl
import os
import pathlib
import socket
import stat
import time

from . import progress
from .errors import A_FILE, UserError, printable

FILE = '.lock'
POLL = 0.5  # Seconds.
GRACE = 2.0  # Seconds that a process which was killed may take to go.


@contextlib.contextmanager
def locked(folder, wait=True):
  """Hold the lock of `folder`, which is made if need be.

  While another process holds it: wait and say for whom, or, unless `wait`, raise
  a `UserError`. The system frees the lock of a process that died. Raises a
  `UserError` if the folder cannot be written.
  """
  folder = pathlib.Path(folder).expanduser()
  try:
    folder.mkdir(parents=True, exist_ok=True)
    file = _opened(folder / FILE, os.O_CREAT)
  except OSError as e:
    cure = A_FILE if e.errno in (errno.EEXIST, errno.ENOTDIR) else 'mend its rights or name another one'
    raise UserError(f'The folder {folder} cannot be written ({e.strerror}); {cure}.') from e
  with file:
    if not wait:
      _take(file, GRACE)
    while not _take(file):
      holder = _holder(file)
      if not wait:
        raise UserError(
            f'The folder {folder} is in use by {holder}; wait for its end, stop it, or name another '
            'folder.')
      with progress.waiting(f'waiting for {holder}, which is at work in {folder}'):
        while _holder(file) == holder and not _take(file):
          time.sleep(POLL)
    try:
      yield
    finally:
      file.truncate(0)  # So that nobody is told to wait for us.


def owner(folder):
  """Return who holds the lock of `folder`, in words; None if nobody does."""
  try:
    with _opened(pathlib.Path(folder) / FILE) as file:
      return None if acquire(file) else _holder(file)
  except (OSError, UserError):  # Whoever needs the folder says why it cannot be had.
    return None


def acquire(file, lockless=True):
  """Take the lock of an open file or folder and return True; False if another process has it.

  lockless: what to return on a file system without locks.
  """
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  except OSError:
    return lockless
  return True


def _opened(path, flags=0):
  """Open a lock, which may have been put there by others, without following or waiting."""
  try:
    number = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | flags, 0o666)
  except OSError:
    if path.is_symlink():
      raise UserError(f'The lock {path} is a link; remove it, or name another folder.') from None
    raise
  if not stat.S_ISREG(os.fstat(number).st_mode):
    os.close(number)
    raise UserError(f'The lock {path} is no regular file; remove it, or name another folder.')
  return open(number, 'r+b', buffering=0)  # Others write it while we read.


def _take(file, seconds=0.0):
  """Take the lock within so many seconds and write who has it now; return whether it was taken."""
  until = time.monotonic() + seconds
  while not acquire(file):
    if time.monotonic() >= until:
      return False
    time.sleep(POLL / 10)
  file.seek(0)
  file.truncate(0)
  file.write(f'process {os.getpid()} on {socket.gethostname()}'.encode())
  return True


def _holder(file):
  file.seek(0)
  return printable(file.read(200).decode(errors='replace').strip()) or 'another process'
