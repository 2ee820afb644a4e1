"""Recordings on disk: one folder per source with a manifest and one file per episode.

Axes: T steps of an episode, the one that begins it included, H W image, A action.
"""

import hashlib
import io
import json
import os
import pathlib
import re
import zipfile

import numpy as np

from ..common import files, npz
from ..common.budget import Budget
from ..common.errors import UserError, reason

FORMAT = 1
MANIFEST = 'manifest.json'
CONVENTION = (
    'action[t] is taken at image[t]; at is_last there is none and it is zero. reward[t] and '
    'success[t] were received on arriving at image[t]. Actions are clipped to [-1, 1].')
NAME = re.compile(r'episode-[0-9]{6}\.npz')  # Of an episode's file.
SPACES = {  # dtype, number of axes after T
    'image': (np.uint8, 3), 'action': (np.float32, 1), 'reward': (np.float32, 0),
    'is_first': (bool, 0), 'is_last': (bool, 0), 'is_terminal': (bool, 0),
    'success': (np.float32, 0)}
OPTIONAL = {'confidence': (np.float32, 0)}  # Of inferred actions, 0 to 1; without it, they are true.
FIELDS = {
    'format': int, 'source': str, 'suite': str, 'task': str, 'behaviour': dict, 'seed': int,
    'env': dict, 'versions': dict, 'act_size': int, 'episodes': list}
EPISODE_FIELDS = {'file': str, 'sha256': str, 'steps': int}
FLAT = 500  # Times their files that episodes may mean: 408 was measured of a plain world of 64x64 pixels.
CURE = 'delete it and collect or import the source again'


def name(index):
  """Return the file name of an episode."""
  return f'episode-{index:06d}.npz'


def write_episode(folder, index, episode, behaviour=None):
  """Write an episode `{key: [T, ...]}` atomically and return its entry for the manifest.

  Raises a `UserError` if keys, shapes, dtypes or values are not those of a recording.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / name(index)
  if fault := wrong(episode):
    raise UserError(f'What was to become {path} is no episode: {fault}; mend the behaviour, environment or data.')
  content = _pack(episode)
  _replace(path, content)
  return {
      'file': path.name, 'sha256': _hash(content), 'steps': len(episode['reward']),
      'return': float(episode['reward'].sum(dtype=np.float64)),
      'success_any': bool(episode['success'].any()),
      'success_last': bool(episode['success'][-1] > 0), 'behaviour': behaviour or {}}


def read_episode(folder, entry, verify=True, limit=None):
  """Read the episode of a manifest's entry, `{key: [T, ...]}`.

  limit: the `Budget` of several that are kept. Raises a `UserError` if the file is missing, damaged, not of the hash in the
  manifest (unless `verify` is off), or not an episode.
  """
  path = pathlib.Path(folder) / entry['file']
  try:
    # Caches of hubs are made of links; these are read, but written only as files of their own.
    file = files.regular(path)
    changed = verify and files.sha256(file) != entry['sha256']
  except OSError as e:
    raise UserError(f'The file {path} cannot be read ({e.strerror}); {CURE}.') from e
  if changed:
    raise UserError(
        f'The file {path} is not the one in its manifest: it was changed or is incomplete; {CURE}.')
  try:
    names = npz.keys(path)
    known, limit = _known(names), limit or Budget.of(path, usual=FLAT)
    episode = {k: npz.read(path, k, limit) if known else None for k in names}
  except UserError as e:
    raise UserError(
        f'The file {path} is no readable .npz file of plain arrays ({reason(e.__cause__)}); '
        f'{CURE}.') from e
  check(episode, path)
  if len(episode['reward']) != entry['steps']:
    raise UserError(
        f"The file {path} has {len(episode['reward'])} steps, but {entry['steps']} in its "
        f'manifest; {CURE}.')
  return episode


def check(episode, path):
  """Raise a `UserError` naming `path` unless `episode` is one whole episode."""
  if fault := wrong(episode):
    raise UserError(f'The file {path} is not an episode: {fault}; {CURE}.')


def write_manifest(folder, manifest):
  """Write a manifest atomically; the convention and the format are added."""
  manifest = {'format': FORMAT, 'convention': CONVENTION, **manifest}
  pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
  _replace(pathlib.Path(folder) / MANIFEST, json.dumps(manifest, indent=1).encode())


def load_manifest(folder):
  """Return the manifest of a recording; raises a `UserError` if there is no valid one."""
  path = pathlib.Path(folder) / MANIFEST
  try:
    manifest = files.parse(folder, MANIFEST, links=True)
  except OSError as e:
    raise UserError(
        f'There is no recording in {folder}: {path} cannot be read ({e.strerror}); make it with '
        '`vid2act collect` or name another folder.') from e
  except ValueError as e:
    raise UserError(f'The file {path} is not valid JSON ({reason(e)}); {CURE}.') from e
  fault = _manifest_fault(manifest)
  if fault:
    raise UserError(f'The file {path} is not a manifest: {fault}; {CURE}.')
  return manifest


def load(folder, verify=True, limit=None):
  """Return manifest and episodes of a recording, all checked; see `read_episode`."""
  manifest = load_manifest(folder)
  limit = limit or budget([folder], [manifest])
  episodes = []
  for entry in manifest['episodes']:
    episodes.append(read_episode(folder, entry, verify, limit))
    same_spaces(episodes[0], episodes[-1], manifest, pathlib.Path(folder) / entry['file'])
  return manifest, episodes


def budget(folders, manifests):
  """Return the `Budget` of all episodes of several recordings."""
  return Budget.of(*[
      pathlib.Path(folder) / x['file'] for folder, manifest in zip(folders, manifests)
      for x in manifest['episodes']], usual=FLAT)


def count(folder):
  """Return the number of episodes of a recording; 0 where there is none yet."""
  folder = pathlib.Path(folder)
  if not (folder / MANIFEST).exists():
    return 0
  return sum((folder / x['file']).is_file() for x in load_manifest(folder)['episodes'])


def content_key(manifests):
  """Return a short hash of what was recorded, for caches: episodes, sources and settings."""
  content = [
      [x['source'], x['env'], [y['sha256'] for y in x['episodes']]] for x in manifests]
  return digest(content)[:16]


def digest(content):
  """Return the hash of a value of JSON."""
  return _hash(json.dumps(content, sort_keys=True).encode())


def _known(names):
  return set(SPACES) <= set(names) <= {*SPACES, *OPTIONAL}


def wrong(episode):
  """Return what keeps arrays from being one whole episode; None: nothing."""
  if not _known(episode):
    return f'it has the keys {sorted(episode)[:20]} instead of {sorted(SPACES)}'
  T = len(episode['image']) if episode['image'].ndim else 0
  for key, value in episode.items():
    dtype, axes = {**SPACES, **OPTIONAL}[key]
    if value.dtype != dtype or value.ndim != axes + 1 or len(value) != T or 0 in value.shape[1:]:
      return (f'{key} is {value.dtype} of shape {value.shape} instead of {np.dtype(dtype)} with '
              f'{T} steps and {axes} more axes')
    if value.dtype == np.float32 and not np.isfinite(value).all():
      return f'{key} has values that are not finite'
  if T < 2 or not episode['is_first'][0] or episode['is_first'][1:].any():
    return 'is_first is not true at its first step alone, or it has fewer than 2 steps'
  if not episode['is_last'][-1] or episode['is_last'][:-1].any():
    return 'is_last is not true at its last step alone'
  if np.abs(episode['action']).max() > 1:
    return 'its actions are not within [-1, 1]'
  if episode['action'][-1].any():
    return 'it has an action at is_last, where none is taken'
  if 'confidence' in episode and not ((0 <= episode['confidence']) & (episode['confidence'] <= 1)).all():
    return 'its confidence is not within 0 and 1'
  if episode['image'].shape[-1] != 3:
    return f"image has {episode['image'].shape[-1]} channels instead of 3"


def _manifest_fault(manifest):
  if not isinstance(manifest, dict):
    return 'it is not a JSON object'
  for key, kind in FIELDS.items():
    value = manifest.get(key)
    if type(value) is not kind or kind is str and not value.isprintable():
      return f"its field '{key}' is missing or no {kind.__name__}"
  if manifest['format'] != FORMAT:
    return f"its format is {manifest['format']}, and this version reads {FORMAT}"
  for entry in manifest['episodes']:
    if not isinstance(entry, dict) or not all(
        type(entry.get(k)) is kind for k, kind in EPISODE_FIELDS.items()):
      return f'an episode lacks one of {", ".join(EPISODE_FIELDS)}'
    if not NAME.fullmatch(entry['file']):  # No path leaves the folder.
      return f"{entry['file']!r} is not the name of an episode"
    if not isinstance(entry.get('behaviour', {}), dict):
      return f"the behaviour of {entry['file']} is no dict"
  if len({x['file'] for x in manifest['episodes']}) != len(manifest['episodes']):
    return 'an episode is listed twice'


def same_spaces(first, episode, manifest, path):
  """Raise a `UserError` naming `path` unless an episode has the spaces of the first one."""
  for key in ('image', 'action'):
    if first[key].shape[1:] != episode[key].shape[1:]:
      raise UserError(
          f'The file {path} has {key} of shape {episode[key].shape[1:]} and others of this source '
          f'have {first[key].shape[1:]}; {CURE}.')
  if episode['action'].shape[1] != manifest['act_size']:
    raise UserError(
        f"The file {path} has {episode['action'].shape[1]} actions, but its manifest says "
        f"{manifest['act_size']}; {CURE}.")


def _pack(episode):
  content = io.BytesIO()
  with zipfile.ZipFile(content, 'w') as archive:
    for key, value in sorted(episode.items()):
      array = io.BytesIO()
      np.lib.format.write_array(array, np.asanyarray(value), allow_pickle=False)
      # Unlike `savez_compressed`, for certain without a date: equal episodes are equal files.
      info = zipfile.ZipInfo(f'{key}.npy')
      archive.writestr(info, array.getvalue(), zipfile.ZIP_DEFLATED)
  return content.getvalue()


def _replace(path, content):
  try:
    with files.atomic_write(path) as part, open(part, 'wb') as f:
      f.write(content)
      f.flush()
      os.fsync(f.fileno())
  except OSError as e:
    raise OSError(e.errno, e.strerror, str(path)) from e  # A full disk names no file.


def _hash(content):
  return hashlib.sha256(content).hexdigest()
