"""The replay of a run on disk, one file per chunk, and what is missing of it."""

import contextlib
import io
import math
import pathlib
import re

from ..common.errors import UserError
from ..common.output import note

NAME = re.compile(r'([0-9A-Za-z]+-){3}[0-9]{1,9}\.npz')  # Time, itself, the next one, steps.


class Chunks:
  """A replay whose checkpoint names its chunks, so that what was lost since is noticed.

  The run goes on with what is there, as the host's does, but says what is not.
  """

  def __init__(self, replay):
    self.replay, self.folder = replay, pathlib.Path(str(replay.directory))

  def save(self):
    """Save the replay, and return the names of its chunks."""
    self.replay.save()
    return sorted(x.filename for x in list(self.replay.chunks.values()) if x.length)

  def load(self, names):
    """Load the replay; names: those that its checkpoint has, None if it is of an earlier version.

    Raises a `UserError` for a file in its folder that is no chunk.
    """
    found = {x.name for x in self.folder.glob('*.npz')}
    for name in sorted(found):
      if not NAME.fullmatch(name):
        raise UserError(
            f'The file {self.folder / name} is no chunk of a replay; move it to another folder.')
    with contextlib.redirect_stdout(io.StringIO()):  # The host's traceback for each that is damaged.
      self.replay.load()
    self._check()
    self._note('are missing', set(names or ()) - found)
    self._note('cannot be read', self._wanted(found) - {
        x.filename for x in self.replay.chunks.values()})

  def _note(self, what, names):
    if names:
      steps = sum(int(x.removesuffix('.npz').rpartition('-')[2]) for x in names)
      note(f'Note: {len(names)} files of the replay {self.folder} {what}, the first one {min(names)}; '
           f'the run goes on without their {steps:,} steps.')

  def _wanted(self, found):
    """Return the files that the replay has room for; it loads the newest ones."""
    if len(self.replay) < (self.replay.capacity or math.inf):
      return found
    oldest = min(x.filename for x in self.replay.chunks.values())
    return {x for x in found if x > oldest}

  def _check(self):
    for chunk in self.replay.chunks.values():
      if any(len(x) != chunk.length for x in (chunk.data or {}).values()):
        raise UserError(
            f'The file {self.folder / chunk.filename} has not the number of steps that its name '
            'says; move it to another folder.')
