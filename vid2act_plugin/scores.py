"""Scores of a run in the host's format for comparing runs.

`LOGDIR/scores/NAME.json.gz` holds a list of `{task, method, seed, xs, ys}`:
xs are env steps, which count action repeat, ys the values there. The files of
many runs are joined by concatenating their lists.
"""

import gzip
import json
import pathlib

from . import pictures

METRICS = {
    'score': 'eval/score', 'success_any': 'eval/success_any', 'success_last': 'eval/success_last',
    'length': 'eval/length', 'train_score': 'episode/score'}


def write(config):
  """Write one file per metric that `metrics.jsonl` has, and return their paths."""
  folder, rows = pathlib.Path(config.logdir).expanduser() / 'scores', pictures.metrics(config.logdir)
  method = config.agent.typ if config.method == 'name' else config.method
  head, paths = dict(task=config.task, method=method, seed=int(config.seed)), []
  for name, key in METRICS.items():
    xs, ys = points(rows, key)
    if xs:
      folder.mkdir(parents=True, exist_ok=True)
      paths.append(folder / f'{name}.json.gz')
      content = json.dumps([dict(**head, xs=xs, ys=ys)]).encode()
      paths[-1].write_bytes(gzip.compress(content, mtime=0))
  return paths


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
