"""Parameters into an agent: which tensors fit, and the report of it that every loading prints."""

import collections
import dataclasses
import importlib
import inspect
import re

import numpy as np

from ..common.errors import UserError
from ..common.output import note
from . import checkpoints

FRESH = dict.fromkeys(checkpoints.COUNTERS, 0)  # Counters of an agent that has done nothing.
TAKEN = ('matched', 'sliced', 'folded', 'set')
WHOLE = ('matched', 'missing', 'fresh', 'unused', 'not selected')  # One line if a module is all so.


@dataclasses.dataclass
class Report:
  """Says for every tensor where its value comes from.

  rows: (name, status, note). matched: taken as it is; sliced: taken in part;
  folded: taken with a constant added; set: to what suits the rest; missing: the origin lacks it; shape
  differs; not selected: no match of the pattern; fresh: optimiser state, which
  starts at 0; unused: the agent lacks it. Only the first four change the agent.
  """

  title: str
  rows: list

  def status(self, name):
    return next(status for x, status, _ in self.rows if x == name)

  def taken(self):
    """Return the names of the tensors that are not as initialised."""
    return {name for name, status, _ in self.rows if status in TAKEN}

  def lines(self):
    """Return it in lines: every module, and below it the tensors of which there is more to say."""
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
    return lines

  def __str__(self):
    return '\n'.join(self.lines())


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


def load(agent, path, regex='', needed=None):
  """Load what fits of the checkpoint at `path` into a new agent, and print the report.

  path: LOGDIR/ckpt/STAMP, LOGDIR/ckpt or LOGDIR. regex: names begin with a match
  of it; '': all. If all tensors of both sides are loaded, then so are counters
  and optimiser; else these start at 0, for the optimiser belongs to the whole.
  needed: a pattern of the names of which none may be as initialised. Raises a `UserError` if one is, and if nothing can
  be read, is selected or fits.
  """
  content, wanted = chosen(path, regex), pattern(regex)
  given, params = content['params'], parameters(agent)
  selected = lambda name: bool(wanted.match(name))
  sizes = lambda xs: {k: np.shape(v) for k, v in xs.items()}
  if all(map(selected, given)) and sizes(given) == sizes(params):
    agent.load(content)
    report = Report(f'Loaded {path}', [(x, 'matched', '') for x in params])
  else:
    params, report = match(params, given, f'Loaded {path} in part', selected=selected)
    if not report.taken():
      raise UserError(
          f"The key run.from_checkpoint is '{path}', of which nothing fits the agent; choose a "
          f'checkpoint of this kind and size of agent.', report.lines())
    agent.load({'params': params, 'counters': FRESH})
  note(*report.lines())
  left = [x for x in set(agent.policy_keys) - report.taken() if not x.startswith('dec/')]
  if needed and (lost := [x for x in left if re.match(needed, x)]):
    cure = f", and take '{regex}' out of run.from_checkpoint_regex if that leaves them out" * bool(regex)
    raise UserError(
        f"The key run.from_checkpoint is '{path}', of which the policy does not get all that it acts with: "
        f"{', '.join(_examples(lost))}; give the --configs that it was trained with, its size among them{cure}.")
  if left:
    note(f"Note: the policy acts with parameters as initialised: {', '.join(_examples(left))}.")


def chosen(path, regex):
  """Return what the checkpoint at `path` holds, or raise a `UserError` if `regex` selects nothing of it."""
  wanted, content = pattern(regex), checkpoints.read(checkpoint(path))
  if not any(map(wanted.match, content['params'])):
    raise UserError(
        f"The key run.from_checkpoint_regex is '{regex}', which no name in {path} begins with; "
        f"there are {', '.join(_examples(content['params']))}.")
  return content


def checkpoint(path):
  """Return the folder of the checkpoint that `run.from_checkpoint` names, or raise a `UserError`."""
  folder = checkpoints.newest(path)
  if not folder:
    where = checkpoints.latest(path) or path
    raise UserError(
        f"The key run.from_checkpoint is '{path}', but {where} has no agent.pkl that was written "
        'to the end; name the --logdir of a run that has saved, or a folder in its ckpt.')
  return folder


def by_file():
  """Whether the host's own loops take `run.from_checkpoint` for one pickled file, as none is written any more."""
  return 'read_bytes()' in inspect.getsource(importlib.import_module('embodied.run.train'))


def parameters(agent):
  """Return a copy of an agent's parameters, which it deletes when it loads others."""
  return {k: np.array(v) for k, v in agent.save()['params'].items()}


def pattern(regex):
  """Return the compiled `run.from_checkpoint_regex`, or raise a `UserError`."""
  try:
    return re.compile(regex)
  except re.error as e:
    raise UserError(
        f"The key run.from_checkpoint_regex is '{regex}', which is no regular expression ({e}); "
        "write something like '^(enc|dyn)/'.") from e


def _examples(names):
  """Return one name of each module, the optimiser's last."""
  first = {x.split('/')[0]: x for x in sorted(names, reverse=True)}
  return sorted(first.values(), key=lambda x: (x.startswith('opt/'), x))


def _counts(counter):
  return ', '.join(f'{v} {k}' for k, v in counter.items())
