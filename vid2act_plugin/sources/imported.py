"""An imported recording while it grows."""

import time

import numpy as np

from ..common import progress
from ..common.errors import UserError, printable
from ..common.output import count, say
from . import recording, survey
from .writer import Writer

PAUSE = 2.0  # Seconds between manifests: after every episode, long imports would slow down.


def check(folder, now):
  """Raise a `UserError` if `folder` holds another recording than an import with the options `now`."""
  if not (folder / recording.MANIFEST).exists():
    return
  before = recording.load_manifest(folder).get('imported')
  if not isinstance(before, dict):
    raise UserError(
        f'The folder {folder} holds a recording that was not imported; name another one '
        '(--out or --name).')
  for key, value in now.items():
    if before.get(key) != value:
      raise UserError(
          f'The recording {folder} was imported with {key} = {before.get(key)}, not {value}; '
          'use the former or name another folder (--out or --name).')


class Import(Writer):
  """One recording while it grows; its episodes are known by their names in the data."""

  def __init__(self, folder, head, data, report):
    super().__init__(folder, head, 'name')
    self.data, self.report = data, report  # Bytes.
    self.size = head['imported']['resize']
    self.saved, self.complete = 0.0, False
    if self.earlier:
      self._check_earlier()
      self.size = self.earlier['env'].get('size')
      self.resume()

  def run(self, found, surveyed, wanted):
    """Import episodes until there are `wanted`; returns the manifest."""
    self._check_entries([name for name, _ in found], surveyed.digests)
    done = new = 0
    try:
      with progress.bar('import', min(wanted, len(found)), 'episodes') as bar:
        for name, load in found:
          if done >= wanted:
            break
          if name not in self.entries:
            episode = self._convert(name, load, surveyed.faults.get(name))
            if not episode:
              continue
            self._write(name, episode, surveyed.digests[name])
            new += 1
          done += 1
          bar.set(done)
      self.complete = True
    finally:
      self._save()
    self.report.taken = {k: v['steps'] for k, v in self.entries.items()}
    for sentence in self.report.skipped.values():
      say(f'Skipped: {sentence}')
    if not self.entries:
      raise UserError(
          f"The data in {self.head['imported']['path']} has no episode that can be imported, see "
          'the reasons above; mend it or name other data.' if found else
          f"The data in {self.head['imported']['path']} has no episode; name other data.")
    return self._end(new)

  def _check_earlier(self):
    for key in survey.FACTS:
      was, now = self.earlier.get(key), self.head.get(key)
      if was != now:
        raise UserError(
            f"The data in {self.head['imported']['path']} has changed since {self.folder} was "
            f'imported: {key} was {was} and is {now}; name another folder (--out or --name).')

  def _check_entries(self, names, digests):
    """Raise a `UserError` if the data are no longer those that what is there was made of."""
    gone = self.entries.keys() - names
    other = [k for k, x in self.entries.items() if k in digests and x.get('data', digests[k]) != digests[k]]
    if gone or other:
      what = f'lacks the episode {printable(min(gone))}' if gone else f'has another episode {printable(min(other))}'
      raise UserError(
          f"The data in {self.head['imported']['path']} has changed since {self.folder} was imported: it {what}; "
          'name another folder (--out or --name).')

  def _convert(self, name, load, fault):
    """Return an episode in our format, or None if it is noted as skipped."""
    try:
      if fault:
        raise UserError(fault)
      with np.errstate(over='ignore'):  # What float32 cannot hold is a fault, told below.
        episode = survey.convert(name, load, self.head, self.data, self.size)
      if fault := recording.wrong(episode):
        raise UserError(f'The episode {printable(name)} cannot be recorded: {fault}; mend it or delete it.')
      return episode
    except Exception as e:  # One bad episode costs no other; each library has its own errors.
      self.report.skipped[name] = survey.sentence(name, e)

  def _write(self, name, episode, digest):
    self.begin()
    entry = recording.write_episode(self.folder, self.free(), episode, self.head['behaviour'])
    self.add(dict(entry, name=name, data=digest))
    self.size = list(episode['image'].shape[1:3])
    if time.monotonic() - self.saved > PAUSE:
      self._save()

  def _save(self):
    if not self.entries:
      return
    self.save(
        env=dict(self.head['env'], size=self.size), complete=self.complete,
        skipped=list(self.report.skipped.values()))
    self.saved = time.monotonic()

  def _end(self, new):
    manifest = recording.load_manifest(self.folder)
    entries = manifest['episodes']
    size = sum((self.folder / x['file']).stat().st_size for x in entries) / 1e6
    missing = [x for x in ('reward', 'success') if not manifest[x]]
    say(
        f"{self.folder}{'' if new else ' is complete already'}: {count(len(entries), 'episode')}, "
        f"{count(sum(x['steps'] for x in entries), 'step')}, images of {'x'.join(map(str, self.size))}, "
        f"{count(manifest['act_size'], 'action')}, {size:.1f} MB, {len(self.report.skipped)} skipped"
        + f"; not in all of the data, and so zero: {', '.join(missing)}" * bool(missing))
    self.report.say_end()
    return manifest
