"""Statistics of several methods over paired seeds.

Rows are `{task, method, seed, xs, ys}`, xs in env steps. Axes: S seeds.
IQM and probability of improvement, and their intervals, 95 % of a stratified
bootstrap, are meant as in Agarwal et al. (arXiv 2108.13264). Differences of pairs
have Student's intervals: the bootstrap's are too narrow for few seeds.
"""

import collections

import numpy as np
import scipy.stats

REPS = 10_000  # Of the bootstrap; other draws move a bound by about a hundredth of the interval.
MEMORY = 10 ** 7  # Numbers at once.
POINTS = 50  # Of a curve.
COLUMNS = 'method', 'task', 'metric', 'mean', 'iqm', 'low', 'high', 'seeds', 'steps'


def compare(rows, against, metric='score'):
  """Return the table of one metric as dicts with `COLUMNS`, per task and for `all` of them.

  `METRIC_auc` is the mean over training, `final_METRIC` the last value, both up to
  the step that all runs of a task reached; low and high bound their IQM.
  `paired_difference` is that of METRIC_auc to the method `against` with the same
  seed, with bounds of its mean, NaN where `student` has none; and
  `probability_of_improvement` that a run of the method has a higher METRIC_auc. Of
  both, metrics other than `score` have their name appended. `all` has those methods
  that every task has: a mean is that of the tasks' means, an IQM is over all runs,
  and `seeds` are those of the task that has fewest. Scores are taken as they are.
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
      one, other = _samples(auc[method], names), _samples(auc.get(against, {}), names)
      found = {
          f'{metric}_auc': _estimate(one),
          f'final_{metric}': _estimate(_samples(final[method], names))}
      if method != against:
        found |= {
            named('paired_difference', metric): _paired(one, other),
            named('probability_of_improvement', metric): _improvement(one, other)}
      table += [
          dict(zip(COLUMNS, (method, task, key, *map(float, values), seeds, steps)))
          for key, (seeds, values) in found.items() if seeds]
  if len(tasks) == 1:  # There is always an `all`.
    table += [{**x, 'task': 'all'} for x in table]
  return table


def named(kind, metric):
  """Return what a comparison with another method is called in the table."""
  return kind if metric == 'score' else f'{kind}_{metric}'


def baseline(rows):
  """Return which method others are compared with where nothing says: stock, as DreamerV3 calls it if nobody else does."""
  methods = {x['method'] for x in rows}
  return 'dreamerv3' if 'dreamerv3' in methods and 'stock' not in methods else 'stock'


def curves(rows):
  """Return `{method: (xs, iqm, low, high)}` of one task's rows, up to the step that all reached."""
  xs = np.linspace(*span(rows), POINTS)
  found = {}
  for method, mine in _by(rows, 'method').items():
    values = np.stack([np.interp(xs, x['xs'], x['ys']) for x in mine])  # [S, POINTS]
    found[method] = xs, iqm(values), *interval(iqm, [values])
  return found


def span(rows):
  """Return the first and the last step that all rows have; without any, the last is smaller."""
  return max(x['xs'][0] for x in rows), min(x['xs'][-1] for x in rows)


def mean_over(row, first, last):
  """Return the mean of a piecewise linear curve from `first` to `last`."""
  if first >= last:
    return float(np.interp(last, row['xs'], row['ys']))
  xs = np.unique([first, *[x for x in row['xs'] if first < x < last], last])
  return float(np.trapezoid(np.interp(xs, row['xs'], row['ys']), xs) / (last - first))


def interval(statistic, samples):
  """Return the bounds of a statistic of samples, the same ones each time.

  samples: `[S, ...]` each, drawn from with replacement, one independently of the
  others. statistic: called as `statistic(*samples, axis=axis)`.
  """
  if max(map(len, samples)) == 1:
    return 2 * (statistic(*samples, axis=0),)
  # Two equal values are drawn from as one is, which SciPy refuses.
  samples = [np.repeat(x, 2, 0) if len(x) == 1 else x for x in samples]
  pairs = max(x.size for x in samples) * max(map(len, samples))
  batch = max(1, min(1000, MEMORY // pairs))
  return tuple(scipy.stats.bootstrap(
      samples, statistic, n_resamples=REPS, batch=batch, axis=0, vectorized=True,
      method='percentile', rng=np.random.default_rng(0)).confidence_interval)


def student(*tasks):
  """Return 95 % bounds of the `mean` of normal samples `[S]`, one of each task, by Student's t.

  Degrees of freedom are Welch's and Satterthwaite's. NaN where a task has one sample, or
  the samples of all tasks are equal, which does not tell how far they spread.
  """
  parts = np.array([x.var(ddof=1) / len(x) for x in tasks if len(x) > 1])  # Variances of the tasks' means.
  if len(parts) < len(tasks) or np.allclose(parts, 0, atol=1e-18):
    return 2 * (np.nan,)
  freedom = parts.sum() ** 2 / max((parts ** 2 / [len(x) - 1 for x in tasks]).sum(), 1e-300)
  reach = scipy.stats.t.ppf(0.975, max(freedom, 1)) * np.sqrt(parts.sum()) / len(tasks)
  return mean(*tasks) - reach, mean(*tasks) + reach


def iqm(*tasks, axis=0):
  """Return the interquartile mean over the seeds of all tasks; seeds are on `axis` of each."""
  return scipy.stats.trim_mean(np.concatenate(tasks, axis), 0.25, axis)


def mean(*tasks, axis=0):
  """Return the mean of the tasks' means over seeds, which are on `axis` of each."""
  return np.mean([x.mean(axis) for x in tasks], 0)


def improvement(*tasks, axis=0):
  """Return the probability that a run of one method is better than one of another, mean over tasks.

  tasks: those of the one method, then as many of the other, as for `iqm`.
  """
  last = [np.moveaxis(x, axis, -1) for x in tasks]
  pairs = [x[..., :, None] - y[..., None, :] for x, y in zip(last, last[len(last) // 2:])]
  return np.mean([((x > 0) + 0.5 * (x == 0)).mean((-1, -2)) for x in pairs], 0)


def _samples(runs, tasks):
  """Return `{seed: value}` of each of the tasks."""
  return [{s: x for (t, s), x in sorted(runs.items()) if t == task} for task in tasks]


def _arrays(*samples):
  """Return the values of samples `[S]` each, and how many the smallest has."""
  return [np.array([*x.values()]) for x in samples], min(map(len, samples))


def _estimate(samples):
  values, seeds = _arrays(*samples)
  return seeds, seeds and (mean(*values), iqm(*values), *interval(iqm, values))


def _paired(one, other):
  values, seeds = _arrays(*({s: x[s] - y[s] for s in x if s in y} for x, y in zip(one, other)))
  return seeds, seeds and (mean(*values), iqm(*values), *student(*values))


def _improvement(one, other):
  values, seeds = _arrays(*one, *other)
  found = seeds and improvement(*values)
  return seeds, seeds and (found, found, *interval(improvement, values))


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
