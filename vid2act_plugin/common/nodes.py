"""What Ray's workers run on every node of a `cluster`, and the marks by which nodes know what they share."""

import contextlib
import functools
import os
import pathlib
import secrets
import signal
import time

from . import lifeline, parallel

MARK = '.seen-'


@contextlib.contextmanager
def mark(folder):
  """Put a file into a folder, and return its path as every node has to find it."""
  name, real = f'{MARK}{secrets.token_hex(8)}', pathlib.Path(folder).expanduser()
  real.mkdir(parents=True, exist_ok=True)
  (real / name).touch()
  try:
    yield os.path.join(folder, name)
  finally:
    (real / name).unlink(missing_ok=True)


def missing(paths):
  """Return the first of some paths that is not on this node."""
  return next((x for x in paths if not os.path.exists(os.path.expanduser(x))), None)


def run(name, command, log, needed, here, before):
  """Run a command on this node, and return its status; Ray's cancellation lets it save."""
  # By it Ray cancels a task, and a Ray that a script began in its background ignores it.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  if before:
    return before
  while (wanted := needed(name)) is None:  # It still saves, on a node that was given up, perhaps.
    time.sleep(parallel.POLL)
  if not wanted:
    return 0
  process = parallel.launch(lifeline.shielded(command), log, here['environ'], here['cwd'])
  try:
    while process.poll() is None:
      time.sleep(parallel.POLL)
  finally:
    if process.poll() is None:
      parallel.end([process])
  return process.returncode


def attempt(kind, job):
  """Return (result, error) of a job in this worker, which Ray keeps for the next one."""
  return parallel.attempt(_made(kind), job)


@functools.cache
def _made(kind):
  os.environ.update(parallel.THREADS)
  return kind()
