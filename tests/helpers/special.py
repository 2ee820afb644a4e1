"""What is no regular file, and a limit of time for whoever reads it all the same."""

import contextlib
import os
import signal

SPECIAL = {  # A word of what is said of it -> how it is made.
    'pipe': os.mkfifo, 'device': lambda path: os.symlink('/dev/zero', path), 'folder': os.mkdir,
    'symbolic links': lambda path: os.symlink(os.path.basename(path), path)}


@contextlib.contextmanager
def in_time(seconds=20):
  """Raise a `TimeoutError` in what takes longer: it would wait for ever."""
  def late(*_):
    raise TimeoutError
  before = signal.signal(signal.SIGALRM, late)
  signal.alarm(seconds)
  try:
    yield
  finally:
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
