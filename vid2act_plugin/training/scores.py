"""Scores of a run in the host's format for comparing runs.

`LOGDIR/scores/NAME.json.gz` holds a list of `{task, method, seed, xs, ys}`:
xs are env steps, which count action repeat, ys the values there. The files of
many runs are joined by concatenating their lists.
"""

import functools
import gzip
import json
import pathlib
import re

import numpy as np

from ..common import safe_pickle
from ..common.errors import UserError, reading, reason
from ..common.files import atomic_write
from ..common.output import note, printable
from . import curves, upstream

LARGEST = 2 ** 27  # Bytes of a score file, unpacked.
VALUES, LISTS = 2 ** 22, 2 ** 18  # In it; each takes far more memory than it has bytes.
ABOUT = 5  # Values of a row beside its points.
NAME = 200  # Characters of a task or method.
APV_EVERY = 10_000  # Env steps between the points of APV's curves.
CURE = 'it is to be a list of {task, method, seed, xs, ys}, as JSON in gzip'

METRICS = {
    'score': 'eval/score', 'success_any': 'eval/success_any', 'success_last': 'eval/success_last',
    'length': 'eval/length', 'train_score': 'episode/score', 'policy_score': 'policy/score',
    'policy_success_any': 'policy/success_any'}


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


def replace(path, rows):
  """Write rows as `save` does, or remove the file where there are none, or more than `load` takes, which is told."""
  if rows and sum(2 * len(x['xs']) + ABOUT for x in rows) <= VALUES:
    save(path, rows)
    return
  path.unlink(missing_ok=True)
  if rows:
    _left_out(path)


@functools.cache  # A study asks whenever a run has ended.
def _left_out(path):
  note(f'Note: {path} is left out, as it would have more than {VALUES:,} numbers; the logdirs of the runs have them.')


def points(rows, key):
  """Return env steps and values of `key` in a log's rows; of two values at one step the later one counts."""
  found = {row['step']: row[key] for row in rows if key in row}
  return [int(x) for x in found], [float(y) for y in found.values()]


def read(paths, metrics=tuple(METRICS)):
  """Return `{metric: rows}` of all score files below the paths, runs or folders of runs.

  Runs of DreamerV3 without this project have none: their logs are read, under our names of tasks.
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
    for log, head in upstream.logdirs(path) if path.is_dir() else ():
      rows = curves.metrics(log.parent, log.name)
      for metric in metrics:
        xs, ys = points(rows, METRICS[metric])
        if xs:
          with reading(f'The run {log.parent}', 'leave it out'):
            row = _row(0, {**head, 'xs': xs, 'ys': ys})
          _add(found.setdefault(metric, {}), {**row, 'task': _ours(row['task'])}, log)
  return {k: [row for row, _ in v.values()] for k, v in found.items()}


def load(path):
  """Return the rows `{task, method, seed, xs, ys}` of one file in the host's format.

  xs are steps that grow. ys are numbers, as many as xs; NaN and what is beyond
  1e100 become NaN: no value there. task and method are names of printed
  characters, seed a whole number. Anything else is a `UserError`.
  """
  with reading(f'The score file {path}', CURE):
    rows = json.loads(_unpacked(path))
    if type(rows) is not list:
      raise ValueError('it is no list')
    return [_row(i, row) for i, row in enumerate(rows)]


def reference(path):
  """Return rows of published curves: a score file, or a pickle of APV's, without executing it.

  APV's hold `{method: {task: [seeds, points]}}` with a point every 10,000 env steps.
  """
  if pathlib.Path(path).suffix == '.gz':
    rows = load(path)
  else:
    cure = "name a score file (.json.gz) or one of APV's data/*.pkl"
    with reading(f'The file {path}', cure, 'holds no curves'):
      try:
        content = safe_pickle.load(path)
      except UserError as e:  # Which takes it for a checkpoint.
        raise ValueError(str(e).partition('; ')[0]) from e
      given = [
          dict(task=task, method=method, seed=seed, ys=ys,
               xs=[APV_EVERY * (i + 1) for i in range(len(ys))])
          for method, tasks in content.items()
          for task, curves in tasks.items() for seed, ys in enumerate(curves)]
      rows = [_row(i, row) for i, row in enumerate(given)]
  return [{**row, 'task': _ours(row['task'])} for row in rows]


def measured(path, rows):
  """Return the metric of every row of published curves, and the rows, success as a share of 1.

  The name of a file says so where it is a metric of ours. In Meta-World, APV's are success rates,
  and so are others that never leave 0 to 1; the rest are scores. Success rates are in percent where
  one is above 1.
  """
  name = pathlib.Path(path).name.removesuffix('.json.gz')
  kinds = [name] * len(rows)
  if name not in METRICS:
    worlds = [x['task'].startswith('metaworld_') for x in rows]
    low, high = _bounds([x for x, is_world in zip(rows, worlds) if is_world])
    rates = 0 <= low <= high <= (1 if pathlib.Path(path).suffix == '.gz' else 100)
    kinds = ['success_any' if rates and x else 'score' for x in worlds]
  shares = ['success' in x for x in kinds]
  unit = 100 if _bounds([x for x, y in zip(rows, shares) if y])[1] > 1 else 1
  return kinds, [{**x, 'ys': [y / unit for y in x['ys']]} if share else x for x, share in zip(rows, shares)]


def _bounds(rows):
  ys = [y for x in rows for y in x['ys'] if y == y]
  return min(ys, default=0), max(ys, default=0)


def _row(index, row):
  """Return a row as `load` describes it, or raise a `ValueError` that says which one is not."""
  try:
    xs, ys = (np.asarray(row[k], float) for k in ('xs', 'ys'))
  except (TypeError, KeyError, ValueError, OverflowError) as e:
    raise ValueError(f'its row {index} has no task, method, seed, xs and ys: {reason(e)}') from e
  seed, names = _seed(row.get('seed')), [row.get(k) for k in ('task', 'method')]
  fault = _fault(xs, ys, names, seed)
  if fault:
    raise ValueError(f'its row {index}: {fault}')
  ys = np.where(np.abs(ys) <= curves.LIMIT, ys, np.nan)
  task, method = map(printable, names)
  return dict(task=task, method=method, seed=seed, xs=xs.tolist(), ys=ys.tolist())


def _fault(xs, ys, names, seed):
  if xs.ndim != 1 or xs.shape != ys.shape or not len(xs):
    return 'ys are not as many numbers as xs, or there are none'
  if not (np.diff(xs) > 0).all() or not 0 <= xs[0] <= xs[-1] < curves.LARGEST:
    return f'xs do not grow from 0 to at most {curves.LARGEST:,}'
  if not all(isinstance(x, str) and x.strip() and len(x) <= NAME for x in names):
    return f'task or method is no name of up to {NAME} characters'
  if seed is None:
    return 'seed is no whole number'


def _seed(value):
  """Return a seed as a whole number, which 2, 2.0 and '2' are alike; None if it is none."""
  found = re.fullmatch(r'(-?[0-9]{1,18})(\.0)?', str(value))
  return int(found[1]) if found else None


def _unpacked(path):
  if not pathlib.Path(path).is_file():
    raise ValueError('it is no file')
  with gzip.open(path) as file:
    content = file.read(LARGEST + 1)
  for what, count, most in (
      ('bytes', len(content), LARGEST), ('numbers', content.count(b','), VALUES),
      ('lists', content.count(b'[') + content.count(b'{'), LISTS)):
    if count > most:
      raise ValueError(f'it has more than {most:,} {what}')
  return content


def _ours(task):
  """Return our name of a task: dmc_walker_walk, metaworld_door_lock."""
  suite, _, name = task.partition('_')
  if suite == 'metaworld':
    return f"{suite}_{name.replace('_', '-')}"
  return f'dmcontrol_{name}' if suite == 'dmc' else task


def _add(rows, row, file):
  key = row['task'], row['method'], row['seed']
  before, other = rows.get(key, (row, file))
  short, long = sorted((before, row), key=lambda x: len(x['xs']))
  begins = lambda k: np.array_equal(short[k], long[k][:len(short[k])], equal_nan=True)
  if not (begins('xs') and begins('ys')):
    raise UserError(
        f"{file} and {other} have different runs of the method '{key[1]}' with the seed {key[2]} on "
        f'{key[0]}; leave one out, or name another --method in one of them.')
  rows[key] = long, file
