"""One process at a time makes what several need."""

import contextlib
import fcntl
import os
import pathlib
import socket
import time

from . import progress
from .errors import UserError

FILE = '.lock'
POLL = 0.5  # Seconds.


@contextlib.contextmanager
def locked(folder, wait=True):
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
    if not acquire(file):
      file.seek(0)
      owner = file.read().strip() or 'another process'
      if not wait:
        raise UserError(
            f'The folder {folder} is in use by {owner}; wait for its end, stop it, or name another '
            'folder.')
      with progress.waiting(f'waiting for {owner}, which is at work in {folder}'):
        while not acquire(file):
          time.sleep(POLL)
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}')
    file.flush()
    yield


def acquire(file):
  """Take the lock of an open file or folder and return True; False if another process has it."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return False
  except OSError:  # A file system without locks: as before there were any.
    return True
  return True
