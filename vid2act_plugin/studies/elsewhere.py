"""Runs of a matrix that were finished elsewhere, read from the results that `vid2act ablate` left there."""

import dataclasses
import os
import pathlib

from ..common import files
from ..common.errors import UserError, reason
from ..common.output import count, say
from ..teacher import bundle
from ..training import scores, summary
from . import matrix

RUNS, MATRIX, SETTINGS = 'runs.json', 'matrix.yaml', 'settings.json'  # In a folder of results.
CURE = 'name the folder `results` of an ablation as --merge, or delete that file'


@dataclasses.dataclass(frozen=True)
class Finished:
  """What is left of a run: its entry in `runs.json`, and its scores as `{metric: row}`."""

  about: dict
  scores: dict


def read(folders, ablation, only=None):
  """Return `{run: Finished}` of the runs of an `Ablation` whose results lie in `folders`.

  only: the runs that are looked for, silently where none of them is there; default: all of the matrix.
  Raises a `UserError` for a folder that holds no results, or those of other settings, and where two
  folders have different scores of one run.
  """
  paths = {folder: results(pathlib.Path(os.path.expanduser(folder))) for folder in folders}
  found = {}
  for folder, path in paths.items():
    found.update(_finished(path, folder, ablation, only))
  if len(paths) > 1:
    scores.read([path / 'scores' for path in paths.values()])  # Raises that.
  return found


def refuse_strange(path, ablation):
  """Raise a `UserError` if results would be lost, as they are of runs that the matrix does not ask for."""
  lost = [x for x in _listed(path, path) if x not in ablation.runs.values() and not summary.read(ablation.logdir(x))]
  if lost:
    raise UserError(
        f'The folder {path} has the only results of {count(len(lost), "run")} that {ablation.plan.path} does not ask '
        f'for, such as {lost[0].name}; name another folder (--out), with --merge {path} for those that it asks for.')


def refuse_other(path, kept, merged):
  """Raise a `UserError` if results in `path`, `{run: Finished}`, would be replaced by other ones of the same runs."""
  differ = lambda one, two: any(repr(two[k]) != repr(one[k]) for k in one.keys() & two.keys())  # NaN is itself.
  other = [k for k, x in kept.items() if k in merged and differ(x.scores, merged[k].scores)]
  if other:
    raise UserError(
        f'The folder {path} has other scores of {count(len(other), "run")} than those to be merged, such as '
        f'{other[0].name}; leave that --merge out, or name another folder (--out).')


def results(folder):
  """Return the folder of results in that of an ablation; any other is one itself."""
  return folder / 'results' if (folder / 'results' / RUNS).is_file() else folder


def made_with(folder):
  """Return the `Matrix` that results were made with, and its settings, None where they were not kept."""
  try:
    plan = matrix.Matrix(folder / MATRIX)
  except UserError as e:
    raise UserError(
        f'The file {folder / MATRIX} cannot be read, which says what the runs there were made with; restore it, or '
        'leave that folder out.') from e
  settings = files.parse(folder, SETTINGS) if (folder / SETTINGS).is_file() else None
  good = isinstance(settings, dict) and settings.keys() >= plan.variants.keys() and all(
      isinstance(x, dict) for x in settings.values())
  return plan, settings if good else None


def _finished(path, folder, ablation, only):
  plan = ablation.plan
  wanted, about = set(plan.runs if only is None else only), _listed(path, folder)
  mine = {k: x for k, x in about.items() if k in wanted}
  if only is not None and not mine:
    return {}
  before = made_with(path)
  strange = {x.method for x in mine} - before[0].variants.keys()
  if strange:
    raise UserError(
        f"The folder {folder} has runs of the variant '{min(strange)}', of which its {MATRIX} says nothing; leave "
        'them out of its runs.json, or the option --merge.')
  changed = plan.changed(before, ablation.settings, {x.method for x in mine}, _known_by_hash(mine, ablation))
  if changed:
    raise UserError(
        f'The runs in {folder} were made with another {changed} than {plan.path} has; leave the folder out, delete it, '
        f'or go back to {path / MATRIX}.')
  _check_teachers(mine, ablation, folder)
  rows = {k: {} for k, x in mine.items() if x['env_steps'] >= ablation.steps(k)}
  for metric, found in scores.read([path / 'scores']).items():
    for row in found:
      run = matrix.Run(row['method'], row['task'], row['seed'])
      if run in rows:
        rows[run][metric] = row
  whole = {k: Finished(mine[k], v) for k, v in rows.items() if v}
  others, torn = (len(about) - len(mine)) * (only is None), len(mine) - len(whole)
  say(f'{count(len(whole), "run")} finished elsewhere, in {folder}'
      + f'; {count(torn, "run")} there without scores or too short, made again' * bool(torn)
      + f'; {count(others, "other")} there, not of this matrix, left out' * bool(others))
  return whole


def _known_by_hash(runs, ablation):
  """Return the methods whose teacher is not told by its path: `_check_teachers` knows it better, or they have none."""
  from .. import prepare
  configs = ablation.configs
  def known(run):
    config = configs[run.method, run.task]
    return config.vid2act.teacher and runs[run].get('teacher') or not prepare.shares(config)
  return {m for m in (x.method for x in runs) if all(known(x) for x in runs if x.method == m)}


def _check_teachers(runs, ablation, folder):
  """Raise a `UserError` where runs had another teacher than the one that the settings name.

  Earlier ones do not tell, and some tell one of which they took nothing.
  """
  from .. import prepare
  configs = {k: ablation.configs[k.method, k.task] for k, x in runs.items() if x.get('teacher')}
  named = {k: x.vid2act.teacher for k, x in configs.items() if prepare.shares(x)}
  hashes = {path: bundle.verify(path)['hash'] for path in set(named.values()) if path}
  for run, path in named.items():
    if path and runs[run]['teacher'] != hashes[path]:
      raise UserError(
          f"The run {run.name} in {folder} had the teacher {runs[run]['teacher'][:12]}, but {path} is {hashes[path][:12]}; "
          'leave the folder out, or name that teacher as vid2act.teacher.')


def _listed(path, folder):
  """Return the entries of `runs.json` by their runs."""
  try:
    listed = files.parse(path, RUNS)
    if type(listed) is not list:
      raise ValueError(f'{RUNS} is no list')
    return {matrix.Run(x['method'], x['task'], x['seed']): {**x, 'env_steps': int(x['env_steps'])} for x in listed}
  except (OSError, ValueError, KeyError, TypeError) as e:
    cure = CURE if (path / RUNS).exists() else CURE.partition(',')[0]
    raise UserError(f'The folder {folder} holds no results of an ablation ({reason(e)}); {cure}.') from e
