"""Run a matrix of variants, tasks and seeds, and compare the variants."""

import contextlib
import json
import os
import pathlib
import re
import signal
import threading

from ..common import files, lock, parallel, progress
from ..common.errors import UserError
from ..common.output import say
from ..training import curves, scores, summary
from . import matrix, plot, report

TAIL = 2 ** 16  # Bytes of a log in which its newest step is looked for.


def add_parser(sub):
  """Add the command `ablate` to the subparsers `sub`."""
  parser = sub.add_parser(
      'ablate', help='run variants x tasks x seeds and compare them', description=__doc__)
  add = parser.add_argument
  add('matrix', metavar='FILE', help='such as configs/ablations/cpu.yaml')
  add('--out', metavar='DIR', help='gets a logdir per run, METHOD/TASK/SEED; default: runs/NAME')
  add('--jobs', type=int, default=0, help='runs at once, each on cores of its own; 0: one per core')
  add('--minutes', type=float, default=0,
      help='stop after so long: runs save, and the same command continues')
  add('--dry-run', action='store_true', help='only list the runs')
  parser.set_defaults(run=main)


def main(args):
  """Run the command line `vid2act ablate`."""
  plan = matrix.Matrix(args.matrix)
  out = pathlib.Path(args.out or pathlib.Path('runs') / plan.path.stem).expanduser().resolve()
  parallel.places(args.jobs)
  ablation = Ablation(plan, out)
  if args.dry_run:
    return ablation.show()
  with lock.locked(out, wait=False), _stoppable(args.minutes) as over:
    try:
      failed = ablation.run(args.jobs)
    except (KeyboardInterrupt, SystemExit) as e:
      if isinstance(e, UserError):
        raise
      say('Stopped: what ran has saved, and the same command continues.')
      ablation.compare()
      if not over():
        raise SystemExit(130) from None
      return
  ablation.compare()
  if failed:
    raise UserError(
        f'{len(failed)} of the runs failed, the first one {failed[0]}; its last words are in '
        f"{out / failed[0] / 'log.txt'}; repeat the command to continue them.")


class Ablation:
  """The runs of a matrix in the folder `out`.

  Finished ones are skipped, broken ones continued, and one that another process
  is at work on is waited for. `out/results` holds what is worth keeping, and
  grows with every run that ends: scores, the matrix, and what each run says of
  itself.
  """

  def __init__(self, plan, out):
    self.plan, self.out, self.overlays = plan, out, out / 'overlays'
    self.results, self.owners = out / 'results', {}
    self.ended, self.told = set(), set()
    self._compare_with_before()
    plan.write(self.overlays)
    self.configs = plan.configurations(self.overlays)

  def show(self):
    """Print every run, whether it is finished, and its command."""
    shown, total = 0, sum(map(self.steps, self.plan.runs))
    for run in self.plan.runs:
      state = 'finished' if self.finished(run) else f'{self.step(run):,} of {self.steps(run):,} env steps'
      say(f'{run.name}: {state}')
      say('  ' + ' '.join(self.plan.command(run, self.overlays, self.logdir(run))[1:]))
      shown += self.step(run)
    say(f'{len(self.plan.runs)} runs, {shown:,} of {total:,} env steps; every run of a method with a '
          'teacher gets --vid2act.teacher, made once.')

  def run(self, count):
    """Make what the runs share and run them, `count` at once; return the names of those that failed."""
    todo = {x.name: x for x in self.plan.runs if not self.finished(x)}
    say(f'{len(self.plan.runs)} runs, {len(self.plan.runs) - len(todo)} of them finished, in {self.out}')
    self.gather()  # Now, so that a folder knows its matrix before the first run ends.
    commands, failed = self._commands(todo.values()), []
    with progress.bar('ablate', sum(map(self.steps, self.plan.runs)), 'env steps') as bar:
      poll = lambda: bar.set(sum(map(self.step, self.plan.runs)))
      poll()
      for name, status in parallel.run_commands(
          commands, count, lambda x: self.out / x / 'log.txt', poll, lambda x: self._needed(todo[x])):
        failed += [name] * bool(status)
        self.gather()
        done = sum(map(self.finished, self.plan.runs))
        bar.text(f'{done} of {len(self.plan.runs)} runs' + f', {len(failed)} failed' * bool(failed))
    return failed

  def compare(self):
    """Write table, picture and report of the runs that are finished, if there are any."""
    self.gather()
    if any(map(self.finished, self.plan.runs)):
      plot.plot([self.results], self.out, self.plan.against)
      report.after(self.out, keep=lambda folder: None)

  def gather(self):
    """Write scores and summaries of all finished runs into `out/results`."""
    runs = [x for x in self.plan.runs if self.finished(x)]
    found = scores.read([self.logdir(x) / 'scores' for x in runs])
    for metric, rows in found.items():
      scores.save(self.results / 'scores' / f'{metric}.json.gz', rows)
    for name, content in (
        ('matrix.yaml', self.plan.path.read_text(encoding='utf-8')),
        ('runs.json', json.dumps([self._about(x) for x in runs], indent=1))):
      self.results.mkdir(parents=True, exist_ok=True)
      with files.atomic_write(self.results / name) as part:
        part.write_text(content, encoding='utf-8')

  def logdir(self, run):
    return self.out / run.name

  def steps(self, run):
    """Return how many env steps a run is to have."""
    config = self.configs[run.method, run.task]
    return int(config.run.steps) * config.env.get(run.task.split('_')[0], {}).get('repeat', 1)

  def step(self, run):
    """Return the env step that a run has reached, as far as it is logged."""
    if self.finished(run):
      return self.steps(run)
    path = self.logdir(run) / 'metrics.jsonl'
    if not path.is_file():
      return 0
    with open(path, 'rb') as file:
      file.seek(max(0, path.stat().st_size - TAIL))
      found = re.findall(rb'"step": (\d{1,15})[,}]', file.read())
    return min(int(found[-1]), self.steps(run)) if found else 0

  def finished(self, run):
    """Say whether a run has ended and left what can be read; any other is continued."""
    if run not in self.ended and self._whole(run):
      self.ended.add(run)
    return run in self.ended

  def _whole(self, run):
    folder = self.logdir(run)
    about, fault = summary.read(folder), ''
    if about and about['env_steps'] < self.steps(run):
      return False
    if not about and (folder / summary.FILE).exists():
      fault = f'{folder / summary.FILE} is no summary of a run'
    try:
      scores.read([folder / 'scores'] if about else [])
    except UserError as e:
      fault = str(e).removesuffix('.')
    if fault and run not in self.told:
      self.told.add(run)
      say(f'Note: {run.name} does not count as finished, so that it makes its results again: {fault}.')
    return bool(about) and not fault

  def _needed(self, run):
    """Say whether a run is to be started now; None while another process is at work on it."""
    owner = lock.owner(self.logdir(run))
    if owner and self.owners.get(run) != owner:
      say(f'{run.name}: waiting for {owner}, which is at work on it')
    self.owners[run] = owner
    return None if owner else not self.finished(run)

  def _commands(self, runs):
    """Return the commands, with recordings and teacher made once for all seeds."""
    from .. import prepare
    commands, teachers = {}, {}
    for run in runs:
      kind = run.method, run.task
      if kind not in teachers:
        made = self.configs[kind].update(seed=0, logdir=str(self.out / 'prepared' / run.method))
        teachers[kind] = prepare.prepare(made).vid2act.teacher
      more = ['--vid2act.teacher', teachers[kind]] if teachers[kind] else []
      commands[run.name] = self.plan.command(run, self.overlays, self.logdir(run), *more)
    return commands

  def _about(self, run):
    """Return what a run says of itself, and its relevance over time."""
    rows, key = curves.metrics(self.logdir(run)), 'train/relevance/'
    relevance = [
        {'step': x['step'], **{k.removeprefix(key): round(v, 4) for k, v in x.items() if k.startswith(key)}}
        for x in rows if any(k.startswith(key) for k in x)]
    ours = dict(method=run.method, relevance=relevance)
    return {**ours, **(summary.read(self.logdir(run)) or {}), **ours}

  def _compare_with_before(self):
    """Refuse a folder in which runs were begun with other settings."""
    path = self.results / 'matrix.yaml'
    if not path.exists():
      return
    before = matrix.Matrix(path)
    begun = {x.parts[-5] for x in self.out.glob('*/*/*/ckpt/latest')}
    changed = [
        f'variants.{k}' for k in sorted(begun & before.variants.keys() & self.plan.variants.keys())
        if before.variants[k] != self.plan.variants[k]]
    changed += ['configs'] * bool(begun and before.configs != self.plan.configs)
    if changed:
      raise UserError(
          f'The runs in {self.out} were begun with another {changed[0]} than {self.plan.path} has; '
          f'name another folder (--out), or go back to {path}.')


@contextlib.contextmanager
def _stoppable(minutes):
  """Turn SIGTERM into Ctrl-C and send it to ourselves after `minutes`, unless 0.

  Yields a function that tells whether that time is over.
  """
  before = signal.signal(signal.SIGTERM, signal.default_int_handler)
  timer = threading.Timer(60 * minutes, os.kill, (os.getpid(), signal.SIGTERM))
  if minutes:
    timer.start()
  try:
    yield timer.finished.is_set
  finally:
    timer.cancel()
    signal.signal(signal.SIGTERM, before)
