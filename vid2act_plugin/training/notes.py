"""`LOGDIR/notes.jsonl`: load reports and warnings of a run, to be read again after it."""

import contextlib
import json
import pathlib
import time

from ..common import files, output

FILE = 'notes.jsonl'


def keep(logdir):
  """Add what was noted in this process since the last call, as one row `{time, lines}`."""
  lines = [output.NOTED.popleft() for _ in range(len(output.NOTED))]
  if lines:
    row = dict(time=time.strftime('%Y-%m-%d %H:%M:%S'), lines=lines)
    with open(pathlib.Path(str(logdir)).expanduser() / FILE, 'a', encoding='utf-8') as file:
      file.write(json.dumps(row) + '\n')


def read(logdir):
  """Return the rows of a run, none if there are none; what a killed run tore is left out."""
  found = []
  with contextlib.suppress(OSError, ValueError):
    for line in files.lines(files.regular_file(logdir, FILE)):
      with contextlib.suppress(ValueError):
        found.append(files.loads(line))
  return found
