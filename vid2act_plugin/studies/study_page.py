"""What the report of a study shows: methods compared over tasks and seeds, and its runs."""

import collections

import numpy as np

from ..common import charts, files, page
from ..common.errors import UserError
from ..common.output import count
from ..common.progress import clock
from . import comparable, comparison, elsewhere, logdir, matrix, plot

KNOWN = dict(logdir.SUMMARY, method=str, relevance=[{str: float}])
COLUMNS = 'task', 'method', 'metric', 'mean', 'IQM', 'low', 'high', 'seeds', 'env steps'
NAMES = {'score': 'score', 'success_any': 'success at any step', 'success_last': 'success at the last step',
         'train_score': 'score of training episodes', 'policy_score': 'score of the policy alone',
         'policy_success_any': 'success of the policy alone'}


def content(folder, against=None):
  """Return what the template shows of a folder of runs, of their scores, or of an ablation."""
  if not folder.is_dir():
    raise UserError(f'The path {folder} is no folder; name the LOGDIR of a run or a folder of results.')
  study = elsewhere.results(folder)
  plan, missing = _plan(study)
  try:
    found, metric, notes = plot.gather([study], plan and plan.metric)
  except UserError as e:
    if 'There are no scores' not in str(e) or plan and plan.metric:
      raise
    raise UserError(
        f'The folder {folder} is neither the LOGDIR of a run nor a folder with scores of finished runs; '
        'name one of these.') from e
  comparable.against(found[metric], against)
  against = against or (plan.against if plan else comparison.baseline(found[metric]))
  table = plot.tabulate(found, metric, against)
  runs = _runs(study, missing)
  notes += [*comparable.remarks(found[metric], metric, against), *comparable.mixed(runs)]
  tasks = list(dict.fromkeys(x['task'] for x in found[metric]))
  sections = [
      ('curves', 'Learning curves', [x for k in plot.compared(found, metric) for x in _curves(found[k], k)]),
      ('differences', f'Differences to {against}', _differences(table, tasks, against, metric)),
      ('table', 'Comparison', [_table(table)]),
      ('sources', 'Relevance and usefulness of the sources', _relevance(runs) + _execution(runs)),
      ('runs', 'Runs', [_listed(runs)] if runs else []),
      ('notes', 'Notes', [page.words(*(x.removeprefix('Note: ') for x in notes))] if notes else []),
      ('settings', 'What was to run', [page.lines(
          f'{plan.path.name}', plan.text.splitlines(), closed=True)] if plan else []),
      ('missing', 'What is missing', [page.words(*missing)] if missing else [])]
  return dict(
      kicker='Report of a study', title=f'{folder.name}: {_count(found[metric])}',
      lead=_lead(table, against, metric), sections=[x for x in sections if x[2]])


def _plan(folder):
  """Return the matrix of an ablation, None if there is none to be read; and what is missing."""
  path = folder / elsewhere.MATRIX
  if not path.exists():
    return None, ['No matrix.yaml, so that it is not known what was to run.']
  try:
    return matrix.Matrix(path), []
  except UserError as e:
    return None, [str(e)]


def _runs(folder, missing):
  """Return what each run says of itself."""
  try:
    return page.fitting(files.parse(folder, elsewhere.RUNS), [KNOWN])
  except (OSError, ValueError):
    missing.append('No runs.json that can be read: of the runs there is no more than their scores.')
    return []


def _count(rows):
  return ', '.join(count(len({x[key] for x in rows}), key) for key in ('method', 'task', 'seed'))


def _lead(table, against, metric):
  name = comparison.named('paired_difference', metric)
  rows = [x for x in table if x['metric'] == name]
  every = [x for x in rows if x['task'] == 'all']
  if rows and not every:
    yield f'No method has runs of every task that {against} has; differences by task are below.'
    return
  rows = every
  yield (f'Mean {NAMES.get(metric, metric)} over training, minus that of {against} with the same seed, over all '
         'tasks, with 95 % intervals:') if rows else 'Nothing to compare with.'
  for row in rows:
    if row['low'] != row['low']:
      yield f"{row['method']}: {row['mean']:+.3g}, of one pair in a task, or of pairs that are all alike, which tells no interval."
      continue
    side = 'more than' if row['low'] > 0 else 'less than' if row['high'] < 0 else 'no difference shown to'
    yield f"{row['method']}: {row['mean']:+.3g} ({row['low']:.3g} to {row['high']:.3g}), {side} {against}."


def _curves(rows, metric):
  """Return a chart per task: the IQM over seeds and its interval."""
  blocks, methods = [], list(dict.fromkeys(x['method'] for x in rows))
  for task in dict.fromkeys(x['task'] for x in rows):
    mine = [x for x in rows if x['task'] == task]
    series = [
        dict(name=f'{method} ({count(sum(x["method"] == method for x in mine), "seed")})',
             xs=xs, ys=iqm, low=low, high=high, style=methods.index(method))
        for method, (xs, iqm, low, high) in comparison.curves(mine).items()]
    drawn = charts.lines(series, 'env steps', f'{NAMES.get(metric, metric)} (IQM)')
    left = len(series) - charts.MOST
    blocks.append(page.chart(f'{task}: {NAMES.get(metric, metric)}', drawn, (
        f'{left} more methods are in the table alone.' if left > 0 else '')))
  return blocks


def _differences(table, tasks, against, first):
  blocks, methods = [], list(dict.fromkeys(x['method'] for x in table))
  for metric in dict.fromkeys((first, 'score', 'success_any')):
    name = NAMES.get(metric, metric)
    for task in (*tasks, 'all') if len(tasks) > 1 else tasks:
      rows = [
          (f"{x['method']} ({count(x['seeds'], 'pair')}{' per task' * (task == 'all')})", x['mean'], x['low'], x['high'], methods.index(x['method']))
          for x in table if x['task'] == task and x['metric'] == comparison.named('paired_difference', metric)]
      if rows:
        title = f'{"all tasks" if task == "all" else task}: {name} over training, minus {against}'
        blocks.append(page.chart(title, charts.intervals(rows, 'mean over paired seeds, 95 % interval')))
  return blocks


def _table(table):
  return page.table('Means, interquartile means, and 95 % intervals', COLUMNS, [
      tuple(x[k] for k in ('task', 'method', 'metric', 'mean', 'iqm', 'low', 'high', 'seeds', 'steps'))
      for x in table])


def _kinds(runs):
  kinds = collections.defaultdict(list)
  for run in runs:
    kinds[run['method'] or '–', run['task'] or '–'].append(run)
  return kinds


def _relevance(runs):
  """Return a chart per method and task, means over seeds, and a table of where they end."""
  blocks, rows = [], []
  for (method, task), mine in _kinds(runs).items():
    ends = collections.defaultdict(list)
    for run in mine:
      for source, value in run['final_relevance'].items():
        ends[source].append(value)
    rows += [(method, task, k, float(np.mean(v)), min(v), max(v), len(v)) for k, v in ends.items()]
    top = sorted(ends, key=lambda k: -np.mean(ends[k]))[:charts.MOST]
    series = [dict(name=k, **_mean([x['relevance'] for x in mine], k)) for k in top]
    series = [x for x in series if len(x['xs'])]
    if series:
      blocks.append(page.chart(
          f'{method} on {task}: relevance', charts.lines(series, 'env steps', 'relevance', ylim=(0, 1)),
          f'Means over {count(len(mine), "seed")}' + f'; the {len(top)} most relevant of {len(ends)} sources' * (
              len(ends) > len(top)) + '.'))
  if rows:
    blocks.append(page.table('Relevance at the end, over seeds', (
        'method', 'task', 'source', 'mean', 'least', 'most', 'seeds'), rows))
  return blocks


def _mean(logs, source):
  """Return the mean curve of a source over the steps that all runs' logs span."""
  curves = [[(x['step'], x[source]) for x in log if 'step' in x and source in x] for log in logs]
  curves = [sorted(x) for x in curves if x]
  first, last = (fn((x[i][0] for x in curves), default=0) for fn, i in ((max, 0), (min, -1)))
  if not curves or first > last:
    return dict(xs=[], ys=[])
  xs = np.linspace(first, last, 30)
  return dict(xs=xs, ys=np.mean([np.interp(xs, *zip(*x)) for x in curves], 0))


def _execution(runs):
  """Return the table of who carried out training episodes, and what these earned, means over seeds."""
  rows = []
  for (method, task), mine in _kinds(runs).items():
    names = dict.fromkeys(k for x in mine for k in x['execution'])
    for name in names:
      got = lambda key, name=name, mine=mine: [
          x['execution'][name][key] for x in mine if key in x['execution'].get(name, {})]
      episodes, earned = got('episodes'), got('earned')
      rows.append((method, task, logdir.POLICY.get(name, name), *(float(np.mean(x)) if x else None for x in (episodes, earned))))
  return [page.table('Who carried out training episodes, means over seeds', (
      'method', 'task', 'source', 'episodes', 'return per episode'), rows)] if rows else []


def _listed(runs):
  spent = lambda x: sum(x['stages'].values())
  return page.table('Every run', (
      'method', 'task', 'seed', 'env steps', 'updates', 'time', 'last score', 'success at any step', 'teacher'), [
      (x['method'] or None, x['task'] or None, x['seed'], x['env_steps'], x['updates'],
       (clock(spent(x)), spent(x)), x['eval'].get('score'), x['eval'].get('success_any'),
       (x['teacher'] or '')[:12] or None) for x in runs])
