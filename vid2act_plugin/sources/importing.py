"""Turn other people's recordings of one task into a recording of ours.

Episodes that are not whole or hold faults are skipped and listed. Images are
resized by averaging areas, and stretched where their shape differs. Actions
beyond [-1, 1] are scaled from the range that they have in all the data.
"""

import json
import os
import pathlib
import time

from ..common import files, lock, progress
from ..common.errors import UserError, reading
from ..common.output import say
from . import formats, recording, survey
from .writer import Writer

PAUSE = 2.0  # Seconds between manifests: after every episode, long imports would slow down.


def run(path, folder, format='', resize=None, repeat=1, limit=0, episodes=0, keys=None):
  """Import the data in `path` as the recording `folder` and return its manifest.

  format: a name in `formats.FORMATS`; empty: the first that knows the data.
  resize: height and width; None: images stay as they are. repeat: how many
  steps become one. limit: steps per episode, before `repeat`; 0: all.
  episodes: how many to have in the end; 0: all. keys: `{ours: theirs}`.
  What is there already is checked and kept, so that an interrupted import
  continues. Raises a `UserError` if nothing can be imported, or if `folder`
  was made from other data or with other options.
  """
  path, folder = map(_resolved, (path, folder))
  options = dict(resize=resize, repeat=repeat, limit=limit, episodes=episodes, key=keys or {})
  _check(path, folder, options)
  format, module = formats.find(path, format)
  found = list(module.episodes(path, {'keys': options['key']}))
  size = _size(path)
  facts, faults = survey.survey(found, size)
  wanted = options.pop('episodes') or len(found)
  head = dict(
      source=folder.name, suite='import', task=folder.name, seed=0, versions={},
      behaviour=dict(policy='imported'), env=dict(repeat=repeat),
      imported=dict(path=str(path), format=format, **options), **facts)
  head = json.loads(json.dumps(head))  # As it reads back: tuples become lists.
  with lock.locked(folder):
    return Import(folder, head, size).run(found, faults, wanted)


def complete(folder):
  """Return whether `folder` holds an import that came to its end."""
  path = pathlib.Path(folder).expanduser()
  return (path / recording.MANIFEST).exists() and bool(
      recording.load_manifest(path).get('complete'))


class Import(Writer):
  """One recording while it grows; its episodes are known by their names in the data."""

  def __init__(self, folder, head, data):
    super().__init__(folder, head, 'name')
    self.data = data  # Bytes.
    self.size = head['imported']['resize']
    self.skipped, self.saved, self.complete = [], 0.0, False
    if self.earlier:
      self._check_earlier()
      self.size = self.earlier['env'].get('size')
      self.resume()

  def run(self, found, faults, wanted):
    """Import episodes until there are `wanted`; returns the manifest."""
    done = new = 0
    try:
      with progress.bar('import', min(wanted, len(found)), 'episodes') as bar:
        for name, load in found:
          if done >= wanted:
            break
          if name not in self.entries:
            episode = self._convert(name, load, faults.get(name))
            if not episode:
              continue
            self._write(name, episode)
            new += 1
          done += 1
          bar.set(done)
      self.complete = True
    finally:
      self._save()
    for sentence in self.skipped:
      say(f'Skipped: {sentence}')
    if not self.entries:
      raise UserError(
          f"The data in {self.head['imported']['path']} has no episode that can be imported, see "
          'the reasons above; mend it or name other data.' if found else
          f"The data in {self.head['imported']['path']} has no episode; name other data.")
    return self._report(new)

  def _check_earlier(self):
    before = self.earlier.get('imported')
    if not isinstance(before, dict):
      raise UserError(
          f'The folder {self.folder} holds a recording that was not imported; name another one '
          '(--out or --name).')
    for key, now in self.head['imported'].items():
      if before.get(key) != now:
        raise UserError(
            f'The recording {self.folder} was imported with {key} = {before.get(key)}, not {now}; '
            'use the former or name another folder (--out or --name).')
    for key in survey.FACTS:
      was, now = self.earlier.get(key), self.head.get(key)
      if was != now:
        raise UserError(
            f"The data in {self.head['imported']['path']} has changed since {self.folder} was "
            f'imported: {key} was {was} and is {now}; name another folder (--out or --name).')

  def _convert(self, name, load, fault):
    """Return an episode in our format, or None if it is noted as skipped."""
    try:
      if fault:
        raise UserError(fault)
      return survey.convert(name, load, self.head, self.data, self.size)
    except Exception as e:  # One bad episode costs no other; each library has its own errors.
      self.skipped.append(survey.sentence(name, e))

  def _write(self, name, episode):
    entry = recording.write_episode(self.folder, self.free(), episode, self.head['behaviour'])
    self.add(dict(entry, name=name))
    self.size = list(episode['image'].shape[1:3])
    if time.monotonic() - self.saved > PAUSE:
      self._save()

  def _save(self):
    if not self.entries:
      return
    self.save(
        env=dict(self.head['env'], size=self.size), skipped=self.skipped, complete=self.complete)
    self.saved = time.monotonic()

  def _report(self, new):
    manifest = recording.load_manifest(self.folder)
    entries = manifest['episodes']
    size = sum((self.folder / x['file']).stat().st_size for x in entries) / 1e6
    missing = [x for x in ('reward', 'success') if not manifest[x]]
    say(
        f"{self.folder}{'' if new else ' is complete already'}: {len(entries)} episodes, "
        f"{sum(x['steps'] for x in entries)} steps, images of {'x'.join(map(str, self.size))}, "
        f"{manifest['act_size']} actions, {size:.1f} MB, {len(self.skipped)} skipped"
        + f"; not in all of the data, and so zero: {', '.join(missing)}" * bool(missing))
    return manifest


def _check(path, folder, options):
  if not path.exists():
    raise UserError(f'There is no {path}; name a file or folder of recordings.')
  if not path.is_dir():
    with reading(f'The data {path}', 'name a file or folder of recordings'):
      files.regular(path)
  if folder == path or path in folder.parents:
    raise UserError(
        f'The recording {folder} would lie in the data {path}; name another folder (--out).')
  if (path / recording.MANIFEST).exists() and _ours(path):
    raise UserError(f'The folder {path} is a recording of ours already; use it as it is.')
  for key, good, cure in (
      ('resize', options['resize'] is None or len(options['resize']) == 2
       and min(options['resize']) > 0, 'give one positive number, or height and width'),
      ('repeat', options['repeat'] > 0, 'give a positive number'),
      ('limit', options['limit'] >= 0, 'give a positive number, or 0 for whole episodes'),
      ('episodes', options['episodes'] >= 0, 'give a positive number, or 0 for all'),
      ('key', set(options['key']) <= set(formats.KEYS) and all(options['key'].values()),
       f"give OURS=THEIRS, where OURS is one of {', '.join(formats.KEYS)}")):
    if not good:
      raise UserError(f'The option --{key} is {options[key]}; {cure}.')


def _resolved(path):
  # Unlike pathlib's, neither raises for a link to itself or a home that is not there.
  return pathlib.Path(os.path.realpath(os.path.expanduser(path)))


def _size(path):
  """Return the bytes of all data in a file or folder."""
  return sum(x.stat().st_size for x in (path, *path.rglob('*')) if x.is_file())


def _ours(path):
  try:
    return bool(recording.load_manifest(path))
  except UserError:
    return False


def add_parser(sub):
  """Add the command `import` to the subparsers `sub`."""
  parser = sub.add_parser(
      'import', help="turn other people's recordings into ours", description=__doc__)
  add = parser.add_argument
  add('path', metavar='PATH', help='a data set, the LOGDIR of a run, a folder of episodes')
  add('--out', required=True, metavar='DIR', help='gets a folder NAME')
  add('--name', default='', help="of the source; default: that of PATH")
  add('--format', default='', help=f"{', '.join(formats.FORMATS)}; default: found out")
  add('--resize', type=int, nargs='+', metavar='N',
      help='pixels: one number, or height and width; other shapes are stretched; default: as they '
      'are, whole episodes of which have to fit into memory')
  add('--repeat', type=int, default=1, metavar='R',
      help='keep every R-th image and the last, with the first of the R actions, the sum of the '
      'rewards and the largest success since the one before; default: %(default)s')
  add('--limit', type=int, default=0, metavar='STEPS',
      help='cut episodes after so many steps, before --repeat; default: no cut')
  add('--episodes', type=int, default=0, metavar='N', help='import so many; default: all')
  add('--key', nargs='+', action='extend', default=[], metavar='OURS=THEIRS',
      help=f"what is called otherwise there; OURS is one of {', '.join(formats.KEYS)}")
  parser.set_defaults(run=main)


def main(args):
  """Run the command line `vid2act import`."""
  path = _resolved(args.path)
  name = args.name or (path.stem if path.is_file() else path.name)
  if name != pathlib.Path(name).name or name == '..':
    raise UserError(f"The option --name is '{name}'; give the name of a folder, not a path.")
  resize = args.resize * 2 if args.resize and len(args.resize) == 1 else args.resize
  keys = dict(x.partition('=')[::2] for x in args.key)
  try:
    run(path, pathlib.Path(args.out) / name, args.format, resize, args.repeat, args.limit,
        args.episodes, keys)
  except KeyboardInterrupt:
    say('Interrupted: complete episodes are kept, the same command continues.')
    raise SystemExit(130) from None
