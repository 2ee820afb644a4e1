"""A recording with inferred actions while it grows, from films or from a recording.

Axes: T images of a clip, A actions.
"""

import dataclasses
import pathlib
import re
import time
from collections.abc import Callable

import numpy as np

from ..common import files, progress
from ..common.errors import UserError, printable
from ..common.images import resized
from ..common.output import count, say
from . import bodies, recording, shots, survey
from .formats import places, video
from .imported import PAUSE
from .writer import Writer, shown

LOOKED = 200  # Images between two signs of progress.
OPTIONS = 'rate', 'repeat', 'resize'
CLIP = re.compile(r'#\d+-\d+$')  # Behind the name of a film.


@dataclasses.dataclass(frozen=True)
class Material:
  """One film or episode that is labelled as a whole.

  clips: function that returns notes about what was decided, and an iterator of
  `(name, arrays)`; arrays `{key: [T, ...]}` are those that a recording has
  besides actions, all but `image` optional. It may raise a `UserError`. Its
  argument is called with the number of each image that is looked at.
  behaviour: of the episode, as a recording has it.
  """

  name: str
  path: pathlib.Path
  clips: Callable
  behaviour: dict | None = None


def of_films(path, size, rate=0, repeat=1, asked=True):
  """Return the `Material` in a folder of films, or of one film, for images of that size.

  asked: whether the rate was asked for; else films that do not have it are read at their own.
  """
  made = []
  say(*places.passed(path))
  for name, x in ((shown(k), v) for k, v in places.films(path).items()):
    made.append(Material(name, x, lambda look, x=x, name=name: _film(name, x, size, rate, repeat, asked, look)))
  return made


def of_recording(folder, manifest):
  """Return the episodes of a recording as `Material`; their own actions are not looked at."""
  def clips(entry):
    episode = recording.read_episode(folder, entry)
    return [], iter([(entry['file'], {
        k: v for k, v in episode.items() if k not in ('action', 'confidence')})])
  return [
      Material(x['file'], folder / x['file'], lambda look, x=x: clips(x), x.get('behaviour'))
      for x in manifest['episodes']]


def _film(name, path, size, rate, repeat, asked, look):
  rate, note = (rate, '') if asked else shots.pace(path, rate)
  images = lambda: (x for i, x in enumerate(shots.images(path, rate, repeat)) if not look(i))
  change = shots.changes(images())
  found = shots.shots(change)
  parts = shots.clips(found)
  notes = [note] * bool(note) + [
      f"{count(len(change), 'image')}, cut at " + (', '.join(str(x) for x in shots.cuts(change)) or 'no image')]
  notes += [f'images {x} left out: {x.why}' for x in found if x.why]
  same = int((change[1:] == 0).sum())
  if 2 * same > len(change):
    notes.append(f'{same} images repeat the one before; a lower --rate takes fewer')
  if path.is_dir() and (strays := video.strays(path)):
    names = ', '.join(printable(x.name) for x in strays)
    notes.append(f'left out, as their names are not like those of the others: {names}')
  if not parts:
    raise UserError(
        f'The film {path} has no shot of {shots.SHORT} images or more in which something moves '
        f"({'; '.join(notes)}); leave it out.")
  clips = shots.read(images(), parts, size)
  return notes, ((f'{name}#{a}-{b - 1}', {'image': x}) for (a, b), x in clips)


class Labels(Writer):
  """One recording with inferred actions; its episodes are known by the names of their clips.

  infer: from images `[T, H, W, 3]` to actions `[T, A]` and confidence `[T]`. size: of an image that
  it is given, `(H, W, 3)`. resize: height and width of those that are written; None: the same. head: as a
  `Writer` has it, with `inferred`: what decides the labels, the same when it is continued.
  """

  def __init__(self, folder, head, infer, size, resize=None):
    super().__init__(folder, head, 'name')
    self.infer, self.size, self.resize, self.material, self.skipped = infer, size, resize, {}, {}
    self.saved, self.complete = time.monotonic(), False
    if self.earlier:
      self._check_earlier()
      self.material = self.earlier.get('material', {})
      self.resume()

  def run(self, material, check=lambda: None):
    """Label what is not labelled yet, one clip at a time; returns the manifest.

    What cannot be read is noted as skipped. check: is called after every clip and image, and may raise; what
    is labelled is kept. Raises a `UserError` where nothing could be labelled, and, before anything is
    labelled or written, where something has changed since it was.
    """
    left = [x for x in material if not self._done(x)]
    try:
      with progress.bar('label', len(material), 'films or episodes') as bar:
        bar.advance(len(material) - len(left))
        for x in left:
          self._take(x, bar, check)
          bar.advance()
      self.complete = True
    finally:
      self._save()
    for sentence in self.skipped.values():
      say(f'Skipped: {sentence}')
    for name in sorted({*self.material} - {x.name for x in material}):
      say(f'Note: there is no {name} any more; what was labelled of it is kept.')
    if not self.entries:
      raise UserError(
          'Nothing could be labelled, see the reasons above; mend the data or name others.'
          if material else 'There are no films and no episodes to label; name another folder.')
    return recording.load_manifest(self.folder)

  def _check_earlier(self):
    before, now = self.earlier['inferred'], self.head['inferred']
    for key in {**before, **now}:  # An option that was not given may have no key.
      was, value = before.get(key), now.get(key)
      if was != value:
        cure = 'use the former' if key not in OPTIONS else f'leave --{key} out' if was is None else (
            f"give --{key} {' '.join(map(str, was if isinstance(was, list) else [was]))}")
        raise UserError(
            f'The recording {self.folder} was labelled with {key} = {was}, not {value}; {cure}, or name another '
            'folder (--out or --name).')

  def _done(self, material):
    """Say whether all of it is labelled; raises a `UserError` if it has changed since."""
    known = self.material.get(material.name, {})
    clips = [k for k in self.entries if k == material.name or CLIP.sub('', k) == material.name]
    before = {*(self.entries[k].get('of') for k in clips), *([known['sha256']] if 'sha256' in known else [])}
    if before and before != {digest(material.path)}:
      raise UserError(
          f'{material.path} has changed since it was labelled in {self.folder}; name another folder '
          '(--out or --name).')
    return bool(known) and all(x in self.entries for x in known.get('clips', ()))

  def _take(self, material, bar, check):
    """Label one film or episode; a fault of it costs no other."""
    names, notes, content = [], [], digest(material.path)
    def look(i):
      if i % LOOKED == 0:
        bar.text(f'{material.name}, image {i}')
      check()
    for name, arrays in self._clips(material, notes, look, check):
      names.append(name)
      if name not in self.entries:
        bar.text(name)
        self._write(name, arrays, content, material.behaviour)
      if time.monotonic() - self.saved > PAUSE:
        self._save()
      check()
    if notes:
      say(f"{material.name}: {'; '.join(notes)}")
    if material.name not in self.skipped:
      self.material[material.name] = dict(sha256=content, clips=names, notes=notes)

  def _clips(self, material, notes, look, check):
    """Yield its clips, and put what was decided into `notes`; what cannot be read is skipped."""
    try:
      said, clips = material.clips(look)
      notes += said
      for name, arrays in clips:
        if list(arrays['image'].shape[1:]) != list(self.size):
          raise UserError(
              f"{material.path} has images of shape {list(arrays['image'].shape[1:])}, and what is "
              f'learned from of {list(self.size)}; record or import both at one size.')
        yield name, arrays
    except Exception as e:  # Each library has errors of its own.
      check()  # What stops the command is no fault of a film.
      self.skipped[material.name] = survey.sentence(material.name, e)

  def _write(self, name, arrays, content, behaviour):
    action, confidence = self.infer(arrays['image'])
    T = len(action)
    flags = {k: np.zeros(T, bool) for k in ('is_first', 'is_last', 'is_terminal')}
    flags['is_first'][0] = flags['is_last'][-1] = True
    zero = {k: np.zeros(T, np.float32) for k in ('reward', 'success')}
    if self.resize:
      arrays = {**arrays, 'image': np.stack([resized(x, self.resize) for x in arrays['image']])}
    episode = {**flags, **zero, **arrays, 'action': action, 'confidence': confidence}
    self.begin()
    entry = recording.write_episode(self.folder, self.free(), episode, behaviour or self.head['behaviour'])
    self.add(dict(
        entry, name=name, of=content, confidence=round(float(confidence[:-1].mean()), 4)))

  def _save(self):
    if self.entries:
      self.save(
          complete=self.complete, material=self.material, skipped=list(self.skipped.values()))
    self.saved = time.monotonic()


def check(folder):
  """Raise a `UserError` if `folder` holds another recording than one that this module writes."""
  if not (folder / recording.MANIFEST).exists():
    return
  found = recording.load_manifest(folder)
  parts = found.get('inferred'), found.get('material', {})
  if not all(isinstance(x, dict) for x in (*parts, *(parts[1] if parts[0] else {}).values())):
    raise UserError(
        f'The folder {folder} holds a recording whose actions were not inferred; name another one '
        '(--out or --name).')


def digest(path):
  """Return the hash of a film, or of the pictures in a folder by their names and hashes.

  It is '' of what cannot be read.
  """
  try:
    if path.is_file():
      return files.sha256(path)
    return recording.digest([[x.name, files.sha256(x)] for x in video.numbered(path)])
  except OSError:
    return ''


def truth(labelled, original, manifest, score):
  """Compare inferred with the true actions, where the recording that was labelled has them.

  score: is given all inferred and all true actions `[N, A]`. Returns what it returns, or None.
  """
  if bodies.inferred(manifest):
    return None
  entries, ours, theirs = {x['name']: x for x in recording.load_manifest(labelled)['episodes']}, [], []
  for entry in manifest['episodes']:
    if entry['file'] in entries:
      ours.append(recording.read_episode(labelled, entries[entry['file']])['action'][:-1])
      theirs.append(recording.read_episode(original, entry)['action'][:-1])
  return score(np.concatenate(ours), np.concatenate(theirs)) if ours else None
