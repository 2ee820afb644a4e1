"""A recording while it grows: what `vid2act collect` and `vid2act import` have in common."""

import hashlib
import os
import pathlib
import re

from ..common.errors import UserError, printable
from . import recording

BEGUN = '.begun'  # Says of a folder without a manifest that what is in it is ours.
PART = re.compile(rf'\.({recording.NAME.pattern}|{re.escape(recording.MANIFEST)})-\w+\.part')


class Writer:
  """Keeps what is whole of an earlier, interrupted attempt, and the manifest beside the episodes.

  head: the manifest without its episodes. name: field of an episode's entry by
  which the caller knows it. Attributes: `entries`, `{name: entry}`, and
  `earlier`, the manifest that was there, None if there was none. Raises a `UserError` where episodes lie in
  the folder and nothing says that they are ours, as they would be overwritten.
  """

  def __init__(self, folder, head, name='file'):
    self.folder, self.name = pathlib.Path(folder), name
    self.head = {**kept(head), **{k: shown(head[k]) for k in ('source', 'task')}}  # Else it could not be read again.
    self.entries = {}
    for part in self.folder.glob('.*.part'):  # A killed writer's.
      if PART.fullmatch(part.name) and part.is_file():
        part.unlink(missing_ok=True)
    there = (self.folder / recording.MANIFEST).exists()
    self.earlier = recording.load_manifest(self.folder) if there else None
    strange = [] if there or (self.folder / BEGUN).exists() else sorted(
        x.name for x in self.folder.glob('*') if recording.NAME.fullmatch(x.name))
    if strange:
      raise UserError(
          f'The folder {self.folder} holds {strange[0]}, but no {recording.MANIFEST} that says whose it is; copy that '
          'as well, move what is there, or name another folder.')

  def begin(self):
    """Say in the folder that the episodes in it are ours, before the first of them is written."""
    if not self.entries:
      self.folder.mkdir(parents=True, exist_ok=True)
      (self.folder / BEGUN).touch()

  def resume(self):
    """Keep the earlier episodes that are intact; the caller has checked that they belong here."""
    for entry in self.earlier['episodes'] if self.earlier else ():
      try:
        recording.read_episode(self.folder, entry)
      except UserError:
        continue  # Made again.
      self.add(entry)

  def add(self, entry):
    """Note an episode that has been written."""
    self.entries[entry.get(self.name)] = entry

  def free(self):
    """Return the first number that no episode has."""
    taken = {x['file'] for x in self.entries.values()}
    return next(i for i in range(len(taken) + 1) if recording.name(i) not in taken)

  def save(self, **facts):
    """Write the manifest: the head with `facts`, and the episodes in the order of their files."""
    recording.write_manifest(self.folder, {
        **self.head, **facts,
        'episodes': sorted(self.entries.values(), key=lambda x: x['file'])})
    (self.folder / BEGUN).unlink(missing_ok=True)


def differences(before, now, path=''):
  """Yield (path, value before, value now) of what `now` has otherwise than `before`, in dicts within dicts."""
  for key, value in now.items():
    if isinstance(value, dict):
      yield from differences(before.get(key, {}), value, f'{path}{key}.')
    elif before.get(key) != value:
      yield f'{path}{key}', before.get(key), value


def shown(name):
  """Return a name in printable characters; any other gets a hash, for two of these may look alike."""
  plain = printable(name)
  return name if plain == name else f'{plain}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:6]}'


def kept(value):
  """Return a value of JSON with all names in it that are no UTF-8, which JSON has to be, as `shown`."""
  if isinstance(value, dict):
    return {kept(k): kept(v) for k, v in value.items()}
  if isinstance(value, list):
    return [*map(kept, value)]
  return shown(value) if isinstance(value, str) and value.encode(errors='ignore').decode() != value else value
