"""The runs of a matrix in one folder: planned, followed while they run, and gathered."""

import contextlib
import json
import os
import shlex
import sys
import time

from ruamel.yaml import YAML

from ..common import files, lock, progress
from ..common.errors import UserError
from ..common.output import say
from ..envs import suites
from ..training import curves, scores, summary
from . import begun, comparable, elsewhere, logdir, overlays, plot, report

SHARED = 'vid2act.teacher', 'vid2act.cloned'
PREPARED = 'prepared'  # What the runs share: folder, and name of the command that makes it.
LATE = 60  # Seconds after which a node sees what another has written.


class Ablation:
  """The runs of a matrix in the folder `out`.

  Finished ones are skipped, broken ones continued, and one that another process
  is at work on is waited for. Those whose results lie in the folders `merged` were
  finished elsewhere. `out/results` holds what is worth keeping, and
  grows with every run that ends: scores, the matrix, and what each run says of
  itself. It can be sent to another process, on a node that sees the folder.
  """

  def __init__(self, plan, out, merged=()):
    self.plan, self.out, self.overlays = plan, out, out / 'overlays'
    self.runs = {x.name: x for x in plan.runs}
    self.results, self.owners = out / 'results', {}
    self.ended, self.told, self.failed = {}, set(), []  # {run: Finished}, whatever becomes of its logdir.
    self.configs = plan.resolved()
    self.settings = plan.settings(self.configs)
    begun.check(self)
    self.elsewhere = elsewhere.read(merged, self)
    if owner := lock.owner(out):
      plan.write(self.overlays, owner)
    else:  # Under the lock, as another may begin at the same time.
      with lock.locked(out, wait=False):
        plan.write(self.overlays)
    # Results that were copied here, or merged before, are not lost when the option is not repeated, but
    # a run that has left something to continue makes its own.
    if (self.results / elsewhere.RUNS).is_file():
      kept = elsewhere.read([self.results], self, [x for x in plan.runs if not self._left(x)])
      elsewhere.refuse_other(self.results, kept, self.elsewhere)
      self.elsewhere = {**kept, **self.elsewhere}
      elsewhere.refuse_strange(self.results, self)

  def show(self):
    """Print every run, whether it is finished, and its command."""
    shown, total = 0, sum(map(self.steps, self.plan.runs))
    for run in self.plan.runs:
      state = 'finished' if self.finished(run) else f'{self.step(run):,} of {self.steps(run):,} env steps'
      say(f'{run.name}: {state}')
      say('  ' + shlex.join(self.plan.command(run, self.overlays, self.logdir(run))))
      shown += self.step(run)
    say(f'{len(self.plan.runs)} runs, {shown:,} of {total:,} env steps; what runs '
          'share, recordings, teachers and behaviours, is made once.')

  def run(self, start, here=True):
    """Run what is not finished; `failed` are the names of the runs that failed, also when this is stopped.

    start: runs commands, as `parallel.run_commands`. here: make what the runs
    share first; otherwise by a command like theirs, which is `after` for them.
    """
    self.plan.write(self.overlays)  # Another may have written its own until `out` was locked.
    todo = {k: x for k, x in self.runs.items() if not self.finished(x)}
    say(f'{len(self.runs)} runs, {len(self.runs) - len(todo)} of them finished, in {self.out}')
    self.gather()  # Now, so that a folder knows its matrix before the first run ends.
    commands = {k: self._command(x) for k, x in todo.items()}
    if any(map(self.after, todo)):
      commands = commands if here else {PREPARED: self._preparation(), **commands}
    if here:
      self.prepare()
    self.failed, ended_well = [], []
    poll = lambda: bar.set(sum(map(self.step, self.plan.runs)))
    with progress.bar('ablate', sum(map(self.steps, self.plan.runs)), 'env steps') as bar, (
        contextlib.closing(start(commands, logs=self.log, poll=poll, needed=self.needed))) as ended:
      poll()
      for name, status in ended:
        if name == PREPARED:
          self._prepared(status)
          continue
        self.failed += [name] * bool(status)
        ended_well += [name] * (not status)
        self.gather()
        done = sum(map(self.finished, self.plan.runs))
        bar.text(f'{done} of {len(self.runs)} runs' + f', {len(self.failed)} failed' * bool(self.failed))
    self.failed += self._lost(ended_well, 0 if here else LATE)

  def _lost(self, names, seconds):
    """Return which of the runs that ended well left nothing that can be read within so many seconds."""
    until = time.monotonic() + seconds
    while (lost := [x for x in names if not self.finished(self.runs[x])]) and time.monotonic() < until:
      time.sleep(1)
    return lost

  def prepare(self):
    """Make recordings, teachers and behaviours, once for all seeds, and overlays that name them for the runs."""
    from .. import prepare
    with lock.locked(self.out / PREPARED):
      for run, config in self.kinds():
        path, made = self._shared(run), prepare.prepare(config)
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.atomic_write(path) as part:
          YAML().dump({x: made[x] for x in SHARED}, part)

  def kinds(self):
    """Return a run and the settings of what it shares, for each variant and task with runs that are not finished."""
    found = {(x.method, x.task): x for x in self.plan.runs if not self.finished(x)}
    return [(x, self.configs[kind].update(seed=0, logdir=str(self._shared(x).parent))) for kind, x in found.items()]

  def after(self, name):
    """Return the name of the command that a run waits for; None if it takes nothing from others."""
    from .. import prepare
    run = self.runs.get(name)
    return PREPARED if run and prepare.shares(self.configs[run.method, run.task]) else None

  def places(self):
    """Return the folders that every node has to share, and the other paths that it has to have."""
    kinds = {(x.method, x.task): k for k, x in self.runs.items()}
    caches = {self.configs[kind].vid2act.cache for kind, name in kinds.items() if self.after(name)}
    return [str(self.out), *sorted(caches)], [sys.executable, os.getcwd()]

  def compare(self):
    """Write table, picture and report of the runs that are finished, if there are any."""
    self.gather()
    if any(map(self.finished, self.plan.runs)):
      say(*comparable.mixed([self._left_by(x).about for x in self.plan.runs if self.finished(x)]))
      plot.plot([self.results], self.out, self.plan.against, self.plan.metric)
      report.after(self.out, keep=lambda folder: None)

  def gather(self):
    """Write scores and summaries of all finished runs into `out/results`."""
    runs = [x for x in self.plan.runs if self.finished(x)]
    found = {}
    for run in runs:
      for metric, row in self._left_by(run).scores.items():
        found.setdefault(metric, []).append(row)
    order = {(x.method, x.task, x.seed): i for i, x in enumerate(self.plan.runs)}
    for metric in scores.METRICS:  # In the order of the plan, wherever they were made: so are tasks and methods in a table.
      rows = sorted(found.get(metric, ()), key=lambda x: order.get((x['method'], x['task'], x['seed']), 0))
      scores.replace(self.results / 'scores' / f'{metric}.json.gz', rows)
    for name, content in (
        (elsewhere.MATRIX, self.plan.text), (elsewhere.SETTINGS, json.dumps(self.settings)),
        (elsewhere.RUNS, json.dumps([self._left_by(x).about for x in runs], indent=1))):
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
    return min(logdir.step(self.logdir(run)), self.steps(run))

  def finished(self, run):
    """Say whether a run has ended and left what can be read; any other is continued."""
    if run not in self.ended:
      whole, fault = self._whole(run)
      if whole:
        self.ended[run] = whole
      elif fault and run not in self.elsewhere and run not in self.told:
        self.told.add(run)
        say(f'Note: {run.name} does not count as finished, so that it makes its results again: {fault}.')
    return run in self.ended or run in self.elsewhere

  def _left(self, run):
    return any((self.logdir(run) / x).exists() for x in ('ckpt', summary.FILE))

  def _whole(self, run):
    """Return what a run has left that ended in its own logdir, else None, and what is wrong with it."""
    folder = self.logdir(run)
    about, fault = summary.read(folder), ''
    if about and about['env_steps'] < self.steps(run):
      return None, ''
    if not about and (folder / summary.FILE).exists():
      fault = f'{folder / summary.FILE} is no summary of a run'
    try:
      found = scores.read([folder / 'scores']) if about else {}
      if about and not found:
        fault = f'there are no scores in {folder / "scores"}'
    except UserError as e:
      fault = str(e).removesuffix('.')
    if not about or fault:
      return None, fault
    return elsewhere.Finished(self._about(run, about), {k: rows[0] for k, rows in found.items()}), ''

  def needed(self, name):
    """Say whether a command is to be started now; None while another process is at work on its run."""
    if name == PREPARED:
      return True
    run = self.runs[name]
    owner = lock.owner(self.logdir(run))
    if owner and self.owners.get(run) != owner:
      say(f'{name}: waiting for {owner}, which is at work on it')
    self.owners[run] = owner
    return None if owner else not self.finished(run)

  def log(self, name):
    return self.out / name / 'log.txt'

  def _command(self, run):
    shared = [str(self._shared(run))] if self.after(run.name) else []
    return self.plan.command(run, self.overlays, self.logdir(run), *shared)

  def _shared(self, run):
    """Return the overlay that names what a run shares with others, see `prepare`."""
    return self.out / PREPARED / run.method / suites.filename(run.task) / 'teacher.yaml'

  def _preparation(self):
    # That file, and what it names, are as they were when this command began.
    return [sys.executable, '-m', 'vid2act_plugin.cli', 'ablate', str(self.overlays / overlays.FROZEN),
            '--out', str(self.out), '--prepare']

  def _prepared(self, status):
    if status:
      raise UserError(
          f'What the runs share could not be made; the last words are in {self.log(PREPARED)}; mend what '
          'they name, and repeat the command.')

  def _left_by(self, run):
    return self.ended.get(run) or self.elsewhere[run]

  def _about(self, run, about):
    """Return what a run says of itself, and its relevance over time."""
    relevance = [
        {'step': step, **{k: round(v, 4) for k, v in x.items()}}
        for step, x in curves.relevance(curves.metrics(self.logdir(run)))]
    ours = dict(method=run.method, relevance=relevance)
    return {**ours, **about, **ours}
