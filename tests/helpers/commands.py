"""Commands as a user types them, in a process of their own."""

import os
import subprocess
import sys
import time


def command(*args, cwd=None):
  """Run `python -m dreamerv3` and return status, output and the longest silence in seconds."""
  process = subprocess.Popen(
      [sys.executable, '-m', 'dreamerv3', *map(str, args)], stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT, text=True, cwd=cwd, env={**os.environ, 'PYTHONUNBUFFERED': '1'})
  lines, silence, last = [], 0, time.time()
  for line in process.stdout:
    silence, last = max(silence, time.time() - last), time.time()
    lines.append(line)
  return process.wait(), ''.join(lines), silence
