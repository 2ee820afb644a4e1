"""What can be known of a run before its first stage, which may take hours."""

import contextlib
import importlib.util
import os
import pathlib
import re

import elements

from ..common import files, lock, resources, safe_yaml
from ..common.errors import UserError, differences, reading
from ..common.output import note
from ..host import checkpoints, loading, processes, sizes
from ..sources import locate
from ..teacher import behaviours, bundle
from . import settings

# Settings that a continued run may change: how long, how often, where, on what machine, and the step size, which
# `finite.stop` says to lower.
FREE = re.compile(
    r'run\.(?!train_ratio).*|logger\..*|jax\..*|replica|replicas|clock_.*|ipv6|errfile|logdir|script'
    r'|report_length|consec_report|replay\.(size|chunksize)|agent\.vid2act\.(gradshare|folded)|agent\.opt\.lr'
    r'|vid2act\.(cache|auto|teacher|cloned|recordings|seconds\..*|collect\.workers|pretrain\..*_every)')
RECORDED = re.compile(r'vid2act\.(sources|max_sources|collect\..*|label\..*)')
LOOPS = ('train', 'train_eval', 'eval_only')
TOGETHER = ('pretrain', 'train', 'train_eval')  # What several processes may do as one.
MADE = re.compile(r'(.*/)?(teachers|behaviours)/[0-9a-f]{12}/[^/]*')  # In a cache, wherever that was: it is made again.
STAGES = ('pretrain', 'clone')  # Scripts that make what others need.
WRITERS = {'scope': 'scope', 'tensorboard': 'tensorboard', 'wandb': 'wandb'}  # What outputs import.


def check(config):
  """Raise a `UserError` where the script of `config` can only fail, or would mix two runs."""
  logdir = pathlib.Path(config.logdir).expanduser()
  ours = config.run.eval_every > 0 or config.script in STAGES
  if config.script.startswith('parallel'):
    raise UserError(
        f"The script {config.script} is DreamerV3's, which with our overlays does not end at run.steps and "
        'keeps three checkpoints that do not fit together; use --script train_eval, with --run.envs and '
        '--run.debug False for environments in processes of their own, and --jax.train_devices for more '
        'than one device.')
  _processes(config, ours)
  _outputs(config)
  settings.check(config)
  if ours and config.script in (*LOOPS, *STAGES) and not config.random_agent:
    suite = config.task.split('_')[0]
    sizes.check(config.agent, f'env.{suite}.size', config.env.get(suite, {}).get('size'))
  if config.script == 'eval_only' and not config.run.from_checkpoint:
    raise UserError(
        "The key run.from_checkpoint is '', but the script eval_only needs a checkpoint: name the "
        'LOGDIR of a run or a folder inside LOGDIR/ckpt.')
  checkpoint = checkpoints.latest(logdir)
  begins = config.script == 'eval_only' or not checkpoint  # A run that continues has its own.
  if config.script in LOOPS and config.run.from_checkpoint and begins:
    loading.pattern(config.run.from_checkpoint_regex)
    if not ours and config.script != 'eval_only' and loading.by_file():
      raise UserError(
          f"The key run.from_checkpoint is '{config.run.from_checkpoint}', but DreamerV3's own loops, which run with "
          'run.eval_every 0, read no checkpoint of today; set run.eval_every above 0.')
    checkpoints.check(loading.checkpoint(config.run.from_checkpoint), read=not ours)
    if ours:
      loading.chosen(config.run.from_checkpoint, config.run.from_checkpoint_regex)
  if config.script in LOOPS[:2]:
    settings.replay(config, ours)
  if config.script in (*LOOPS[:2], *STAGES):
    _free(pathlib.Path(own(config).logdir).expanduser(), config.script in LOOPS)  # A stage waits for whoever makes the same.
  if checkpoint:
    _continued(config, logdir, checkpoint, ours)
    checkpoints.check(checkpoint, read=not ours)


def named(config):
  """Raise a `UserError` if stock DreamerV3 would run under the name of one of our overlays."""
  overlay = resources.data('configs') / f'{config.method}.yaml'
  if config.agent.typ == 'dreamerv3' and overlay.is_file() and '\nmethod: ' in overlay.read_text(encoding='utf-8'):
    raise UserError(
        f'The key method is {config.method}, but agent.typ is dreamerv3, which is stock DreamerV3; name the overlay '
        f'vid2act before the others (--configs vid2act {config.method} ...), or give another --method.')


def _processes(config, ours):
  """Raise a `UserError` if a run in several processes cannot begin."""
  count, index, address = config.jax.num_processes, config.jax.process_id, config.jax.coordinator_address
  if count < 2:
    return
  if not ours or config.script not in TOGETHER or config.random_agent:
    raise UserError(
        f'The key jax.num_processes is {count}, but only {", ".join(TOGETHER)} run in several processes, with '
        f'run.eval_every above 0 and random_agent False; give --jax.num_processes 1 to --script {config.script}.')
  if not (0 <= index < count and address):
    raise UserError(
        f"The keys jax.process_id and jax.coordinator_address are {index} and '{address}' of {count} processes; "
        f'give each process its number from 0 to {count - 1}, and all of them HOST:PORT of the first.')


def own(config):
  """Return `config` with a folder of its own for a process that is not the first."""
  if config.jax.num_processes < 2 or not config.jax.process_id:
    return config
  folder = pathlib.Path(config.logdir).expanduser() / f'process-{config.jax.process_id}'
  return config.update(logdir=str(folder))


def _outputs(config):
  """Raise a `UserError` if a package that an output of the logger needs is not installed."""
  for output in config.logger.outputs:
    package = WRITERS.get(output)
    if package and not importlib.util.find_spec(package):
      raise UserError(
          f'The key logger.outputs has {output}, but the package {package} is not installed; '
          f'install it (`pip install {package}`), or leave {output} out.')


def _free(logdir, alone=True):
  """Raise a `UserError` if the run could not have its folder, `alone` for itself; nothing is made."""
  if alone and logdir.exists():
    with lock.locked(logdir, wait=False):  # The script itself takes it again, for good.
      return
  place = next(x for x in (logdir.absolute(), *logdir.absolute().parents) if x.exists())
  if not place.is_dir() or not os.access(place, os.W_OK, effective_ids=True):
    raise UserError(
        f'The folder {logdir} cannot be written, as none can be made in {place}; mend its rights or '
        'name another --logdir.')


def _continued(config, logdir, checkpoint, ours):
  """Compare with the settings that the run was begun with, before anything is written."""
  if config.script in STAGES and locate.cache(config) in logdir.parents:
    return  # Its name is that of all that matters, and other runs want the same.
  before, now = begun(logdir), config.flat
  changed = [k for k, v in now.items() if k in before and before[k] != v and (
      _matters(k, config) or 'float16' in (before[k], v))]  # With that an optimiser has more state.
  if (before.get('script') in LOOPS) != (config.script in LOOPS):
    changed.append('script')
  if changed:
    shown = differences(changed, before, 'now', now)
    weights = f', from its weights with --run.from_checkpoint {logdir}' * (config.script in LOOPS)
    raise UserError(
        f'The run {logdir} was begun with {shown}; continue it with these, or begin another --logdir{weights}.')
  if config.script == 'eval_only':
    raise UserError(
        f'The folder {logdir} has a run, whose log and summary would become those of an evaluation; give --script '
        'eval_only another --logdir.')
  whole = checkpoints.whole(checkpoint)
  if config.script in LOOPS and (
      checkpoint.parent != logdir / checkpoints.kept(ours)
      or whole and checkpoints.holds(checkpoint, 'replay_train') != (not ours and config.script == 'train_eval')):
    raise UserError(
        f'The checkpoint {checkpoint} is of another loop than --script {config.script} with run.eval_every '
        f"{config.run.eval_every:g}, which would not continue it; give --script {before.get('script', 'train_eval')} and "
        f"--run.eval_every {before.get('run.eval_every', 0):g}, as the run was begun with, or choose another --logdir.")
  if config.script == 'pretrain' and whole and (made := checkpoints.step(checkpoint)) > config.vid2act.pretrain.updates:
    raise UserError(
        f'The key vid2act.pretrain.updates is {config.vid2act.pretrain.updates}, but {logdir} has made {made}; give as '
        'many or more, or choose another --logdir.')


def as_begun(config):
  """Return `config` without the parts of the method that its run, begun by an earlier version, lacks.

  Their keys are not in its `config.yaml`, and off in our defaults.
  """
  logdir = pathlib.Path(config.logdir).expanduser()
  if not (before := begun(logdir) if checkpoints.latest(logdir) else {}):
    return config
  plain = elements.Config({'agent': {'vid2act': resources.defaults()['agent']['vid2act']}}).flat
  absent = {k: v for k, v in plain.items() if k not in before and config.flat[k] != v}
  if absent:
    note(f"Note: the run {logdir} was begun by a version without {', '.join(absent)}; it continues "
         'without.')
  return config.update(absent)


def taught_as_begun(config, taught, acting, spare=False):
  """Return `config` with the teacher and behaviours of the run to be continued or evaluated, where it names none.

  taught: whether it needs a teacher; acting: whether sources carry out episodes; spare: whether a run that has a
  checkpoint does without its teacher. Raises a `UserError` where what the run was begun with is gone, or other
  behaviours are named now.
  """
  folder = (loading.checkpoint(config.run.from_checkpoint) if config.script == 'eval_only'
            else config.script in LOOPS and checkpoints.latest(processes.home(config)))
  run, before = folder and folder.parent.parent, {}
  if folder and folder.parent.name in checkpoints.FOLDERS:
    with contextlib.suppress(UserError):  # A run that is continued has been read by `check`.
      before = begun(run)
  named, learned, again = config.vid2act.cloned, before.get('vid2act.cloned', ''), False
  for key, there, needed in (
      ('vid2act.cloned', behaviours.exists, acting), ('vid2act.teacher', bundle.exists, taught or acting)):
    path = before.get(key)
    if not path or config[key] or not needed:
      continue
    if again and there(path) and bundle.verify(path).get('behaviours'):
      continue  # They are others than those that are made again.
    if there(path):
      note(f'Note: {key} is {path}, as in the run {run}.')
      config = config.update({key: path})
    elif key == 'vid2act.teacher' and spare:
      note(f'Note: {path}, the {key} of the run {run}, is not there; it is not needed any more.')
    elif MADE.fullmatch(path):  # With nothing named, it is found or made, here as on another machine.
      again = True
      note(f'Note: {path}, the {key} of the run {run}, is not there; it is looked for in the cache, and made again '
           f'if that has none, which may take hours and make another one. Give --{key} its folder to have it as it was.')
    else:
      raise UserError(
          f'The run {run} was begun with {path} as {key}, which is not there any more; give --{key} its folder.')
  acted = any(before.get(f'agent.vid2act.execute.{x}', 0) > 0 for x in ('start', 'end'))
  if acting and acted and named and named != learned:
    then, now = _learned(learned, before.get('vid2act.teacher', '')), behaviours.read(named)
    if then and then.identity()['hash'] != now.identity()['hash']:
      raise UserError(
          f"Episodes of the run {run} were carried out by the behaviours of {learned or 'its teacher'}, not by those of "
          f'{named}; leave vid2act.cloned out, and they are taken, or ' + (
              'evaluate the policy alone (agent.vid2act.execute.evaluate policy).' if config.script == 'eval_only' else
              'choose another --logdir.'))
  return config


def _learned(folder, teacher):
  """Return the behaviours of a folder, or else of a teacher, if they are there and whole."""
  with contextlib.suppress(UserError):
    if folder:
      return behaviours.exists(folder) and behaviours.read(folder)
    return bundle.exists(teacher) and behaviours.of(bundle.load(teacher))


def begun(logdir):
  """Return the flat settings that a run was begun with; empty where it has none."""
  path = logdir / 'config.yaml'
  if not path.exists():
    return {}
  cure = 'delete it if your command has the settings of that run, or choose another --logdir'
  with reading(f'The file {path} of the run to be continued', cure):
    before = elements.Config(safe_yaml.load(files.regular_file(logdir, path.name))).flat
    if 'task' not in before:
      raise ValueError('it has no task')
  return before


def _matters(key, config):
  suite = config.task.split('_')[0]
  if key.startswith('env.') and not key.startswith(f'env.{suite}.') or FREE.fullmatch(key):
    return False
  if config.script in STAGES:
    return key not in ('task', 'method', 'vid2act.pretrain.updates') and (
        not key.startswith('vid2act.behaviours.'))
  options = config.agent.vid2act
  drawn = options.rehearse or options.guide and options.vae.online  # As the run learns, whose ever the teacher is.
  return bool(drawn and RECORDED.fullmatch(key)) or not (config.vid2act.teacher and key.startswith('vid2act.'))
