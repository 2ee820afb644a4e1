"""What the README of the studies tells, and what is committed of it."""

import itertools
import re

from bench.transfer import study
from vid2act_plugin.studies import comparison
from vid2act_plugin.training import scores

RESULTS = study.RESULTS
README = RESULTS.parent / 'README.md'


def means(metric, study='sparse'):
  """Return `{(task, seed, method): mean over training}` of what is committed."""
  rows = scores.load(RESULTS / study / 'scores' / f'{metric}.json.gz')
  return {(x['task'], x['seed'], x['method']): comparison.mean_over(x, 0, x['xs'][-1]) for x in rows}


def paired(found, *methods):
  """Return the pairs of task and seed that all the methods have."""
  return sorted(set.intersection(*({(t, s) for t, s, m in found if m == method} for method in methods)))


def rows_of(beginning):
  """Return the cells of the README's table whose head begins so."""
  lines = README.read_text().splitlines()
  start = next(i for i, x in enumerate(lines) if x.startswith(beginning))
  return [[y.strip() for y in x.strip('|').split('|')] for x in itertools.takewhile(
      lambda x: x.startswith('|'), lines[start + 2:])]


def prose(beginning, end):
  """Return the sentences of the README from one phrase to another, without tables and line breaks."""
  text = README.read_text().split(beginning)[1].split(end)[0]
  return ' '.join(' '.join(x for x in text.splitlines() if not x.startswith('|')).split())


def intervals(text):
  """Return the differences with intervals that a text tells, in their order."""
  return re.findall(r'-?[.\d]+ \(-?[.\d]+ to -?[.\d]+\)', text)


def interval(*differences, places=2):
  """Return how the README tells a mean over targets and its interval."""
  def short(x):
    text = f'{round(x, places) + 0:.{places}f}'  # No -0.
    return re.sub(r'^(-?)0\.', r'\1.', text) if places > 1 else text  # Shares are told without the 0.
  low, high = comparison.student(*differences)
  return f'{short(comparison.mean(*differences))} ({short(low)} to {short(high)})'


def short(values, places):
  """Return how the README tells figures, seed by seed: shares without the 0."""
  return ' '.join(f'{x:.{places}f}'.removeprefix('0' * (places > 0)) for x in values)


def number(text):
  return [float(x) for x in re.findall(r'-?[.0-9]+', text)]
