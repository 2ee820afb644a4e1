"""`LOGDIR/summary.json`: what a run says of itself when it has ended."""

import json
import pathlib

from ..common import files

FILE = 'summary.json'


def write(logdir, content):
  """Write the summary of a run atomically, and return its path."""
  path = pathlib.Path(str(logdir)).expanduser() / FILE
  with files.atomic_write(path) as part:
    part.write_text(json.dumps(content, indent=1), encoding='utf-8')
  return path


def read(logdir):
  """Return the summary of a run; None if there is none that can be read.

  Such a run has not ended, whatever lies there: its command, repeated, writes a
  new one. Of `env_steps` a summary always has the number.
  """
  try:
    content = files.parse(pathlib.Path(logdir), FILE)
  except (OSError, ValueError):
    return None
  known = isinstance(content, dict) and type(content.get('env_steps')) is int
  return content if known else None
