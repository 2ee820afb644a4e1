"""Compare finished runs: table, CSV and picture with intervals over seeds."""

import csv
import pathlib

from ..common import files, images, progress
from ..common.errors import UserError
from ..common.output import count, say
from ..training import scores
from . import comparable, comparison

ABREAST = 3  # Panels of a picture side by side; more are too small to read where it is shown.


def add_parser(sub):
  """Add the command `plot` to the subparsers `sub`."""
  parser = sub.add_parser('plot', help='compare finished runs', description=__doc__)
  add = parser.add_argument
  add('paths', nargs='+', metavar='LOGDIR', help='runs, or folders that have runs or scores in them')
  add('--out', required=True, metavar='DIR', help='gets comparison.csv, comparison.md, comparison.png')
  add('--against', help='method that the others are compared with; default: stock, or dreamerv3 where no run is called so')
  add('--metric', choices=scores.METRICS,
      help='what the picture shows; default: score, or train_score where no run was evaluated')
  add('--reference', nargs='+', default=[], metavar='FILE',
      help="published curves for the picture: DreamerV3's scores/*.json.gz, APV's data/*.pkl")
  parser.set_defaults(run=main)


def main(args):
  """Run the command line `vid2act plot`."""
  for path in args.paths:
    if not pathlib.Path(path).expanduser().exists():
      raise UserError(f'The path {path} does not exist; name a LOGDIR or a folder of runs.')
  plot(args.paths, args.out, args.against, args.metric, args.reference, chosen=True)


def plot(paths, out, against=None, metric=None, references=(), chosen=False):
  """Write `comparison.csv`, `.md` and `.png` of all runs below `paths` into `out`; print the table."""
  found, metric, before = gather(paths, metric)
  if chosen:  # Of a study that goes on, runs of it may still be to come.
    comparable.against(found[metric], against)
  against = against or comparison.baseline(found[metric])
  tasks = {x['task'] for x in found[metric]}
  known = [row for path in references for row in _published(path, metric, tasks, found)]
  shown, notes = comparable.comparable([x for x in known if x['task'] in tasks], 'the published curves')
  notes += before
  out = pathlib.Path(out).expanduser()
  out.mkdir(parents=True, exist_ok=True)
  with progress.waiting('comparing'):
    table = tabulate(found, metric, against)
    with files.atomic_write(out / 'comparison.csv') as part, open(
        part, 'w', encoding='utf-8', newline='') as file:
      writer = csv.DictWriter(file, comparison.COLUMNS, lineterminator='\n')
      writer.writeheader()
      writer.writerows({k: _number(v) for k, v in row.items()} for row in table)
    text = markdown(table, against)
    with files.atomic_write(out / 'comparison.md') as part:
      part.write_text(text, encoding='utf-8')
    wrote = ['comparison.csv', 'comparison.md']
    if images.drawing():
      picture(out / 'comparison.png', found[metric], table, against, metric, shown)
      wrote.append('comparison.png')
  say(*text.split('\n'), *notes, *comparable.remarks(found[metric], metric, against, known))
  say(f'Wrote {", ".join(wrote)} into {out}')


def gather(paths, metric=None):
  """Return the rows of all runs below `paths` that can be compared, `{metric: rows}`.

  And what the picture shows: `metric`, or by default the one that fits; and notes on what is
  left out. Raises a `UserError` if nothing is left.
  """
  found = _policies(scores.read(paths), metric)
  where = ', '.join(map(str, paths))
  metric = metric or ('score' if 'score' in found or 'train_score' not in found else 'train_score')
  if metric not in found:
    there = f'; there are {", ".join(found)}' * bool(found)
    raise UserError(
        f'There are no scores of the metric {metric} below {where}{there}. Finished '
        "runs have them in LOGDIR/scores/, and DreamerV3's own, which have train_score alone, in "
        'metrics.jsonl beside their config.yaml.')
  notes = _without(found, metric)
  for name in compared(found, metric):
    found[name], more = comparable.comparable(found[name], f'the curves of {name}')
    notes += more
    if name == metric and not found[name]:
      raise UserError(
          f'There is nothing to compare below {where}: '
          f"{more[-1].removeprefix('Note: ').removesuffix('.')}; name other runs.")
  return found, metric, notes


def _policies(found, wanted):
  """Return the rows `{metric: rows}`, with those of the policy alone also for runs in which nobody else acts.

  wanted: a metric that is asked for, also where all runs are such.
  """
  for metric in [x for x in {**found, wanted: []} if x and x.startswith('policy_')]:
    told = set(map(_run, found.get(metric, ())))
    rows = [*found.get(metric, ()), *(x for x in found.get(_quantity(metric), ()) if _run(x) not in told)]
    found.update({metric: rows} if rows else {})
  return found


def tabulate(found, metric, against):
  """Return the table of all metrics that are compared, see `comparison.compare`."""
  return [row for x in compared(found, metric) for row in comparison.compare(found[x], against, x)]


def compared(found, metric):
  """Return the metrics that a comparison has, the one that is asked for first."""
  return list(dict.fromkeys([metric, *(x for x in scores.METRICS if x in found and x not in ('length', 'train_score'))]))


def _published(path, metric, tasks, found):
  """Return published curves; those that would be drawn have to measure what the picture shows."""
  kinds, rows = scores.measured(path, scores.reference(path))
  for name, row in zip(kinds, rows):
    if row['task'] in tasks and _quantity(name) != _quantity(metric):
      same = next((x for x in scores.METRICS if x in found and _quantity(x) == _quantity(name)), None)
      raise UserError(
          f'The reference {path} has {name} of {row["task"]}, but the picture shows {metric}; '
          + (f'add --metric {same}, or ' if same else '') + 'leave the file out.')
    if row['task'] in tasks and 'success' in name and max(row['ys']) > 1:
      raise UserError(
          f'The reference {path} has a success rate of {100 * max(row["ys"]):.3g} % on {row["task"]}; give it shares '
          'from 0 to 1 or percent, or leave the file out.')
  return rows


def _quantity(metric):
  """Return what a metric measures, whoever acts in which episodes."""
  return metric.removeprefix('train_').removeprefix('policy_')


def _run(row):
  return row['method'], row['task'], row['seed']


def _without(found, metric):
  """Return notes on runs that have other metrics alone."""
  lacking = sorted(set(map(_run, found.get('train_score', []))) - set(map(_run, found[metric])))
  if not lacking:
    return []
  method, task, seed = lacking[0]
  return [
      f'Note: without {metric}, and so left out: {count(len(lacking), "run")}; the first is {method} with the '
      f'seed {seed} on {task}. All have train_score; see --metric.']


def markdown(table, against):
  """Return the table of a comparison for people: estimate, and in brackets the 95 % interval."""
  lines = [
      f'Intervals are of 95 %: of the IQM by bootstrap; of the mean of differences to {against} by Student, and of the '
      'probability of improvement by bootstrap.', '',
      '| task | method | metric | mean | IQM | interval | seeds | steps |',
      '|---|---|---|---|---|---|---|---|']
  for row in table:
    mean, iqm, low, high = (f'{row[k]:.3g}' for k in ('mean', 'iqm', 'low', 'high'))
    bounds = f'{low} to {high}' if row['low'] == row['low'] else ''
    lines.append(
        f"| {_cell(row['task'])} | {_cell(row['method'])} | {row['metric']} | {mean} | {iqm} | {bounds} "
        f"| {row['seeds']} | {row['steps']:,.0f} |")
  return '\n'.join(lines) + '\n'


def picture(path, rows, table, against, metric, known=()):
  """Draw sample-efficiency curves per task, and differences to `against` over paired seeds."""
  tasks = list(dict.fromkeys(x['task'] for x in rows))
  name = comparison.named('paired_difference', metric)
  differences = [x for x in table if x['metric'] == name and x['task'] == 'all']
  panels = len(tasks) + bool(differences)
  methods = list(dict.fromkeys(x['method'] for x in rows))
  color = {x: f'C{i % 10}' for i, x in enumerate(methods)}
  columns = min(panels, ABREAST)
  lines = -(-panels // columns)
  with images.figure(
      path, lines, columns, figsize=(4.4 * columns, 3.6 * lines), squeeze=False, layout='constrained') as (_, axes):
    axes = axes.flatten()
    for ax in axes[panels:]:
      ax.set_visible(False)
    for ax, task in zip(axes, tasks):
      mine = [x for x in rows if x['task'] == task]
      for method, curve in comparison.curves(mine).items():
        seeds = count(sum(x['method'] == method for x in mine), 'seed')
        band(ax, curve, color[method], f'{images.label(method)} ({seeds})')
      ax.set_xlim(ax.get_xlim())  # Published curves may be far longer.
      for i, (method, (xs, iqm, _, _)) in enumerate(_known(known, task)):
        ax.plot(xs, iqm, '--', color='0.4' if not i else f'C{(len(methods) + i) % 10}',
                label=f'{images.label(method)} (published)')
      ax.set(title=images.label(task), xlabel='env steps', ylabel=f'{metric} (IQM)')
      ax.grid(alpha=0.3)
      ax.legend(fontsize=7)
    if differences:
      _differences(axes[panels - 1], differences, color, f'{metric} over training, minus {images.label(against)}', len(tasks) > 1)


def _differences(ax, rows, color, title, every):
  title, each = 'all tasks:\n' * every + title, ' per task' * every  # `seeds` is that of the task with the fewest.
  for y, row in enumerate(rows):
    ax.plot([row['low'], row['high']], [y, y], color=color[row['method']], linewidth=3, alpha=0.5)
    ax.plot([row['mean']], [y], 'o', color=color[row['method']])
  ax.axvline(0, color='0.5', linewidth=1)
  ax.set(title=title, xlabel='mean over paired seeds, 95 % interval', yticks=range(len(rows)),
         yticklabels=[f"{images.label(x['method'])} ({count(x['seeds'], 'pair')}{each})" for x in rows])
  ax.locator_params(axis='x', nbins=5)
  ax.invert_yaxis()
  ax.grid(alpha=0.3, axis='x')


def band(ax, curve, color, label):
  """Draw one method's `(xs, iqm, low, high)`: the IQM, and its interval as a band."""
  xs, iqm, low, high = curve
  ax.plot(xs, iqm, color=color, label=label)
  ax.fill_between(xs, low, high, color=color, alpha=0.2, linewidth=0)


def _known(known, task):
  mine = [x for x in known if x['task'] == task]
  return comparison.curves(mine).items() if mine else ()


def _cell(name):
  return name.replace('|', r'\|')


def _number(value):
  return f'{value:.6g}' if isinstance(value, float) else value
