"""Run a matrix of variants, tasks and seeds, and compare the variants."""

import contextlib
import io
import os
import pathlib
import signal
import threading
from functools import partial as bind

from ..common import cluster, lock, parallel
from ..common.errors import SHOWN, UserError
from ..common.output import say
from ..envs import suites
from . import matrix
from .ablation import Ablation


def add_parser(sub):
  """Add the command `ablate` to the subparsers `sub`."""
  parser = sub.add_parser(
      'ablate', help='run variants x tasks x seeds and compare them', description=__doc__)
  add = parser.add_argument
  add('matrix', metavar='FILE', help='such as configs/ablations/cpu.yaml')
  add('--out', metavar='DIR', help='gets a logdir per run, METHOD/TASK/SEED; default: runs/NAME')
  add('--jobs', type=int, default=0, help='runs at once, each on cores of its own; 0: one per core')
  cluster.add_options(add)
  add('--merge', nargs='+', action='extend', default=[], metavar='RESULTS',
      help='results of the same matrix from elsewhere, OUT/results; their runs count as finished')
  add('--minutes', type=float, default=0,
      help='stop after so long: runs save, and the same command continues')
  add('--dry-run', action='store_true', help='only list the runs and their commands, with the overlays that these read, which OUT gets')
  add('--prepare', action='store_true', help='only make what the runs share: recordings, teachers, behaviours')
  parser.set_defaults(run=main)


def main(args):
  """Run the command line `vid2act ablate`."""
  plan = matrix.Matrix(args.matrix)
  out = pathlib.Path(args.out or pathlib.Path('runs') / plan.path.stem).expanduser().resolve()
  if not 0 <= args.minutes < 1e6:
    raise UserError(f'The option --minutes is {args.minutes:g}; give minutes, or 0 for no end.')
  if args.prepare and args.ray is not None:
    raise UserError(
        'The option --prepare makes what runs share on this machine, which --ray is not for; leave one of them out: with '
        '--ray alone a node makes it before the runs.')
  parallel.places(args.jobs)
  cluster.check(args, 'jobs')
  ablation = Ablation(plan, out, args.merge)
  if args.dry_run:
    ablation.show()
    return _check(ablation, listed=True)
  _check(ablation)
  if args.prepare:
    with _stoppable(args.minutes) as over:
      interrupted = _interrupted(ablation.prepare, over)
  else:
    with lock.locked(out, wait=False), _spread(args, ablation) as start, _stoppable(args.minutes) as over:
      interrupted = _interrupted(bind(ablation.run, start, args.ray is None), over)
    try:
      ablation.compare()
    except UserError as e:
      if not ablation.failed:
        raise
      say(f'Note: there is no comparison: {e}')
  if failed := ablation.failed:
    named = ', '.join(failed[:SHOWN]) + f' and {len(failed) - SHOWN} more' * (len(failed) > SHOWN)
    raise UserError(
        f'{len(failed)} of the runs failed, {named}; the last words of the first one are in '
        f'{ablation.log(failed[0])}; repeat the command to continue them.')
  if interrupted:
    raise SystemExit(130)


def _check(ablation, listed=False):
  """Raise a `UserError` where runs that are not finished could only fail, before anything is made for others.

  listed: what can still be brought before they begin, such as data and teachers, is only told.
  """
  from dreamerv3 import plugins, values

  from .. import prepare
  plan = ablation.plan
  found = [suites.SUITES.get(x.partition('_')[0]) for x in plan.tasks]
  if 'success' in (plan.metric or '') and all(x and not x.success for x in found):
    raise UserError(
        f"The key metric of the ablation {plan.path} is '{plan.metric}', but none of its tasks tells success; give it "
        'score, or leave it out.')
  tables = [plugins.mapping(x['values'], 'The values') for x in plugins.load().values() if 'values' in x]
  for run, config in ablation.kinds():
    what = f"The variant '{run.method}' of {ablation.plan.path} cannot run {run.task}"
    for fault in (x for table in tables for x in values.faults(config.flat, table)):
      raise UserError(f'{what}: {fault}')
    if config.agent.typ == 'dreamerv3' and (idle := plan.of_ours(run.method)):
      raise UserError(
          f'{what}: it gives {", ".join(idle[:SHOWN])}, but agent.typ is dreamerv3, stock, which does not know that; put '
          'vid2act before what gives it, or leave that out.')
    if config.script == 'train' and plan.metric not in (None, 'train_score'):
      raise UserError(
          f"{what}: the script train never evaluates, and the key metric is '{plan.metric}'; set script to train_eval, or "
          'metric to train_score.')
    if config.run.eval_every <= 0 or config.script not in ('train', 'train_eval'):
      raise UserError(
          f'{what}: with run.eval_every {config.run.eval_every:g} and script {config.script} it would leave no scores to '
          'compare; set script to train_eval, and run.eval_every to the env steps between evaluations.')
    try:
      suites.check(run.task)
    except UserError as e:
      raise UserError(f'{what}: {e}') from e
    try:
      with contextlib.redirect_stdout(io.StringIO()):  # Notes are for its own log.
        prepare.checked(config)
    except UserError as e:
      if not listed:
        raise UserError(f'{what}: {e}') from e
      say(f'Note: {what[0].lower()}{what[1:]} as things are: {e}')


def _interrupted(work, over):
  """Do the work, as far as there is time, and say whether it was interrupted before that was over."""
  try:
    work()
  except (KeyboardInterrupt, SystemExit) as e:
    if isinstance(e, UserError):
      raise
    say('Stopped: what ran has saved, and the same command continues.')
    return not over()
  return False


@contextlib.contextmanager
def _spread(args, ablation):
  """Yield what runs commands: here, or over a cluster whose nodes share what runs read and write."""
  if args.ray is None:
    yield bind(parallel.run_commands, count=args.jobs)
    return
  with cluster.Cluster(args.ray, args.cpus, args.gpus) as found:
    found.shared(*ablation.places())
    yield bind(found.run_commands, after=ablation.after)


@contextlib.contextmanager
def _stoppable(minutes):
  """Turn SIGTERM into Ctrl-C and send it to ourselves after `minutes`, unless 0.

  Yields a function that tells whether that time is over.
  """
  before = signal.signal(signal.SIGTERM, signal.default_int_handler)
  over = threading.Event()
  def end():
    over.set()  # Before the signal, which is looked at for its reason.
    os.kill(os.getpid(), signal.SIGTERM)
  timer = threading.Timer(60 * minutes, end)
  if minutes:
    timer.start()
  try:
    yield over.is_set
  finally:
    timer.cancel()
    signal.signal(signal.SIGTERM, before)
