"""Which rows of score files can be compared, and what is to be said of them and of the others.

Rows are as `training.scores.load` returns them.
"""

import math

from ..common.errors import UserError
from . import comparison

FEW = 5  # Seeds below which intervals mean little.
# More are neither seen nor counted in minutes: each pair takes a fifth of a second.
MOST = {'methods': 100, 'tasks': 100, 'seeds': 200, 'pairs of method and task': 500}


def comparable(rows, title):
  """Return the rows that can be compared, without gaps in them, and a list of notes on the others.

  Values that are no numbers are left out, and tasks whose runs share no step.
  title: what is being compared. Raises a `UserError` for more of it than a
  comparison can show.
  """
  _count(rows, title)
  rows, notes = _numbers(rows, title)
  kept = []
  for task in dict.fromkeys(x['task'] for x in rows):
    mine = [x for x in rows if x['task'] == task]
    first, last = comparison.span(mine)
    if first <= last:
      kept += mine
      continue
    late, early = max(mine, key=lambda x: x['xs'][0]), min(mine, key=lambda x: x['xs'][-1])
    notes.append(
        f'Note: {title} leave out {task}, of which no step is in all runs: {_named(early)} ends at '
        f'{last:,.0f}, and {_named(late)} begins at {first:,.0f}.')
  return kept, notes


def remarks(rows, metric, against, known=()):
  """Return what to think of when reading a comparison of these rows, in notes."""
  theirs, found = {x['task'] for x in known}, []
  if theirs and theirs.isdisjoint(x['task'] for x in rows):
    found.append(f'Note: the published curves have none of these tasks, but {min(theirs)} and others.')
  if against not in {x['method'] for x in rows}:
    found.append(
        f"Note: there is no method '{against}' here, so nothing is compared with it; see --against.")
  tasks, few = dict.fromkeys(x['task'] for x in rows), []
  for method in sorted({x['method'] for x in rows}):
    seeds = {t: sum((x['method'], x['task']) == (method, t) for x in rows) for t in tasks}
    lacking, there = [t for t in tasks if not seeds[t]], [t for t in tasks if seeds[t]]
    if lacking:
      found.append(f'Note: {method} has no run on {lacking[0]}, so that it is not in the rows of all tasks.')
    if lone := _lone(rows, method, against):
      found.append(f'Note: {method} and {against} have no seed in common on {lone[0]}, so that no difference is told there.')
    least = min(there, key=seeds.get)
    if seeds[least] < FEW:
      few.append(f'{method} ({seeds[least]}' + f' on {least}' * (len(tasks) > 1) + ')')
  if few:
    found.append(
        f"Note: fewer than {FEW} seeds: {', '.join(few)}; intervals over so few are too narrow, those of differences "
        'excepted, which are wide.')
  if metric == 'train_score':
    found.append('Note: train_score is of training episodes, with exploration, not of evaluations.')
  return found


def _lone(rows, method, against):
  """Return the tasks that both methods have, but no seed of theirs."""
  pairs = {k: {(x['task'], x['seed']) for x in rows if x['method'] == k} for k in (method, against)}
  tasks = {k: {t for t, _ in v} for k, v in pairs.items()}
  both = {t for t, _ in pairs[method] & pairs[against]}
  return sorted((tasks[method] & tasks[against]) - both)


def against(rows, name):
  """Raise a `UserError` if a method is named that others are to be compared with, and no run is of that name."""
  methods = list(dict.fromkeys(x['method'] for x in rows))
  if name and name not in methods:
    raise UserError(f"There are no runs of '{name}' to compare with; choose one of {', '.join(methods[:20])}.")


def mixed(about):
  """Return notes on runs that were made by different versions of the code, or of one variant with other teachers.

  about: what each run says of itself; earlier ones do not tell.
  """
  notes, codes, teachers = [], {x.get('code') for x in about} - {None}, {}
  if len(codes) > 1:
    notes.append(f'Note: the runs were made by {len(codes)} versions of the code ({", ".join(sorted(codes))}).')
  for x in about:
    teachers.setdefault((x['method'], x['task']), set()).add(x.get('teacher') or '')
  for (method, task), found in teachers.items():
    if len(found := found - {''}) > 1:
      notes.append(f'Note: the runs of {method} on {task} had {len(found)} teachers, made anew with the same settings.')
  return notes


def _count(rows, title):
  counts = [len({x[k] for x in rows}) for k in ('method', 'task', 'seed')]
  if found := beyond(*counts, pairs=len({(x['method'], x['task']) for x in rows})):
    what, count, most = found
    raise UserError(
        f'There are {count:,} {what} in {title}, more than the {most:,} that one comparison shows; name fewer files '
        'or folders.')


def beyond(methods, tasks, seeds, pairs=None):
  """Return `(what, count, most)` of what a comparison cannot show; None if it shows all.

  pairs: of method and task; None: every method has every task.
  """
  counts = methods, tasks, seeds, methods * tasks if pairs is None else pairs
  return next(((what, count, most) for (what, most), count in zip(MOST.items(), counts) if count > most), None)


def _numbers(rows, title):
  """Return the rows without the values that are no numbers, and notes on these."""
  whole, odd = [], []
  for row in rows:
    points = [(x, y) for x, y in zip(row['xs'], row['ys']) if not math.isnan(y)]
    if len(points) < len(row['xs']):
      odd.append((len(row['xs']) - len(points), row))
    if points:
      xs, ys = map(list, zip(*points))
      whole.append({**row, 'xs': xs, 'ys': ys})
  if not odd:
    return whole, []
  gone = len(rows) - len(whole)
  more = f', {gone} of these runs entirely' * bool(gone)
  return whole, [
      f'Note: {title} leave out {sum(n for n, _ in odd):,} values that are no numbers, or beyond '
      f'all bounds, in {len(odd):,} runs{more}; the first is {_named(odd[0][1])} on '
      f"{odd[0][1]['task']}."]


def _named(row):
  return f"{row['method']} with the seed {row['seed']}"
