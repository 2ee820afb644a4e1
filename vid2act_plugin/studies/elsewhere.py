"""Runs of a matrix that were finished elsewhere, read from the results that `vid2act ablate` left there."""

import dataclasses
import pathlib

from ..common import files
from ..common.errors import UserError, reason
from ..common.output import count, say
from ..training import scores
from . import matrix


@dataclasses.dataclass(frozen=True)
class Finished:
  """What is left of a run: its entry in `runs.json`, and its scores as `{metric: row}`."""

  about: dict
  scores: dict


def read(folders, plan):
  """Return `{run: Finished}` of the runs of a matrix whose results lie in `folders`.

  Raises a `UserError` for a folder that holds no results, or those of other settings.
  """
  about, paths = {}, []
  for folder in map(pathlib.Path, folders):
    path = folder.expanduser()
    path = path / 'results' if (path / 'results' / 'runs.json').is_file() else path
    paths.append(path / 'scores')
    about.update(_listed(path, folder, plan))
  found = {run: Finished(entry, {}) for run, entry in about.items()}
  for metric, rows in scores.read(paths).items():
    for row in rows:
      run = matrix.Run(row['method'], row['task'], row['seed'])
      if run in found:
        found[run].scores[metric] = row
  return {k: v for k, v in found.items() if v.scores}


def _listed(path, folder, plan):
  """Return the entries of `runs.json` that are runs of the matrix."""
  cure = 'name the folder `results` of an ablation, or leave the option --merge out'
  try:
    listed = files.parse(path, 'runs.json')
    if type(listed) is not list:
      raise ValueError('runs.json is no list')
    about = {matrix.Run(x['method'], x['task'], x['seed']): x for x in listed}
  except (OSError, ValueError, KeyError, TypeError) as e:
    raise UserError(f'The folder {folder} holds no results of an ablation ({reason(e)}); {cure}.') from e
  before = matrix.Matrix(path / 'matrix.yaml')
  mine = {k: x for k, x in about.items() if k in set(plan.runs)}
  changed = plan.changed(before, {x.method for x in mine} & before.variants.keys())
  if changed:
    raise UserError(
        f'The runs in {folder} were made with another {changed} than {plan.path} has; leave the folder out, or go '
        f"back to {path / 'matrix.yaml'}.")
  others = len(about) - len(mine)
  say(f'{count(len(mine), "run")} finished elsewhere, in {folder}'
      + f'; {count(others, "other")} there, not of this matrix, left out' * bool(others))
  return mine
