"""Which rows of score files can be compared, and what is said of the others.

Rows are as `training.scores.load` returns them.
"""

import math

from ..common.errors import UserError
from . import comparison

MOST = {'methods': 100, 'tasks': 100, 'seeds': 200}  # More are neither seen nor counted in minutes.
CURVES = 500  # Pairs of method and task, of which each takes a fifth of a second.


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


def _count(rows, title):
  counts = {f'{k}s': len({x[k] for x in rows}) for k in ('method', 'task', 'seed')}
  counts['pairs of method and task'] = len({(x['method'], x['task']) for x in rows})
  for what, most in {**MOST, 'pairs of method and task': CURVES}.items():
    if counts[what] > most:
      raise UserError(
          f'There are {counts[what]:,} {what} in {title}, more than the {most:,} that one '
          'comparison shows; name fewer files or folders.')


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
