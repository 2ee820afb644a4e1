"""One process at a time makes what several need, in files and folders that are whole or absent."""

import contextlib
import fcntl
import glob
import os
import pathlib
import shutil
import socket
import tempfile
import time

from . import progress
from .errors import UserError

FILE = '.lock'
POLL = 0.5  # Seconds.


@contextlib.contextmanager
def held(folder, wait=True):
  """Hold the lock of `folder`, which is made if need be.

  While another process holds it: wait and say so, or, unless `wait`, raise a
  `UserError`. The system frees the lock of a process that died. Raises a
  `UserError` if the folder cannot be written.
  """
  folder = pathlib.Path(folder).expanduser()
  try:
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / FILE, 'a+')
  except OSError as e:
    raise UserError(
        f'The folder {folder} cannot be written ({e.strerror}); mend its rights or name another '
        'one.') from e
  with file:
    if not _try(file):
      file.seek(0)
      owner = file.read().strip() or 'another process'
      if not wait:
        raise UserError(
            f'The folder {folder} is in use by {owner}; wait for its end, stop it, or name another '
            'folder.')
      with progress.waiting(f'waiting for {owner}, which is at work in {folder}'):
        while not _try(file):
          time.sleep(POLL)
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}')
    file.flush()
    yield


@contextlib.contextmanager
def whole(path):
  """Yield where to write a file that in the end is complete, or as it was before."""
  part = path.with_name(f'{path.name}.{os.getpid()}.part')
  try:
    yield part
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary(folder):
  """Yield a new folder beside `folder`, gone afterwards, as are those of processes that died."""
  folder.parent.mkdir(parents=True, exist_ok=True)
  ends = dict(prefix=f'.{folder.name}-', suffix='.part')
  for path in folder.parent.glob(f"{glob.escape(ends['prefix'])}????????{ends['suffix']}"):
    with _opened(path) as dead:
      if _try(dead):
        shutil.rmtree(path, ignore_errors=True)
  path = pathlib.Path(tempfile.mkdtemp(dir=folder.parent, **ends))
  with _opened(path) as ours:
    _try(ours)
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


def _try(file):
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  except OSError:  # A file system without locks: as before there were any.
    return True
  return True
