"""Statistics of several methods over paired seeds, with rliable.

Rows are `{task, method, seed, xs, ys}`, xs in env steps. Axes: S seeds, K tasks.
Intervals are stratified bootstrap 95 % intervals (Agarwal et al., arXiv 2108.13264).
"""

import collections
import contextlib
import warnings

import numpy as np

REPS = 2000  # Of the bootstrap.
POINTS = 50  # Of a curve.
COLUMNS = 'method', 'task', 'metric', 'mean', 'iqm', 'low', 'high', 'seeds', 'steps'


def compare(rows, against, metric='score'):
  """Return the table of one metric as dicts with `COLUMNS`, per task and for `all` of them.

  `METRIC_auc` is the mean over training, `final_METRIC` the last value, both up to
  the step that all runs of a task reached; low and high bound their IQM.
  `paired_difference` is that of METRIC_auc to the method `against` with the same
  seed, with bounds of its mean, and `probability_of_improvement` that a run of the
  method has a higher METRIC_auc. Of both, metrics other than `score` have their
  name appended. `all` are the seeds that a method has in every task; scores of
  tasks are averaged as they are.
  """
  table, spans = [], {k: span(v) for k, v in _by(rows, 'task').items()}
  auc = _by_run(rows, lambda row: mean_over(row, *spans[row['task']]))
  final = _by_run(rows, lambda row: float(np.interp(
      spans[row['task']][1], row['xs'], row['ys'])))
  tasks = list(spans)
  for names in [*([x] for x in tasks), *[tasks] * (len(tasks) > 1)]:
    task = names[0] if len(names) == 1 else 'all'
    steps = min(spans[x][1] for x in names)
    for method in auc:
      one, other = _matrix(auc[method], names), _matrix(auc.get(against, {}), names)
      found = {
          f'{metric}_auc': _estimate(one),
          f'final_{metric}': _estimate(_matrix(final[method], names))}
      if method != against:
        found |= {
            named('paired_difference', metric): _paired(one, other),
            named('probability_of_improvement', metric): _improvement(one, other)}
      table += [
          dict(zip(COLUMNS, (method, task, key, *values, len(seeds), steps)))
          for key, (seeds, values) in found.items() if seeds]
  if len(tasks) == 1:  # There is always an `all`.
    table += [{**x, 'task': 'all'} for x in table]
  return table


def named(kind, metric):
  """Return what a comparison with another method is called in the table."""
  return kind if metric == 'score' else f'{kind}_{metric}'


def curves(rows):
  """Return `{method: (xs, iqm, low, high)}` of one task's rows, up to the step that all reached."""
  xs = np.linspace(*span(rows), POINTS)
  found = {}
  for method, mine in _by(rows, 'method').items():
    values = np.stack([np.interp(xs, x['xs'], x['ys']) for x in mine])[:, None]  # [S, 1, points]
    iqm, (low, high) = _bootstrap([values], lambda x: iqm_of(x[:, 0]))
    found[method] = xs, iqm, low, high
  return found


def span(rows):
  """Return the first and the last step that all rows have."""
  return max(x['xs'][0] for x in rows), min(x['xs'][-1] for x in rows)


def mean_over(row, first, last):
  """Return the mean of a piecewise linear curve from `first` to `last`."""
  if first >= last:
    return float(np.interp(last, row['xs'], row['ys']))
  xs = np.unique([first, *[x for x in row['xs'] if first < x < last], last])
  return float(np.trapezoid(np.interp(xs, row['xs'], row['ys']), xs) / (last - first))


def iqm_of(values):
  """Return the interquartile mean along the first axis: rliable's `aggregate_iqm`, for many at once.

  Both this and `improvement` are what the bootstrap calls thousands of times.
  """
  cut = len(values) // 4
  return np.sort(values, 0)[cut: len(values) - cut].mean(0)


def improvement(one, other):
  """Return the probability that a run of `one` `[S, K]` is better than one of `other`, mean over K.

  It is rliable's `probability_of_improvement`.
  """
  pairs = one[:, None] - other[None]
  return ((pairs > 0) + 0.5 * (pairs == 0)).mean()


def _estimate(runs):
  seeds, values = runs
  if not seeds:
    return seeds, None
  iqm, (low, high) = _bootstrap([values], lambda x: iqm_of(x.reshape((-1, 1))))
  return seeds, (float(values.mean()), float(iqm[0]), float(low[0]), float(high[0]))


def _paired(one, other):
  seeds = [x for x in one[0] if x in other[0]]
  if not seeds:
    return seeds, None
  pick = lambda runs: runs[1][[runs[0].index(x) for x in seeds]]
  values = pick(one) - pick(other)
  mean, (low, high) = _bootstrap([values], lambda x: np.array([x.mean()]))
  return seeds, (float(mean[0]), float(iqm_of(values.reshape((-1, 1)))[0]), float(low[0]), float(high[0]))


def _improvement(one, other):
  if not one[0] or not other[0]:
    return [], None
  mean, (low, high) = _bootstrap(
      [one[1], other[1]], lambda x, y: np.array([improvement(x, y)]))
  return one[0], (float(mean[0]), float(mean[0]), float(low[0]), float(high[0]))


def _bootstrap(arrays, function):
  """Return the estimate and the bounds of `function` of arrays `[S, K, ...]`, always the same ones."""
  from rliable import library
  given = arrays[0] if len(arrays) == 1 else arrays
  with _seeded(), warnings.catch_warnings():
    warnings.filterwarnings('ignore', message='random_state is deprecated')
    estimates, bounds = library.get_interval_estimates(
        {'x': given}, function, reps=REPS, random_state=np.random.RandomState(0))
  return estimates['x'], bounds['x']


@contextlib.contextmanager
def _seeded():
  """Seed NumPy's global generator for a while: rliable draws some of its indices from that."""
  before = np.random.get_state()
  np.random.seed(0)
  try:
    yield
  finally:
    np.random.set_state(before)


def _matrix(runs, tasks):
  """Return the seeds that all tasks have, and their values `[S, K]`."""
  seeds = sorted(set.intersection(*({s for t, s in runs if t == x} for x in tasks)))
  return seeds, np.array([[runs[t, s] for t in tasks] for s in seeds])


def _by_run(rows, function):
  """Return `{method: {(task, seed): function(row)}}`."""
  return {
      method: {(x['task'], x['seed']): function(x) for x in mine}
      for method, mine in _by(rows, 'method').items()}


def _by(rows, key):
  groups = collections.defaultdict(list)
  for row in rows:
    groups[row[key]].append(row)
  return groups
