"""Turn other people's recordings of one task into a recording of ours.

Episodes that are not whole or hold faults are skipped and listed. Images are
resized by averaging areas, and stretched where their shape differs. Bounds of
actions that the data tell, or that `--key bounds` gives, become -1 and 1. Where
there are none, actions beyond [-1, 1] are scaled by their range in the episodes
that are taken, and those of DreamerV3 clipped. Printed are the
columns and cameras that became what, those that were left and why, and at last
how many episodes and steps were taken and left. The status is 0; 3 if more than
half of the episodes or steps were left out for their faults; 1 if nothing could
be imported.
"""

import json
import os
import pathlib

from ..common import files, lock
from ..common.errors import UserError, reading
from ..common.output import document, say
from . import formats, imported, recording, survey
from .formats import places
from .report import PARTIAL, Report
from .writer import kept


def run(path, folder, format='', resize=None, repeat=1, limit=0, episodes=0, keys=None,
        report=None, tasks=()):
  """Import the data in `path` as the recording `folder` and return its manifest.

  format: a name in `formats.FORMATS`; empty: the first that knows the data.
  resize: height and width; None: images stay as they are. repeat: how many
  steps become one. limit: steps per episode, before `repeat`; 0: all.
  episodes: how many to have in the end; 0: all. keys: `{ours: theirs}`; reward
  or success that is '' is left out. report: a `Report` to be filled in, also
  where an error is raised. tasks: those to take of the data's, see `--task`.
  What is there already is checked and kept, so that an interrupted import
  continues. Raises a `UserError` if nothing can be imported, or if `folder`
  was made from other data or with other options.
  """
  path, folder = map(files.resolved, (path, folder))
  options = dict(resize=resize, repeat=repeat, limit=limit, episodes=episodes, key=keys or {},
                 task=list(tasks) or None)
  _check(path, folder, options)
  format, found = formats.episodes(path, format, options['key'], tasks)
  found = [(kept(name), load) for name, load in found]
  wanted, given = options.pop('episodes'), dict(path=str(path), format=format, **options)
  with lock.locked(folder):  # What refuses the folder does so before all data are read.
    imported.check(folder, kept(json.loads(json.dumps(given))))  # As it reads back: tuples become lists.
    return _import(path, folder, found, given, wanted, Report() if report is None else report)


def _import(path, folder, found, given, wanted, report):
  if given['format'] == 'video':
    say(*places.passed(path, places.linked))
  size = _size(path)
  surveyed = survey.survey(found, size)
  found = [x for x in found if x[0] not in surveyed.unasked]
  vars(report).update(
      data=str(path), folder=str(folder), format=given['format'], columns=surveyed.columns,
      steps=surveyed.steps, found=[x[0] for x in found], limit=given['limit'],
      unasked=len(surveyed.unasked))
  report.say_columns()
  head = dict(
      source=folder.name, suite='import', task=folder.name, seed=0, versions={},
      behaviour=dict(policy='imported'), env=dict(repeat=given['repeat']), columns=surveyed.columns,
      imported=given, **surveyed.facts)
  head = json.loads(json.dumps(head))  # As it reads back: tuples become lists.
  return imported.Import(folder, head, size, report).run(found, surveyed, wanted or len(found))


def complete(folder):
  """Return whether `folder` holds an import that came to its end."""
  path = pathlib.Path(folder).expanduser()
  return (path / recording.MANIFEST).exists() and bool(
      recording.load_manifest(path).get('complete'))


def check(path, format='', keys=None, tasks=()):
  """Raise a `UserError` if `run` could not begin with this choice; the metadata alone is read."""
  _none_within(path)
  for _ in formats.episodes(path, format, keys or {}, tasks)[1]:
    return


def _check(path, folder, options):
  if not path.exists():
    raise UserError(f'There is no {path}; name a file or folder of recordings.')
  if not path.is_dir():
    with reading(f'The data {path}', 'name a file or folder of recordings'):
      files.regular(path)
  apart(path, folder)
  if ours(path):
    raise UserError(f'The folder {path} is a recording of ours already; use it as it is.')
  _none_within(path)
  squared(options['resize'])
  for key, good, cure in (
      ('repeat', options['repeat'] > 0, 'give a positive number'),
      ('limit', options['limit'] >= 0, 'give a positive number, or 0 for whole episodes'),
      ('episodes', options['episodes'] >= 0, 'give a positive number, or 0 for all'),
      ('key', formats.understood(options['key']), formats.CURE)):
    if not good:
      raise UserError(f'The option --{key} is {options[key]}; {cure}.')


def apart(path, folder):
  """Raise a `UserError` if a recording in `folder` would lie in the data `path`, or around it, both without links."""
  if folder in (path, *path.parents) or path in folder.parents:
    raise UserError(
        f'The recording {folder} would lie in the data {path}, or around it; name another folder (--out).')


def _none_within(path):
  if found := sorted(x for x, _, names in places.linked(path) if recording.MANIFEST in names and ours(x)):
    raise UserError(
        f"The folder {path} holds recordings of ours already: {', '.join(os.path.relpath(x, path) for x in found[:5])}"
        f"{' and others' * (len(found) > 5)}; name these, as they are.")


def named(path, name):
  """Return the name of the source that data become; '': that of the data."""
  name = name or (path.stem if path.is_file() else path.name)
  if name != pathlib.Path(name).name or name == '..':
    raise UserError(f"The option --name is '{name}'; give the name of a folder, not a path.")
  return name


def squared(size):
  """Return height and width of one number or two, as of the option --resize; None: None."""
  if size is not None and not (len(size) in (1, 2) and min(size) > 0):
    raise UserError(f'The option --resize is {size}; give one positive number, or height and width.')
  return size * 2 if size and len(size) == 1 else size


def _size(path):
  """Return the bytes of all data in a file or folder."""
  return sum(x.stat().st_size for x in places.files(path) or [path])


def ours(path):
  """Say whether a folder is a recording of ours."""
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
      help=f"what is called otherwise there; OURS is one of {', '.join(formats.KEYS)}; "
      "without THEIRS, reward or success are left out and so zero; bounds=LOW:HIGH, "
      'or of each action LOW:HIGH,LOW:HIGH,..., becomes -1 and 1')
  add('--task', nargs='+', action='extend', default=[], metavar='TASK',
      help='of a LeRobot data set of several: number, name, or pattern such as \'open*\'; several '
      "become one source")
  add('--json', action='store_true', help='one JSON object with the same facts, and the rest aside')
  parser.set_defaults(run=main)


def main(args):
  """Run the command line `vid2act import`; the status is in its description."""
  path = files.resolved(args.path)
  name, resize = named(path, args.name), squared(args.resize)
  keys = dict(x.partition('=')[::2] for x in args.key)
  if len(keys) < len(args.key):
    raise UserError(f"The option --key is {' '.join(args.key)}; give each of ours once.")
  report, manifest, error = Report(), {}, None
  try:
    manifest = run(
        path, pathlib.Path(args.out) / name, args.format, resize, args.repeat, args.limit,
        args.episodes, keys, report, args.task)
  except KeyboardInterrupt:
    say('Interrupted: complete episodes are kept, the same command continues.')
    raise SystemExit(130) from None
  except UserError as e:
    error = e
  if args.json and report.found:
    document(report.machine(manifest))
  if error:
    raise error
  if report.partial:
    raise SystemExit(PARTIAL)
