"""Commands as a user types them, in a process of their own."""

import os
import pathlib
import subprocess
import sys


def guarded(*more):
  """Return the environment of a process in which arrays are read as a GPU lets them be; more: of its PYTHONPATH."""
  paths = pathlib.Path(__file__).parent / 'guard', *more, os.environ.get('PYTHONPATH', '')
  return {**os.environ, 'PYTHONUNBUFFERED': '1', 'PYTHONPATH': os.pathsep.join(str(x) for x in paths if x)}


def command(*args, cwd=None):
  """Run `python -m dreamerv3` and return status and output."""
  done = subprocess.run(
      [sys.executable, '-m', 'dreamerv3', *map(str, args)], stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT, text=True, cwd=cwd, env=guarded())
  return done.returncode, done.stdout
