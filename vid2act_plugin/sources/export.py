"""Write recordings as data sets of other projects."""

import pathlib

from ..common import files, progress
from ..common.errors import UserError
from ..common.output import say
from . import bodies, formats, recording


def export(folders, form, out):
  """Write the recordings in `folders` as one data set of the format `form` to the folder `out`.

  Images and actions have to be of one size throughout. `out` is either absent
  or complete, also after an interruption. Raises a `UserError` if `out` exists
  or a recording is not whole.
  """
  if form not in formats.WRITTEN:
    raise UserError(f"The format is '{form}'; choose one of {', '.join(formats.WRITTEN)}.")
  out = pathlib.Path(out).expanduser().absolute()
  if out.exists():
    raise UserError(f'The folder {out} exists already; name another one with --out.')
  writer = formats.writer(form)
  with files.atomic_folder(out) as made:
    folders = [pathlib.Path(x).expanduser() for x in folders]
    writer(folders, episodes(folders), made)
  return out


def episodes(folders):
  """Yield `(source, episode)` of every episode, all of one size; `source` counts the folders.

  Shows progress, and says how many episodes begin with a reward or success.
  """
  manifests = [recording.load_manifest(x) for x in folders]
  first, early = None, 0
  with progress.bar('export', sum(len(x['episodes']) for x in manifests), 'episodes') as bar:
    for source, (folder, manifest) in enumerate(zip(folders, manifests)):
      for entry in manifest['episodes']:
        episode = recording.read_episode(folder, entry)
        size = {k: episode[k].shape[1:] for k in ('image', 'action')}
        first = first or size
        if size != first:
          raise UserError(
              f"The file {folder / entry['file']} has images and actions of shape "
              f'{tuple(size.values())}, but those before it of {tuple(first.values())}; export '
              'recordings of different sizes separately.')
        early += bool(episode['reward'][0] or episode['success'][0])
        yield source, episode
        bar.advance()
  if not first:
    raise UserError(f"There are no episodes in {', '.join(map(str, folders))}; record some first.")
  if guessed := [x['source'] for x in manifests if bodies.inferred(x)]:
    say(f"Note: the actions of {', '.join(guessed)} were inferred, and the data set does not say so.")
  if early:
    say(
        f'Note: {early} episodes begin with a reward or success, before any action; LeRobot has no '
        'place for either and Minari none for the reward.')


def add_parser(sub):
  """Add the command `export` to the subparsers `sub`."""
  parser = sub.add_parser(
      'export', help='write recordings as data sets of other projects', description=__doc__)
  add = parser.add_argument
  add('folders', nargs='+', metavar='DIR', help='a recording: the folder of one source')
  add('--format', required=True, metavar='NAME', help=' or '.join(formats.WRITTEN))
  add('--out', required=True, metavar='OUT', help='a folder that does not exist yet')
  parser.set_defaults(run=main)


def main(args):
  """Run the command line `vid2act export`."""
  try:
    out = export(args.folders, args.format, args.out)
  except KeyboardInterrupt:
    say('Interrupted: nothing was written.')
    raise SystemExit(130) from None
  size = sum(x.stat().st_size for x in out.rglob('*') if x.is_file()) / 1e6
  say(f'{out}: {size:.1f} MB')
