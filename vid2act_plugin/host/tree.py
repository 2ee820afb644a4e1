"""Find, patch, verify and revert a tree of the host, DreamerV3.

`patches/series.yaml` lists the host versions we know: their patches, the files
that we add, and the sha256 of every touched file before and after. A tree is
recognised by these hashes alone, and nothing is written before the bytes of
all files have been computed and checked.
"""

import functools
import hashlib
import importlib.metadata
import importlib.util
import pathlib
import re
import shlex
import site
import subprocess

from ruamel.yaml import YAML

from ..common.errors import UserError
from ..common.files import atomic_write
from ..common.resources import data


@functools.cache
def series():
  """Return `{version: {title, patches, added, files, sdist}}` of `series.yaml`."""
  return YAML(typ='safe').load((data('patches') / 'series.yaml').read_text(encoding='utf-8'))


def find():
  """Return the folder whose `dreamerv3` would be imported, or None."""
  importlib.invalidate_caches()
  spec = importlib.util.find_spec('dreamerv3')
  places = list(spec.submodule_search_locations or []) if spec else []
  return pathlib.Path(places[0]).resolve().parent if places else None


def title():
  """Return the name of the version that would be imported."""
  return series()[identify(find())[0]]['title']


def identify(root):
  """Return `(version, {file: state})` of the version that fits `root` best.

  A state is original, patched, changed (neither of both), missing or, for what
  the version is known to lack, unexpected. A file that we add is original where
  it does not exist.
  """
  found = [(version, states(root, version)) for version in series()]
  return min(found, key=lambda x: len(_wrong(x[1])))


def states(root, version):
  """Return `{file: state}` of every file that `version` touches below `root`."""
  entry, result = series()[version], {}
  for file in entry['added']:
    ours, theirs = digest(_ours(entry, file)), digest(root / file)
    result[file] = {ours: 'patched', None: 'original'}.get(theirs, 'changed')
  for file, hashes in entry['files'].items():
    known = {hashes['before']: 'original', hashes['after']: 'patched', None: 'missing'}
    result[file] = known.get(digest(root / file), 'changed')
  extra = {x: 'unexpected' for x in entry.get('lacks', []) if (root / x).exists()}
  return {**result, **extra}


def patch(root, refresh=False):
  """Patch the tree `root` and return the files written, none where it was done.

  Completes a tree that is partly patched. `refresh` also replaces files of
  ours that were changed. Raises where any other file is not a known one.
  """
  version, found = identify(root)
  entry = series()[version]
  wrong = [x for x in _wrong(found) if not (refresh and x in entry['added'])]
  if wrong:
    _refuse(root, version, found, 'patched')
  todo = [x for x in found if found[x] != 'patched']
  _write(root, {x: _content(root, version, x, 'after') for x in todo})
  return todo


def revert(root):
  """Restore the host's own bytes and return the files restored or removed."""
  version, found = identify(root)
  if _wrong(found):
    _refuse(root, version, found, 'reverted')
  todo = [x for x in reversed(found) if found[x] == 'patched']
  _write(root, {x: _content(root, version, x, 'before') for x in todo})
  return todo


def verify(root):
  """Return one line about the patched host at `root`; raise where it is not."""
  version, found = identify(root)
  wrong = {k: v for k, v in found.items() if v != 'patched'}
  if wrong:
    files = ', '.join(f'{k} ({v})' for k, v in wrong.items())
    raise UserError(
        f'The host in {root} is not the patched {series()[version]["title"]}: '
        f'{files}; {_cure(root, version, found)}.')
  return f'{series()[version]["title"]} in {root}: all {len(found)} files as patched.'


def digest(path):
  """Return the sha256 of the file `path`, or None where there is none."""
  return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def edit(text, diff, file, reverse=False):
  """Return the lines `text` with the hunks of the unified `diff` for `file` applied.

  Hunks apply at their stated positions: the caller knows the hash of the text.
  """
  text, here = list(text), False
  lines = iter(diff.splitlines(keepends=True))
  for line in lines:
    if line.startswith('+++ '):
      here = line[len('+++ b/'):].strip() == file
    elif line.startswith('@@'):
      start, old, begin, new = (int(x or 1) for x in re.match(
          r'@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@', line).groups())
      hunk = []
      while sum(x[0] != '+' for x in hunk) < old or sum(x[0] != '-' for x in hunk) < new:
        hunk.append(next(lines))
      if here:
        olds, news = ([x[1:] for x in hunk if x[0] in signs] for signs in (' -', ' +'))
        if reverse:
          begin, olds, news = start, news, olds
        text[begin - 1: begin - 1 + len(olds)] = news
  return text


def _content(root, version, file, side):
  entry = series()[version]
  if file in entry['added']:
    return _ours(entry, file).read_bytes() if side == 'after' else None
  text = (root / file).read_bytes().decode().splitlines(keepends=True)
  reverse = (side == 'before')
  for name in entry['patches'][::-1] if reverse else entry['patches']:
    text = edit(text, (data('patches') / name).read_text(encoding='utf-8'), file, reverse)
  content = ''.join(text).encode()
  sha256 = hashlib.sha256(content).hexdigest()
  if sha256 != entry['files'][file][side]:  # No assert: it guards the user's files.
    raise RuntimeError(f'series.yaml does not expect {sha256} {side} the patches of {file}')
  return content


def _write(root, contents):
  # Package managers hard-link installed files with their cache, so a file is never
  # edited in place. Each one is either old or new when we are killed in between.
  try:
    for file, content in contents.items():
      path = root / file
      if content is None:
        path.unlink()
        continue
      with atomic_write(path) as part:
        part.write_bytes(content)
        part.chmod(path.stat().st_mode & 0o7777 if path.exists() else 0o644)
  except OSError as e:
    raise UserError(
        f'The file {root / file} cannot be written ({e.strerror}); allow it, and run this again.'
    ) from e


def _ours(entry, file):
  folder, name = entry['added'][file].split('/')
  return data(folder) / name


def _wrong(found):
  return [k for k, v in found.items() if v not in ('original', 'patched')]


def _refuse(root, version, found, done):
  wrong = _wrong(found)
  files = ', '.join(f'{x} ({found[x]})' for x in wrong[:3]) + (', ...' if wrong[3:] else '')
  titles = ' and '.join(x['title'] for x in series().values())
  raise UserError(
      f'The host in {root} ({_label(root)}) cannot be {done}, as none of the known versions '
      f'({titles}) has these files: {files}; nothing was written, and {_cure(root, version, found)}.')


def _label(root):
  for dist in importlib.metadata.distributions(path=[str(root)]):
    if (dist.name or '').lower() in ('dreamer', 'dreamerv3'):
      return f'{dist.name} {dist.version}'
  git = ['git', '-C', str(root), 'rev-parse', '--short', 'HEAD']
  if (root / '.git').exists():
    return f'commit {subprocess.run(git, capture_output=True, text=True).stdout.strip()}'
  return 'of unknown version'


def _cure(root, version, found):
  wrong = _wrong(found)
  if not wrong:
    return f'run `vid2act host patch {root}`'
  if all(x in series()[version]['added'] for x in wrong):
    return f'`vid2act host patch --refresh {root}` puts our own files back'
  if root in packages():
    return 'run `vid2act host build`, which installs the patched host again'
  return f'restore them ({_restored(root, wrong)}), then run `vid2act host patch {root}`'


def packages():
  """Return the folders of installed packages."""
  return [pathlib.Path(x).resolve() for x in (*site.getsitepackages(), site.getusersitepackages())]


def _restored(root, wrong):
  """Return how to restore files of a checkout, without others that the user may have changed."""
  if not (root / '.git').exists():
    return 'from where they came'
  commit, entry = next((k, v) for k, v in series().items() if 'sdist' not in v)
  git = f'`git -C {root} checkout {commit} -- '
  if _head(root).startswith(commit):
    return git + ' '.join(shlex.quote(x) for x in wrong if x not in entry['added']) + '`'
  return f'{git}dreamerv3 embodied`, after you have committed or stashed work of your own there'


def _head(root):
  git = ['git', '-C', str(root), 'rev-parse', 'HEAD']
  return subprocess.run(git, capture_output=True, text=True).stdout.strip()
