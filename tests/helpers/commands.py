"""Commands as a user types them, in a process of their own."""

import os
import pathlib
import subprocess
import sys
import time


def guarded(*more):
  """Return the environment of a process in which arrays are read as a GPU lets them be; more: of its PYTHONPATH."""
  paths = pathlib.Path(__file__).parent / 'guard', *more, os.environ.get('PYTHONPATH', '')
  return {**os.environ, 'PYTHONUNBUFFERED': '1', 'PYTHONPATH': os.pathsep.join(str(x) for x in paths if x)}


def command(*args, cwd=None):
  """Run `python -m dreamerv3` and return status, output and the longest silence in seconds."""
  process = subprocess.Popen(
      [sys.executable, '-m', 'dreamerv3', *map(str, args)], stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT, text=True, cwd=cwd, env=guarded())
  lines, silence, last = [], 0, time.time()
  for line in process.stdout:
    silence, last = max(silence, time.time() - last), time.time()
    lines.append(line)
  return process.wait(), ''.join(lines), silence
