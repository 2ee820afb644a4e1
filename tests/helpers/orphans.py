"""Processes whose parent is killed, and whether they go on."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import psutil

TESTS = pathlib.Path(__file__).parents[1]


class Busy:
  """A worker of `parallel.run_jobs` that says who it is and is busy for a minute."""

  def __call__(self, job):
    # One write: unbuffered, print writes the number and the end of the line, and two workers' may mix.
    os.write(1, b'%d\n' % os.getpid())
    until = time.monotonic() + 60
    while time.monotonic() < until:
      pass


def alive(process):
  """Say whether a process goes on; a zombie does not."""
  with contextlib.suppress(psutil.NoSuchProcess):
    return process.status() != psutil.STATUS_ZOMBIE
  return False


def descendants(pid):
  return psutil.Process(pid).children(recursive=True)


def gone(processes, seconds=20):
  """Return whether all of them end within so many seconds; what does not is killed."""
  until = time.monotonic() + seconds
  while any(map(alive, processes)) and time.monotonic() < until:
    time.sleep(0.05)
  left = [x for x in processes if alive(x)]
  for process in left:
    process.kill()
  return not left


def killed(code, *args, lines=1):
  """Run Python code until it has printed so many lines; kill it alone, return what it printed and had started."""
  process = subprocess.Popen(
      [sys.executable, '-c', code, *map(str, args)], stdout=subprocess.PIPE, text=True)
  said = [process.stdout.readline().strip() for _ in range(lines)]
  children = descendants(process.pid)
  process.send_signal(signal.SIGKILL)
  process.wait()
  process.stdout.close()
  return said, children
