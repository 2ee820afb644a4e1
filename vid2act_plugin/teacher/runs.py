"""Finished DreamerV3 runs on disk: configuration, newest checkpoint and replay."""

import dataclasses
import pathlib
import re

import elements
import numpy as np

from ..common import files, npz, safe_yaml
from ..common.budget import Budget
from ..common.errors import UserError, reading
from ..host import checkpoints, internals
from . import claims
from .bundle import MODEL

PARAMS = ('enc/', 'dyn/')
NEEDED = 'agent.enc.simple', 'agent.dyn.rssm'  # Of a configuration.
KEYS = ('image', 'action', 'is_first', 'is_last')
OTHERS = ('reward', 'is_terminal', 'reset', 'consec', 'stepid', 'episode')  # In a replay, but not encoded.


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
  _continuous(folder, chunks)
  return FinishedRun(
      folder, checkpoint, config, params, updates, files.sha256(checkpoint / 'agent.pkl'), chunks,
      _image(folder, config, params, chunks))


def windows(run, length, steps):
  """Return sequences of a run's replay, at least `steps` steps of the newest, where there are.

  Each is `{key: [t, ...]}` with image uint8, action `[t, act_size]` float32
  clipped to [-1, 1] as recordings have it, is_first, is_last; t is `length`
  or, for a chunk with fewer steps, all of these.
  """
  made, have = [], 0
  for path in reversed(run.chunks):
    if have >= steps:
      break
    chunk = _chunk(run, path)
    have += len(chunk['action'])
    data = {k: chunk[k] for k in KEYS}
    data['action'] = np.clip(data['action'], -1, 1).astype(np.float32)
    size = min(length, len(data['action']))
    for start in range(0, len(data['action']) - size + 1, size):
      made.append({k: v[start: start + size] for k, v in data.items()})
  return made


def _config(path):
  with reading(
      f'The file {path}', 'name the folder that a DreamerV3 run had as its --logdir',
      'is no readable configuration'):
    config = elements.Config(safe_yaml.load(path))
    if not isinstance(config.get('task'), str):
      raise ValueError(f"its task is {config.get('task')!r:.40}")
    if 'agent' not in config or not isinstance(config['agent'], dict):
      raise ValueError('it has no agent')
    missing = [x for x in NEEDED if x not in config or not isinstance(config[x], dict)]
    if missing:
      raise ValueError(f"it has no {', '.join(missing)}")
    fault = claims.fault({k: config.agent[k] for k in MODEL if k in config.agent})
    if fault:
      raise ValueError(f'{fault}, and no model has that')
  return config


def found(config, key):
  """Return the value of a key with dots in a configuration of others, None if it is not there."""
  return config[key] if key in config else None


def _newest(folder):
  """Return the folder of the newest checkpoint."""
  newest = checkpoints.latest(folder)
  if not newest:
    raise UserError(
        f"The run {folder} has no checkpoint, neither {' nor '.join(checkpoints.FOLDERS)} with a "
        "file 'latest'; name a run that has saved one.")
  if not checkpoints.whole(newest):
    raise UserError(
        f"The file {newest.parent / 'latest'} names a checkpoint, but {newest / 'agent.pkl'} is "
        'missing or was not written to the end; copy the run again.')
  return newest


def _params(folder):
  """Return parameters of encoder and RSSM, and how often they were updated."""
  content = checkpoints.read(folder)
  params = {k: v for k, v in content['params'].items() if k.startswith(PARAMS)}
  updates = content['counters']['updates']
  bad = [k for k, v in params.items() if v.dtype.kind == 'c' or not np.isfinite(np.float32(v)).all()]
  if bad or not 0 <= updates < 2 ** 63:
    raise UserError(
        f"The checkpoint {folder / 'agent.pkl'} has values that are not finite in {bad[0]!r:.80}; "
        'name a run before they were.' if bad else
        f"The checkpoint {folder / 'agent.pkl'} counts {updates:.3g} updates; name a run of an agent.")
  return {k: np.asarray(v, np.float32) for k, v in params.items()}, updates


def _images_only(folder, params, chunks):
  """Raise a `UserError` if the run's encoder has another input than `image`."""
  vector = any(re.match(internals.VECTORS, x) for x in params)
  seen = _observations(_shapes(chunks[-1])) if chunks else {}
  others = {k for k, v in seen.items() if k != 'image' and (vector or len(v) == 4)}
  if vector or others:
    names = ', '.join(sorted(others)) or 'a vector (no replay tells its keys)'
    raise UserError(
        f'The encoder of the run {folder} also sees {names}, but a teacher sees the image alone; '
        'train it again on observations without these.')


def _continuous(folder, chunks):
  """Raise a `UserError` if the actions of a run's replay are not one vector of numbers."""
  kinds = {k: npz.shape(chunks[-1], k) for k in npz.keys(chunks[-1]) if k == 'action'} if chunks else {}
  if any(len(shape) != 2 or dtype.kind != 'f' for shape, dtype in kinds.values()):
    raise UserError(
        f"The run {folder} has actions of type {kinds['action'][1]}; a teacher needs a run with one continuous action named "
        "'action'.")


def _observations(shapes):
  return {
      k: v for k, v in shapes.items()
      if k not in (*KEYS[1:], *OTHERS) and not k.startswith(('enc/', 'dyn/', 'dec/', 'log/'))}


def _image(folder, config, params, chunks):
  if chunks:
    shape = _shapes(chunks[-1]).get('image', ())
    if len(shape) == 4 and claims.sizes(*map(int, shape[1:])):
      return tuple(map(int, shape[1:]))
    raise UserError(
        f"The replay of the run {folder} has no key 'image' of shape [T, H, W, C]; a teacher "
        'needs a run from pixels.')
  suite = config.task.split('_')[0]
  size = found(config, f'env.{suite}.size')
  kernel = params.get(internals.IMAGES)
  if not isinstance(size, (list, tuple)) or len(size) != 2 or not claims.sizes(*size) or (
      kernel is None or kernel.ndim != 4):
    raise UserError(
        f'The run {folder} does not tell the size of its images: it has no replay and no key '
        f'env.{suite}.size or no image encoder; copy its replay folder as well.')
  return (*map(int, size), kernel.shape[2])


def _shapes(path):
  """Return the shapes of the arrays in one file of a replay, `{key: (t, ...)}`."""
  try:
    shapes = {k: npz.shape(path, k)[0] for k in npz.keys(path)}
  except UserError as e:
    raise UserError(f'The replay file is damaged: {e}') from e
  lengths = {x[0] if x else 0 for x in shapes.values()}
  if len(lengths) != 1 or 0 in lengths:
    raise UserError(
        f'The replay file {path} is damaged: its arrays have {sorted(lengths)[:9]} steps; copy it '
        'again or delete it.')
  return shapes


def _chunk(run, path):
  """Return what a teacher needs of one file of a replay, `{key: [t, ...]}`."""
  have, limit = _shapes(path), Budget.of(path)
  missing = [k for k in KEYS if k not in have]
  if missing:
    raise UserError(
        f"The replay file {path} has no {', '.join(missing)}, only {', '.join(have)}; a teacher "
        "needs a run from pixels with one continuous action named 'action'.")
  chunk = {k: npz.read(path, k, limit) for k in KEYS}
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
  for key in ('is_first', 'is_last'):
    if chunk[key].dtype != bool or chunk[key].ndim != 1:
      raise UserError(f'The replay file {path} has {key} of type {chunk[key].dtype} and shape '
                      f'{chunk[key].shape} instead of one bool a step; delete it.')
  return chunk
