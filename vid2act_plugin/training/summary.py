"""`LOGDIR/summary.json`: what a run says of itself when it has ended."""

import json
import math
import pathlib

from ..common import files
from . import curves

FILE = 'summary.json'


def write(logdir, content):
  """Write the summary of a run atomically, and return its path."""
  path = pathlib.Path(str(logdir)).expanduser() / FILE
  with files.atomic_write(path) as part:
    part.write_text(json.dumps(content, indent=1), encoding='utf-8')
  return path


def read(logdir):
  """Return the summary of a run; None if there is none that can be read.

  Such a run has not ended, whatever lies there: its command, repeated, writes a
  new one. Of `env_steps` a summary always has the number.
  """
  try:
    content = files.parse(pathlib.Path(logdir), FILE)
  except (OSError, ValueError):
    return None
  known = isinstance(content, dict) and type(content.get('env_steps')) is int
  return content if known else None


def execution(standing):
  """Return `{source or policy: {episodes, earned}}` of what an agent says of who has acted."""
  found, prefix = {}, 'execute/'
  for kind in ('episodes', 'earned'):
    for key in [x for x in standing if x.startswith(f'{prefix}{kind}/')]:
      found.setdefault(key.removeprefix(f'{prefix}{kind}/'), {})[kind] = round(standing[key], 3)
  return found


def useful(execution):
  """Say which source earned most in the episodes that it carried out.

  Each mean is drawn towards that of all sources by one episode, so that a lucky one is not much.
  """
  sources = {k: v for k, v in execution.items() if k != 'policy' and 'earned' in v}
  if not sources:
    return []
  total = lambda x: x['episodes'] * x['earned']
  mean = sum(map(total, sources.values())) / max(1, sum(x['episodes'] for x in sources.values()))
  best = max(sources, key=lambda k: (mean + total(sources[k])) / (sources[k]['episodes'] + 1))
  earned, own = sources[best]['earned'], execution['policy'].get('earned')
  if len(sources) > 1 and earned == min(x['earned'] for x in sources.values()):
    text = f'The sources earned all the same: {earned:.3g} per episode'
  else:
    text = f"Of the sources, {best} earned most: {earned:.3g} per episode in {sources[best]['episodes']:.0f}"
  return [text + ('' if own is None else f'; the policy in its last ones: {own:.3g}')]


def relevance(rows):
  """Return the last relevance of each source in the rows of a log, for a run that had nothing left to learn."""
  return next((x for _, x in reversed(curves.relevance(rows))), {})


def learned(rows):
  """Say how evaluations went, by the rows of a log: of the agent, and where it is another, of the policy.

  In success where the task tells it, else in score.
  """
  lines = []
  for prefix, whose in (('eval', 'Evaluation'), ('policy', 'Evaluation of the policy alone')):
    kinds = {kind: [(x[f'{prefix}/{kind}'], x['step']) for x in rows
                    if math.isfinite(x.get(f'{prefix}/{kind}', math.nan))]
             for kind in ('success_any', 'score')}
    kind = next((k for k, v in kinds.items() if len(v) > 1), None)
    if kind:
      found = kinds[kind]
      best, step = max(found, key=lambda x: x[0])
      lines.append(
          f"{whose}: {'success' if kind != 'score' else kind} {found[0][0]:.3g} at first, "
          f'{found[-1][0]:.3g} at the end, {best:.3g} at best, after {step:,} env steps')
  return lines


def describe(means):
  """Return the means of an evaluation in words."""
  return ', '.join(f'{k} {v:.3g}' for k, v in means.items() if k != 'length')
