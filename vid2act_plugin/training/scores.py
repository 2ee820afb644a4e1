"""Scores of a run in the host's format for comparing runs.

`LOGDIR/scores/NAME.json.gz` holds a list of `{task, method, seed, xs, ys}`:
xs are env steps, which count action repeat, ys the values there. The files of
many runs are joined by concatenating their lists.
"""

import gzip
import json
import pathlib

import numpy as np

from ..common import files, safe_pickle
from ..common.errors import UserError, reading
from ..common.files import atomic_write
from . import curves

LARGEST = 2 ** 28  # Bytes of a score file, unpacked.
APV_EVERY = 10_000  # Env steps between the points of APV's curves.

METRICS = {
    'score': 'eval/score', 'success_any': 'eval/success_any', 'success_last': 'eval/success_last',
    'length': 'eval/length', 'train_score': 'episode/score'}


def write(config):
  """Write one file per metric that `metrics.jsonl` has, and return their paths."""
  folder, rows = pathlib.Path(config.logdir).expanduser() / 'scores', curves.metrics(config.logdir)
  method = config.agent.typ if config.method == 'name' else config.method
  head, paths = dict(task=config.task, method=method, seed=int(config.seed)), []
  for name, key in METRICS.items():
    xs, ys = points(rows, key)
    if xs:
      paths.append(folder / f'{name}.json.gz')
      save(paths[-1], [dict(**head, xs=xs, ys=ys)])
  return paths


def save(path, rows):
  """Write rows `{task, method, seed, xs, ys}` as one file in the host's format."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with atomic_write(path) as part:
    part.write_bytes(gzip.compress(json.dumps(rows).encode(), mtime=0))


def points(rows, key):
  """Return env steps and values of `key`, both in order of the steps.

  A run that was resumed continued from its last checkpoint: the points after
  that, of the part that was given up, are left out, and of two values at one
  step the later one counts.
  """
  found = {}
  for row in rows:
    found = {x: y for x, y in found.items() if x <= row['step']}
    if key in row:
      found[row['step']] = row[key]
  return [int(x) for x in found], [float(y) for y in found.values()]


def read(paths, metrics=tuple(METRICS)):
  """Return `{metric: rows}` of all score files below the paths, runs or folders of runs.

  A run that is there twice, as in a joined file beside its logdir, counts once,
  where it is longest. Raises a `UserError` for what is no score file, and if two
  runs of one task, method and seed differ.
  """
  found = {}
  for path in paths:
    path = pathlib.Path(path).expanduser()
    files = sorted(path.rglob('*.json.gz')) if path.is_dir() else [path]
    for file in files:
      metric = file.name.removesuffix('.json.gz')
      if metric in metrics:
        for row in load(file):
          _add(found.setdefault(metric, {}), row, file)
  return {k: [row for row, _ in v.values()] for k, v in found.items()}


def load(path):
  """Return the rows `{task, method, seed, xs, ys}` of one file in the host's format."""
  cure = 'it is to be a list of {task, method, seed, xs, ys}, as JSON in gzip'
  with reading(f'The score file {path}', cure):
    for row in (rows := json.loads(_unpacked(path))):
      xs, ys = np.asarray(row['xs'], float), np.asarray(row['ys'], float)
      if not (xs.ndim == 1 and xs.shape == ys.shape and len(xs) and (np.diff(xs) > 0).all()):
        raise ValueError('xs do not grow, or ys are not as many')
      row.update(xs=xs.tolist(), ys=ys.tolist(), task=str(row['task']), method=str(row['method']))
  return rows


def reference(path):
  """Return rows of published curves: a score file, or a pickle of APV's, without executing it.

  APV's hold `{method: {task: [seeds, points]}}` with a point every 10,000 env steps.
  """
  if pathlib.Path(path).suffix == '.gz':
    rows = load(path)
  else:
    cure = "name a score file (.json.gz) or one of APV's data/*.pkl"
    with reading(f'The file {path}', cure, 'holds no curves'):
      rows = [
          dict(task=task, method=method, seed=seed, ys=np.asarray(ys, float).tolist(),
               xs=[APV_EVERY * (i + 1) for i in range(len(ys))])
          for method, tasks in safe_pickle.load(path).items()
          for task, curves in tasks.items() for seed, ys in enumerate(curves)]
  return [{**row, 'task': _ours(row['task'])} for row in rows]


def _unpacked(path):
  with gzip.open(files.regular(path)) as file:
    content = file.read(LARGEST + 1)
  if len(content) > LARGEST:
    raise ValueError(f'it has more than {LARGEST:,} bytes')
  return content


def _ours(task):
  """Return our name of a task: dmc_walker_walk, metaworld_door_lock."""
  suite, _, name = task.partition('_')
  if suite == 'metaworld':
    return f"{suite}_{name.replace('_', '-')}"
  return f'dmcontrol_{name}' if suite == 'dmc' else task


def _add(rows, row, file):
  key = row['task'], row['method'], row.get('seed')
  before, other = rows.get(key, (row, file))
  short, long = sorted((before, row), key=lambda x: len(x['xs']))
  count = len(short['xs'])
  if short['xs'] != long['xs'][:count] or short['ys'] != long['ys'][:count]:
    raise UserError(
        f"{file} and {other} have different runs of the method '{key[1]}' with the seed {key[2]} on "
        f'{key[0]}; leave one out, or name another --method in one of them.')
  rows[key] = long, file
