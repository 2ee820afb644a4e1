"""Install the patched host: the command `vid2act host`.

The host is DreamerV3: what PyPI has of it does not run as it is, so it is
patched and built here. A checkout of its repository can be patched instead.
"""

import importlib.metadata
import pathlib
import platform
import site
import subprocess
import sys
import tarfile
import tempfile

from ..common import lifeline
from ..common.errors import UserError
from ..common.output import say
from . import tree as host

BUILT = 'dreamer-3.3.0'
WHY = (
    'It is version 3.3.0: version 3.3.1 has the same code, but its source distribution lacks the '
    'file requirements.txt, without which pip cannot prepare it.')


def build(sdist=None):
  """Build the patched host, install it beside us and return one line about it.

  Does nothing where a patched host is installed. pip downloads the source
  distribution in its hash-checking mode unless `sdist` is the path of one. It
  is patched before it is built, so that no environment ever holds half of it.
  """
  root, entry = host.find(), host.series()[BUILT]
  if root and all(x == 'patched' for x in host.identify(root)[1].values()):
    return f'Nothing to do. {host.verify(root)}'
  _buildable(root)
  with tempfile.TemporaryDirectory(prefix='vid2act-host-') as tmp:
    tree = source(pathlib.Path(tmp), sdist)
    say(f'Building and installing {entry["title"]} ...')
    _pip('install', '--no-index', '--no-deps', '--no-build-isolation', '--force-reinstall', tree)
  return host.verify(host.find() or pathlib.Path(site.getsitepackages()[0]))


def source(folder, sdist=None):
  """Unpack and patch the source distribution in `folder` and return the tree, ready for pip.

  Downloads it unless `sdist` is the path of one. Raises a `UserError` unless its sha256 is known.
  """
  entry = host.series()[BUILT]
  archive = pathlib.Path(sdist) if sdist else _download(entry['sdist'], folder)
  sha256, wanted = host.digest(archive), entry['sdist']['sha256']
  if sha256 != wanted:
    raise UserError(
        f'The file {archive} is not the source distribution of {BUILT}: it '
        f'{f"has the sha256 {sha256}" if sha256 else "does not exist"}, expected is '
        f'{wanted}; download it again, or leave --sdist out.')
  with tarfile.open(archive) as tar:
    # What is in it is known by its hash. Python before 3.11.4, such as Debian 12's, has no filters.
    tar.extractall(folder / 'src', **dict(filter='data') if hasattr(tarfile, 'data_filter') else {})
  tree = folder / 'src' / BUILT
  host.patch(tree)
  # Its manifest would leave configs.yaml out of the package, and its requirements
  # pin CUDA wheels of 2024: what it imports is among our own dependencies.
  (tree / 'MANIFEST.in').write_text(
      'include requirements.txt dreamerv3/configs.yaml\n', encoding='utf-8')
  (tree / 'requirements.txt').write_text('', encoding='utf-8')
  return tree


def status(root):
  """Return a small table: version, path, state of each file, Python and JAX."""
  version, found = host.identify(root)
  try:
    jax = importlib.metadata.version('jax')
  except importlib.metadata.PackageNotFoundError:
    jax = 'not installed'
  rows = dict(host=host.series()[version]['title'], path=root, **found)
  rows.update(python=platform.python_version(), jax=jax)
  width = max(map(len, rows))
  return '\n'.join(f'{k:{width}}  {v}' for k, v in rows.items())


def add_parser(sub):
  """Add the command `vid2act host` to the subparsers `sub`."""
  parser = sub.add_parser(
      'host', help='find, build, patch, verify and revert DreamerV3', description=__doc__)
  actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
  for name, text in dict(
      build='download, patch, build and install the host; does nothing where that is done',
      patch='patch a git checkout or an installed host; a second time changes nothing',
      verify='exit with 0 where the host is patched and complete, else name what differs',
      revert="restore the host's own bytes and remove the files that we added",
      status='show version, path and the state of every touched file').items():
    action = actions.add_parser(
        name, help=text, description=f'{text.capitalize()}. {WHY if name == "build" else ""}')
    if name == 'build':
      action.add_argument(
          '--sdist', metavar='FILE', help='use this source distribution, download nothing')
    else:
      action.add_argument(
          'dir', nargs='?', metavar='DIR',
          help='folder that holds dreamerv3/ and embodied/ (default: the installed host)')
    if name == 'patch':
      action.add_argument(
          '--refresh', action='store_true', help='also replace files of ours that were changed')
  parser.set_defaults(run=main)


def main(args):
  """Run `vid2act host` for parsed arguments and print the outcome."""
  if args.action == 'build':
    say(build(args.sdist))
    return
  root = _root(args.dir)
  if args.action == 'patch':
    files = host.patch(root, args.refresh)
    say(*[f'patched {x}' for x in files] or ['Nothing to do.'], host.verify(root))
  elif args.action == 'revert':
    files = host.revert(root)
    say(*[f'restored {x}' for x in files] or [f'Nothing to do: {root} is as it was.'])
  else:
    say(*dict(verify=host.verify, status=status)[args.action](root).split('\n'))


def _root(folder):
  root = pathlib.Path(folder).resolve() if folder else host.find()
  if not root:
    raise UserError('No host is installed; run `vid2act host build`.')
  if not (root / 'dreamerv3').is_dir() or not (root / 'embodied').is_dir():
    raise UserError(
        f'The folder {root} is no host: it must hold dreamerv3/ and embodied/; '
        f'name a checkout of DreamerV3 or leave DIR out.')
  return root


def _buildable(root):
  if root and root not in host.packages():
    raise UserError(
        f'`import dreamerv3` finds {root}, which is no installed package; '
        f'run `vid2act host patch {root}`, or take it off the Python path.')
  names = {(x.name or '').lower() for x in importlib.metadata.distributions()}
  if 'dreamerv3' in names:
    raise UserError(
        'The package `dreamerv3` from 2023 is installed and would mix with the host; '
        'run `pip uninstall dreamerv3`, then this again.')


def _download(sdist, folder):
  say(f'Downloading {sdist["name"]} {sdist["version"]} ...')
  lock = folder / 'requirements.txt'
  lock.write_text('{name}=={version} --hash=sha256:{sha256}\n'.format(**sdist), encoding='utf-8')
  _pip('download', '--no-deps', '--no-binary', ':all:', '--no-build-isolation',
       '--require-hashes', '-r', lock, '-d', folder)
  return next(folder.glob('*.tar.gz'))


def _pip(*args):
  command = [sys.executable, '-m', 'pip', '--quiet', *map(str, args)]
  result = subprocess.run(lifeline.tied(command), capture_output=True, text=True)
  if result.returncode:
    raise UserError(
        f'`pip {args[0]}` failed while the host was built; mend this and run '
        '`vid2act host build` again:', (result.stderr or result.stdout).strip()[-2000:])
