"""Files that others may have made: plain ones, in the folder that they belong to."""

import errno
import hashlib
import json
import os
import pathlib

DEPTH = 20  # Levels of JSON; what is nested deeper exhausts the stack of whoever prints it.


def plain(folder, name):
  """Return the path of the file `name` in `folder`.

  Raises an `OSError` if it is not there, no plain file (reading a pipe or a
  device may never end), or a link that leads out of the folder.
  """
  path = pathlib.Path(folder) / name
  if not path.is_file():
    path.stat()
    raise OSError(errno.EINVAL, 'it is no file', str(path))
  if path.resolve().parent != pathlib.Path(folder).resolve():
    raise OSError(errno.EINVAL, f'it is a link to {os.path.realpath(path)}', str(path))
  return path


def parse(folder, name):
  """Return what a JSON file holds; raises an `OSError` as `plain` does, or a `ValueError`."""
  content = plain(folder, name).read_bytes()
  try:
    value = json.loads(content)
    deep = _deep(value, DEPTH)
  except RecursionError:
    deep = True
  if deep:
    raise ValueError(f'it is nested more than {DEPTH} times')
  json.dumps(value, ensure_ascii=False).encode()  # Half a character could not be printed.
  return value


def sha256(path):
  """Return the hash of a file, read piece by piece."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _deep(value, left):
  if not isinstance(value, (dict, list)):
    return False
  values = value.values() if isinstance(value, dict) else value
  return not left or any(_deep(x, left - 1) for x in values)
