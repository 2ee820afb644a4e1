"""Finished DreamerV3 runs on disk: configuration, newest checkpoint and replay."""

import dataclasses
import pathlib
import re
import zipfile
import zlib

import elements
import numpy as np
from ruamel.yaml.error import YAMLError

from ..common import files
from ..common.errors import UserError, reason
from ..host import checkpoints, internals

PARAMS = ('enc/', 'dyn/')
KEYS = ('image', 'action', 'is_first', 'is_last')
OTHERS = ('reward', 'is_terminal', 'reset', 'consec', 'stepid')  # In a replay, but not encoded.


@dataclasses.dataclass
class FinishedRun:
  """What a run's folder holds of its world model.

  config: the whole configuration. params: `{name: array}` of encoder and RSSM.
  updates: how often the agent was updated. digest: sha256 of the checkpoint.
  chunks: the replay's files, oldest first. image: shape of one image.
  """

  folder: pathlib.Path
  checkpoint: pathlib.Path
  config: elements.Config
  params: dict
  updates: int
  digest: str
  chunks: list
  image: tuple

  @property
  def act_size(self):
    """Return the number of actions that the RSSM knows."""
    kernel = self.params.get(f'{internals.ACTIONS}/kernel')
    return kernel.shape[0] if kernel is not None and kernel.ndim == 2 else 1

  @property
  def suite(self):
    return self.config.task.split('_')[0]


def read(folder):
  """Read the run in `folder`; a `UserError` names the file that is missing or wrong."""
  folder = pathlib.Path(folder).expanduser()
  config = _config(folder / 'config.yaml')
  checkpoint = _newest(folder)
  params, updates = _params(checkpoint)
  chunks = sorted((folder / 'replay').rglob('*.npz'), key=lambda x: x.name)
  _images_only(folder, params, chunks)
  return FinishedRun(
      folder, checkpoint, config, params, updates, files.sha256(checkpoint / 'agent.pkl'), chunks,
      _image(folder, config, params, chunks))


def windows(run, length, steps):
  """Return sequences of a run's replay, at least `steps` steps of the newest, where there are.

  Each is `{key: [t, ...]}` with image uint8, action `[t, act_size]` float32
  clipped to [-1, 1] as recordings have it, is_first, is_last; t is `length`
  or, for a chunk with fewer steps, all of these.
  """
  found, have = [], 0
  for path in reversed(run.chunks):
    if have >= steps:
      break
    chunk = _chunk(path)
    _check(run, path, chunk)
    have += len(chunk['action'])
    data = {k: chunk[k] for k in KEYS}
    data['action'] = np.clip(data['action'], -1, 1).astype(np.float32)
    size = min(length, len(data['action']))
    for start in range(0, len(data['action']) - size + 1, size):
      found.append({k: v[start: start + size] for k, v in data.items()})
  return found


def _config(path):
  try:
    config = elements.Config.load(path)
    config.task, config.agent.enc.simple, config.agent.dyn.rssm  # noqa: B018
  except (OSError, YAMLError, UnicodeDecodeError, ValueError, TypeError) as e:
    raise UserError(
        f'The file {path} is no readable configuration ({reason(e)}); name '
        'the folder that a DreamerV3 run had as its --logdir.') from e
  except (AttributeError, KeyError) as e:
    raise UserError(
        f'The file {path} has no key {_line(e)}; only runs of DreamerV3 with task, '
        'agent.enc.simple and agent.dyn.rssm can be teachers.') from e
  return config


def _newest(folder):
  """Return the folder of the newest checkpoint."""
  found = checkpoints.latest(folder)
  if not found:
    raise UserError(
        f"The run {folder} has no checkpoint, neither {' nor '.join(checkpoints.FOLDERS)} with a "
        "file 'latest'; name a run that has saved one.")
  if not checkpoints.whole(found):
    raise UserError(
        f"The file {found.parent / 'latest'} names a checkpoint, but {found / 'agent.pkl'} is "
        'missing or was not written to the end; copy the run again.')
  return found


def _params(folder):
  """Return parameters of encoder and RSSM, and how often they were updated."""
  content = checkpoints.read(folder)
  params = {k: v for k, v in content['params'].items() if k.startswith(PARAMS)}
  return {k: np.asarray(v, np.float32) for k, v in params.items()}, content['counters']['updates']


def _images_only(folder, params, chunks):
  """Raise a `UserError` if the run's encoder has another input than `image`."""
  vector = any(re.match(internals.VECTORS, x) for x in params)
  seen = _observations(_chunk(chunks[-1])) if chunks else {}
  others = {k for k, v in seen.items() if k != 'image' and (vector or v.ndim == 4)}
  if vector or others:
    names = ', '.join(sorted(others)) or 'a vector (no replay tells its keys)'
    raise UserError(
        f'The encoder of the run {folder} also sees {names}, but a teacher sees the image alone; '
        'train it again on observations without these.')


def _observations(chunk):
  return {
      k: v for k, v in chunk.items()
      if k not in (*KEYS[1:], *OTHERS) and not k.startswith(('enc/', 'dyn/', 'dec/', 'log/'))}


def _image(folder, config, params, chunks):
  if chunks:
    chunk = _chunk(chunks[-1])
    if 'image' in chunk and chunk['image'].ndim == 4:
      return tuple(map(int, chunk['image'].shape[1:]))
    raise UserError(
        f"The replay of the run {folder} has no key 'image' of shape [T, H, W, C]; a teacher "
        'needs a run from pixels.')
  suite = config.task.split('_')[0]
  size = config.env.get(suite, {}).get('size') if 'env' in config else None
  kernel = params.get(internals.IMAGES)
  if not size or kernel is None or kernel.ndim != 4:
    raise UserError(
        f'The run {folder} does not tell the size of its images: it has no replay and no key '
        f'env.{suite}.size or no image encoder; copy its replay folder as well.')
  return (*map(int, size), kernel.shape[2])


def _chunk(path):
  """Return one file of a replay, `{key: [t, ...]}`."""
  try:
    with np.load(path, allow_pickle=False) as data:
      chunk = {k: data[k] for k in data.files}
    lengths = {len(v) for v in chunk.values()}
  except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as e:
    raise UserError(
        f'The replay file {path} is damaged ({reason(e)}); copy it again or '
        'delete it.') from e
  if len(lengths) != 1 or 0 in lengths:
    raise UserError(
        f'The replay file {path} is damaged: its arrays have {sorted(lengths)} steps; copy it '
        'again or delete it.')
  return chunk


def _check(run, path, chunk):
  missing = [k for k in KEYS if k not in chunk]
  if missing:
    raise UserError(
        f"The replay file {path} has no {', '.join(missing)}, only {', '.join(chunk)}; a teacher "
        "needs a run from pixels with one continuous action named 'action'.")
  action, image = chunk['action'], chunk['image']
  if action.dtype.kind != 'f' or action.shape[1:] != (run.act_size,):
    raise UserError(
        f'The replay file {path} has actions of type {action.dtype} and shape '
        f'{list(action.shape[1:])}, but the checkpoint has {run.act_size} continuous ones; copy '
        'checkpoint and replay of one run.')
  if image.dtype != np.uint8 or image.shape[1:] != run.image or not np.isfinite(action).all():
    raise UserError(
        f'The replay file {path} has images of shape {list(image.shape[1:])} instead of '
        f'{list(run.image)}, or actions that are not finite; delete it.')


def _line(error):
  return ' '.join(str(error).split())[:200]
