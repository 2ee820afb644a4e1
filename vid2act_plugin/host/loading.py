"""Which tensors fit, and the report of it that every kind of loading prints."""

import collections
import dataclasses

import numpy as np

TAKEN = ('matched', 'sliced', 'folded')
WHOLE = ('matched', 'missing', 'fresh', 'unused', 'not selected')  # One line if a module is all so.


@dataclasses.dataclass
class Report:
  """Says for every tensor where its value comes from.

  rows: (name, status, note). matched: taken as it is; sliced: taken in part;
  folded: taken with a constant added; missing: the origin lacks it; shape
  differs; not selected: no match of the pattern; fresh: optimiser state, which
  starts at 0; unused: the agent lacks it. Only the first three change the agent.
  """

  title: str
  rows: list

  def status(self, name):
    return next(status for x, status, _ in self.rows if x == name)

  def taken(self):
    """Return the names of the tensors that are not as initialised."""
    return {name for name, status, _ in self.rows if status in TAKEN}

  def __str__(self):
    modules = collections.defaultdict(collections.Counter)
    for name, status, _ in self.rows:
      modules[name.split('/')[0]][status] += 1
    lines = [f'{self.title}: {_counts(sum(modules.values(), collections.Counter()))}']
    for module, counts in modules.items():
      lines.append(f'  {module:<12} {_counts(counts)}')
      whole = len(counts) == 1 and next(iter(counts)) in WHOLE
      lines += [] if whole else [
          f'    {name:<26} {status:<13} {note}'.rstrip() for name, status, note in self.rows
          if name.split('/')[0] == module and status not in ('matched', 'fresh')]
    return '\n'.join(lines)


def match(params, given, title, special=None, selected=lambda name: True):
  """Return `params` with the tensors of `given` of equal name and shape, and the report.

  special: `{name: (value, status, note)}` takes precedence. The optimiser's
  state is never taken in part: its step counts are shared by all tensors, so
  that moments of 0 beside them would make the first updates far too large.
  """
  new, rows = dict(params), []
  for name, old in params.items():
    status, note = 'matched', ''
    if name.startswith('opt/'):
      status = 'fresh'
    elif not selected(name):
      status = 'not selected'
    elif special and name in special:
      new[name], status, note = special[name]
    elif name not in given:
      status = 'missing'
    elif np.shape(given[name]) != old.shape:
      status, note = 'shape differs', shapes(given[name], old)
    else:
      new[name] = given[name]
    rows.append((name, status, note))
    new[name] = np.asarray(new[name], old.dtype)
  rest = [x for x in given if x not in params and selected(x) and not x.startswith('opt/')]
  return new, Report(title, rows + [(x, 'unused', '') for x in rest])


def shapes(given, old):
  """Say how the shape of a tensor differs from the agent's."""
  return f'{list(np.shape(given))} there, {list(old.shape)} here'


def _counts(counter):
  return ', '.join(f'{v} {k}' for k, v in counter.items())
