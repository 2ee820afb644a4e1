"""The replay of DreamerV3 runs: chunks of steps, each of which names the one that follows.

A chunk is TIME-ID-SUCCESSOR-LENGTH.npz; every worker has a chain of its own,
and episodes go on from one chunk into the next. Actions are taken at the image
of their row. Versions of 2023 write a chunk that is still filled at every
checkpoint, each time as another file with all its room: rows from LENGTH on are
of no step.
"""

import dataclasses
import functools
import pathlib
import re

import numpy as np

from ...common import npz
from ...common.budget import Budget
from ...common.errors import UserError
from .. import frames
from . import Episode, places, theirs, unused

NAME = re.compile(r'(\d{8}T\d{6}F\d+)-(\w+)-(\w+)-(\d+)')
OPTIONAL = ('reward', 'success', 'is_terminal')


@dataclasses.dataclass
class Chunk:
  """One file; `follows` is the id of its successor."""

  path: pathlib.Path
  id: str
  follows: str
  length: int


def detect(path):
  """Return whether `path` or `path`/replay holds chunks."""
  return any(NAME.fullmatch(x.stem) for x in _files(path))


def episodes(path, options):
  """Yield `(name, load)` for every episode, chain by chain, and for what is not a whole one."""
  chunks = {}
  for file in _files(path):
    if match := NAME.fullmatch(file.stem):
      _, key, follows, length = match.groups()
      if key not in chunks or int(length) >= chunks[key].length:
        chunks[key] = Chunk(file, key, follows, int(length))
  heads = chunks.keys() - {x.follows for x in chunks.values()}
  left = dict(chunks)
  for head in [x for x in chunks if x in heads] + list(chunks):  # The rest: those in a circle.
    chain = []
    while head in left:
      chain.append(left.pop(head))
      head = chain[-1].follows
    yield from _cut(chain, options)


def _files(path):
  root = path / 'replay' if (path / 'replay').is_dir() else path
  return sorted(places.below(root, '.npz'), key=lambda x: x.name)


def _cut(chain, options):
  """Yield the episodes of a chain; `parts` are those of the current one, None between two."""
  parts = None
  for chunk in chain:
    try:
      first, last = _flags(chunk, options)
    except UserError as e:
      yield chunk.path.name, functools.partial(_refuse, (
          f'{e} The episodes that it touches are left out.'))
      parts = None
      continue
    if chunk is chain[0] and not first[:1].all():
      yield f'{chunk.path.stem}@0', functools.partial(_refuse, (
          f'The steps at the start of {chunk.path} are of an episode whose start is not there, and '
          'are left out.'))
    begin = 0
    for t in np.flatnonzero(first | last):
      if first[t]:
        if parts is not None:  # Its environment was started anew before its end.
          yield _episode([*parts, (chunk, begin, t)] if t > begin else parts, options)
        parts, begin = [], t
      if last[t] and parts is not None:
        yield _episode([*parts, (chunk, begin, t + 1)], options)
      if last[t]:
        parts, begin = None, t + 1
    if parts is not None:
      parts.append((chunk, begin, chunk.length))
  if parts:
    yield _name(parts), functools.partial(_refuse, (
        f'The episode that begins at step {parts[0][1]} of {parts[0][0].path} is not recorded to '
        'its end and is left out.'))


def _flags(chunk, options):
  have = npz.keys(chunk.path)
  key = lambda ours: theirs(ours, have, options, chunk.path, True)
  first, last = (npz.read(chunk.path, key(x)).astype(bool) for x in ('is_first', 'is_last'))
  if first.ndim != 1 or first.shape != last.shape or len(first) < chunk.length:
    raise UserError(
        f'The file {chunk.path} has {first.shape} steps instead of the {chunk.length} in its name; '
        'copy it again or delete it.')
  return first[:chunk.length], last[:chunk.length]


def _name(parts):
  return f'{parts[0][0].path.stem}@{parts[0][1]}'


def _episode(parts, options):
  return _name(parts), functools.partial(_load, parts, options)


def _load(parts, options):
  have = npz.keys(parts[0][0].path)
  names = {k: theirs(k, have, options, parts[0][0].path, True) for k in ('image', 'action')}
  arrays = {'action': _column(parts, names['action'])}
  if arrays['action'].dtype.kind != 'f':
    raise UserError(
        f"The file {parts[0][0].path} has actions of type {arrays['action'].dtype}, but only "
        'continuous ones can be imported; name them with --key action=THEIRS.')
  # What a policy samples beyond [-1, 1], DreamerV3 clips before its environment sees it.
  arrays['action'] = np.clip(arrays['action'], -1, 1)
  for key in OPTIONAL:
    if name := theirs(key, have, options, parts[0][0].path):
      arrays[key], names[key] = _column(parts, name), name
  left, image = unused(have, names), names['image']
  names['image'] = frames.told(image, npz.shape(parts[0][0].path, image)[1], lambda: _frames(parts, image))
  return Episode(_frames(parts, image), arrays, names=names, left=left)


def _column(parts, key):
  limit = Budget.of(*{x.path for x, _, _ in parts})
  return np.concatenate([npz.read(x.path, key, limit)[start: stop] for x, start, stop in parts])


def _frames(parts, key):
  for chunk, start, stop in parts:
    shape, _ = npz.shape(chunk.path, key)
    if not shape or shape[0] < chunk.length:
      raise UserError(
          f'The file {chunk.path} has images of shape {shape} instead of the {chunk.length} in its '
          'name; copy it again or delete it.')
    yield from npz.rows(chunk.path, key, start, stop)


def _refuse(sentence):
  raise UserError(sentence)
