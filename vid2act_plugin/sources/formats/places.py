"""Where films, pictures and tables of episodes lie: side by side, or in a folder for each.

A folder of an episode holds its table and a film, numbered pictures, or a folder of these; of
several of them, each is a camera. Files whose names begin with a dot are of no one.
"""

import collections
import os
import pathlib

from ...common.errors import UserError
from ...common.output import count
from . import naming

VIDEOS = {  # Suffix -> FFmpeg's name.
    '.mp4': 'mp4', '.m4v': 'mp4', '.mov': 'mov', '.gif': 'gif', '.mkv': 'matroska',
    '.webm': 'matroska', '.avi': 'avi'}
PICTURES = ('.png', '.jpg', '.jpeg')
TABLES = ('.csv', '.npy', '.parquet')
SHARED = ('actions.csv', 'actions.parquet')


def sources(path, shared):
  """Return the films and folders of the episodes in `path`, in the order of their names.

  shared: whether the table among them is one of all episodes.
  """
  if path.is_file():
    return [path] if _film(path) else []
  drawn = [] if any(map(_film, visible(path))) else pictures(path)  # Pictures beside films are previews of these.
  found = [
      x for x in naming.natural(visible(path)) if _film(x) or x.is_dir() and (
          pictures(x) or cameras(x) or beside(x) or _called(x))]
  # So is one beside folders, and several are where what has a table is in these.
  if drawn and (not found or len(drawn) > 1 and (beside(path) or not shared and (
      _called(path) or not any(map(table, found))))):
    return [path]
  alone = inside(path) and not shared and not any(beside(x) or inside(x) for x in found)
  return [path] if alone and cameras(path) else found


def films(path):
  """Return `{name: path}` of the films and folders of pictures in `path`, of those in its folders too.

  A name is the path from there. Pictures beside films are previews of these, and so is a single one
  beside folders of films.
  """
  if path.is_file():
    return {path.name: path} if _film(path) else {}
  try:
    there = naming.natural(visible(path))
  except PermissionError:
    return {}
  found = {x.name: x for x in there if _film(x)}
  drawn = [] if found else pictures(path)
  for folder in there:
    if folder.is_dir() and not folder.is_symlink():  # Links may lead in circles.
      found |= {(folder.name if v == folder else f'{folder.name}/{k}'): v for k, v in films(folder).items()}
  if not found:
    return {path.name: path} if drawn else {}
  return {'.': path, **found} if len(drawn) > 1 else found


def passed(path, walk=os.walk):
  """Return as sentences how many files in `path`, and in its folders, are no films, pictures or tables.

  Folders that cannot be read are told by their names, and so are links to folders unless `walk` follows them.
  """
  if not path.is_dir():
    return []
  found = collections.Counter()
  for folder, names, others in walk(path, onerror=lambda e: found.update([f'the folder {e.filename}'])):
    names[:] = [x for x in names if not x.startswith('.')]
    if walk is os.walk:
      found.update(f'the link {os.path.join(folder, x)}' for x in names if os.path.islink(os.path.join(folder, x)))
    found.update(
        suffix or 'without a suffix' for x in others if not x.startswith('.') for suffix in [
            os.path.splitext(x)[1].lower()] if suffix not in (*VIDEOS, *PICTURES, *TABLES))
  return [f'Left out: {what}.' if what.startswith('the ') else f"Left out: {count(number, 'file')} {what}."
          for what, number in sorted(found.items())]


def linked(path, onerror=None):
  """Yield as `os.walk` does, with the folders that links lead to, each folder once.

  What lies in `path` itself comes first. Links to a folder that `path` lies in lead in circles.
  """
  inside, tops, seen = os.path.join(os.path.realpath(path), ''), [str(path)], set()
  while tops:
    links = []
    for top in tops:
      for folder, names, others in os.walk(top, onerror=onerror):
        if (real := os.path.realpath(folder)) in seen:
          names.clear()
          continue
        seen.add(real)
        yield folder, names, others
        links += [x for x in (os.path.join(folder, x) for x in names) if os.path.islink(x)]
    tops = sorted(x for x in links if not inside.startswith(os.path.join(os.path.realpath(x), '')))


def visible(folder):
  """Return what is in a folder, but for what begins with a dot."""
  return [x for x in folder.iterdir() if not x.name.startswith('.')]


def below(folder, suffix):
  """Return the files of a suffix in a folder and in its folders, but for what begins with a dot there."""
  found = []
  for here, names, others in linked(folder):
    names[:] = [x for x in names if not x.startswith('.')]
    found += [pathlib.Path(here, x) for x in (*names, *others) if x.endswith(suffix) and not x.startswith('.')]
  return found


def files(path):
  """Return the regular files in a folder and in its folders, all of them."""
  return [y for here, _, others in linked(path) for y in (pathlib.Path(here, x) for x in others) if y.is_file()]


def pictures(folder):
  """Return the pictures directly in a folder, in no order; one beside a film is its preview."""
  there = visible(folder)
  found = [x for x in there if x.suffix.lower() in PICTURES]
  return [] if len(found) == 1 and any(map(_film, there)) else found


def cameras(folder):
  """Return `{name: path}` of the films and the folders of pictures in an episode's folder."""
  return {
      x.name: x for x in naming.natural(visible(folder)) if _film(x) or x.is_dir() and pictures(x)}


def shown(source, options):
  """Return the film or folder of pictures of an episode.

  Raises a `UserError` if there is none, or if there are several and none is named.
  """
  named = options.get('keys', {}).get('image')
  found = {} if source.is_file() else cameras(source)
  if named is None and (source.is_file() or len(pictures(source)) > bool(found)):  # One beside cameras is a preview.
    return source
  chosen = [v for k, v in found.items() if named in (None, k, naming.text(k))]
  if len(chosen) == 1:
    return chosen[0]
  if not found:
    raise UserError(
        f'The folder {source} has neither a film nor pictures; put them beside its table.'
        if source.is_dir() else
        f"The data in {source} is one film, and has no camera '{named}'; leave out --key image.")
  raise UserError(
      f"The folder {source} has the cameras {', '.join(found)}"
      + f", and not '{named}'" * (named is not None)
      + f'; choose one with --key image={naming.text(next(iter(found)))}.')


def table(source):
  """Return the table of one episode's actions, or None."""
  return beside(source) or (inside(source) if source.is_dir() else None)


def beside(source):
  """Return the table that has the name of a film or folder, or None."""
  name = source.name if source.is_dir() else source.stem
  return _first(source.parent / f'{name}{x}' for x in TABLES)


def inside(folder):
  """Return the table in an episode's folder: one called actions, or the only one; or None."""
  if not folder.is_dir():
    return None
  found = [x for x in naming.natural(visible(folder)) if x.suffix.lower() in TABLES]
  return _called(folder) or (found[0] if len(found) == 1 and found[0].is_file() else None)


def _called(folder):
  return _first(folder / f'{x}{y}' for x in ('actions', 'action') for y in TABLES)


def _film(path):
  return path.suffix.lower() in VIDEOS and not path.is_dir()


def _first(paths):
  return next((x for x in paths if x.is_file()), None)
