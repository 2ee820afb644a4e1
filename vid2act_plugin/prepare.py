"""What must exist before a run: source recordings and a teacher, made once and reused."""

import os
import pathlib
import sys

from ruamel.yaml import YAML

from .agent import build, demonstrated, initialise, options, rehearse
from .common import files, lifeline, progress
from .common.errors import UserError, differences
from .common.output import note, say
from .envs import suites
from .host import platform, processes
from .sources import commands, locate, recording, report
from .teacher import behaviours, bundle, faults
from .training import start

INTERRUPTED = 130, 143  # Status after Ctrl-C and after SIGTERM.


def prepare(config):
  """Return `config` ready to run: platform chosen, recordings and teacher made or found.

  Runs of stock DreamerV3 without an overlay of ours pass through untouched.
  """
  config, found = checked(asked := config, platform.resolve)
  if found is None:
    return config
  given = config.vid2act.teacher
  if found:
    config = _recordings(config, found)
    if _teaches(config):
      config = _teacher(config, found)
  if _acting(config):
    config = _behaviours(config, bool(given))
  if config.vid2act.seconds != asked.vid2act.seconds:
    start.check(asked)  # Stages take hours, in which another run may have begun there.
  (logdir := pathlib.Path(config.logdir).expanduser()).mkdir(parents=True, exist_ok=True)
  config.save(logdir / 'config.yaml')  # As the host does next, but outside of `as_user_errors`.
  return config


def checked(config, resolve=lambda config: config):
  """Return `config` as its run begins, and the located sources whose recordings it needs, None if nothing of it is ours.

  Raises a `UserError` for all that can be known before a stage; nothing is made. resolve: chooses the platform, before
  anything that may start JAX.
  """
  start.named(config)
  start.settings.environments(config)
  options.unknown(config)
  taught, recorded = _needs(config)
  ours = config.run.eval_every > 0 or config.jax.platform == 'auto' or config.script in start.STAGES
  if not (ours or taught or recorded or options.spares_teacher(config)):
    return config, None
  suites.check(config.task)
  config = config.update(logdir=os.path.expanduser(config.logdir))  # Not all of what follows would.
  start.check(config)
  config = start.own(start.as_begun(config))
  acting, spare = _acting(config), options.spares_teacher(config)
  config = start.taught_as_begun(config, taught or spare, acting, spare)
  taught, recorded = _needs(config)
  if taught or recorded or acting:
    options.check(config)
  if config.agent.typ == 'vid2act' and config.script in start.LOOPS:
    options.idle(config)
  config, found = resolve(config), []
  alone, given = config.script in start.STAGES, config.vid2act.teacher
  if taught and given and not alone:
    teacher = bundle.load(given)
    teacher.check()
    build.tied(config.logdir, teacher)
    initialise.check_alike(config, teacher.manifest)
  if acting and config.vid2act.cloned:
    behaviours.read(config.vid2act.cloned)
  if alone or recorded or taught and not given:
    found = locate.locate(config)
    locate.check(config, found)
    if _teaches(config):
      faults.classes(config.agent, 'The teacher to be made')
      initialise.check(config, [x.name for x in found])
    _check_contents(config, found)
  return config, found


def _needs(config):
  """Return whether the agent needs a teacher, and whether recordings apart from making one."""
  if config.agent.typ != 'vid2act' or config.random_agent:
    return False, False
  return options.needs_teacher(config), options.needs_recordings(config) or demonstrated.wanted(config)


def _teaches(config):
  """Say whether a teacher has to be made, or found, for the run."""
  return _needs(config)[0] and not config.vid2act.teacher and config.script not in start.STAGES


def _acting(config):
  return options.acts(config) and config.script in start.LOOPS and not config.random_agent


def shares(config):
  """Say whether a run needs what it can share with others: recordings, a teacher or behaviours."""
  return any(_needs(config)) or options.executes(config) and not config.random_agent


def _check_contents(config, found):
  """Raise a `UserError` where sources, as far as is known by now, have too little for what is drawn from them."""
  chosen, given = config.agent.vid2act, config.vid2act.pretrain
  if _teaches(config) or config.script == 'pretrain':
    locate.check_windows(config, found, given.batch_length, 'vid2act.pretrain.batch_length', given.holdout)
  if config.script in start.STAGES or not _needs(config)[1]:
    return
  if chosen.guide and chosen.vae.online:
    locate.check_windows(config, found, config.batch_length, 'batch_length')
  if chosen.rehearse:
    rehearse.check(config, found)
  if demonstrated.wanted(config):
    demonstrated.check(config, found)


def _recordings(config, found):
  """Collect or import the recordings of the located sources unless they are there."""
  missing = [x for x in found if not x.complete]
  if config.vid2act.recordings:
    lacking = [x for x in missing if x.entry.task]
    if lacking:
      raise UserError(
          f"The key vid2act.recordings is '{config.vid2act.recordings}', which has no recording "
          f"of {', '.join(x.name for x in lacking)}; make it with {commands.shown(config, lacking)}.")
    say(f'Recordings: given, {pathlib.Path(config.vid2act.recordings).expanduser()}')
  elif not missing:
    places = sorted({str(x.folder.parent) for x in found})
    say(f"Recordings: reused {len(found)} sources from {', '.join(places)}")
  if missing and not config.vid2act.auto:
    raise UserError(
        f"There are no recordings of {', '.join(x.name for x in missing)} and the key "
        f'vid2act.auto is False; make them with {commands.shown(config, missing)}.')
  if missing:
    _check_task(config)
  for stage, names, command in commands.commands(config, missing):
    config = _stage(config, stage, f"recordings of {', '.join(names)}", [
        'vid2act_plugin.cli', *command[1:]])
    # What was imported tells its actions and steps now, before what comes next is made in vain.
    locate.check(config, [x for x in missing if x.entry.foreign and x.name in names])
    _check_contents(config, found)
  return config


def _teacher(config, found):
  """Pretrain a teacher on the sources' recordings unless there is one of that content."""
  logdir = _teacher_folder(config, found).parent
  path = logdir / 'teacher'
  if bundle.exists(path):
    say(f'Teacher: reused {path}')
  else:
    if not config.vid2act.auto:
      raise UserError(
          'The key vid2act.teacher is empty and vid2act.auto is False; repeat your command with '
          f'`--script pretrain --logdir {logdir}`, then name {path} as vid2act.teacher.')
    config = _script(config, 'pretrain', f'a teacher of {len(found)} sources', logdir)
  return config.update({'vid2act.teacher': str(path)})


def _behaviours(config, given):
  """Learn the sources' behaviours, unless the teacher has them or they were learned before."""
  settings = dict(config.vid2act.behaviours)
  if config.vid2act.cloned:
    behaviours.read(config.vid2act.cloned)
    return config
  manifest = bundle.verify(config.vid2act.teacher) if config.vid2act.teacher else {}
  have = manifest.get('behaviours')
  if have and (given or have['settings'] == settings):
    if other := [k for k, v in settings.items() if have['settings'].get(k) != v]:
      note(f"Note: the key vid2act.behaviours has {differences(other, settings, 'those of the teacher', have['settings'])}, "
           'and these are used; others are made by --script clone and named as vid2act.cloned.')
    return config
  found = locate.locate(config)
  if manifest and manifest['sources'] != [x.name for x in found]:
    raise UserError(
        f'The teacher {config.vid2act.teacher} has no behaviours, and the key vid2act.sources is not '
        f"that of its sources, {', '.join(manifest['sources'])}; name these, whose recordings "
        'behaviours are learned from, or a folder of behaviours as vid2act.cloned, or let no source act: '
        'overlay vid2act_noexecute.')
  locate.check(config, found)
  config = _recordings(config, found)
  content = recording.content_key([recording.load_manifest(x.folder) for x in found])
  logdir = locate.cache(config) / 'behaviours' / locate.key(dict(
      format=locate.CACHE, recordings=content, settings=settings, seed=config.seed,
      holdout=config.vid2act.pretrain.holdout, act_width=config.vid2act.act_width))
  folder = logdir / 'behaviours'
  if behaviours.exists(folder):
    behaviours.read(folder, behaviours.MADE)
    say(f'Behaviours: reused {folder}')
  elif not config.vid2act.auto:
    raise UserError(
        'There are no behaviours of the sources and the key vid2act.auto is False; repeat your '
        f'command with `--script clone --logdir {logdir}`.')
  else:
    config = _script(config, 'clone', f'behaviours of {len(found)} sources', logdir)
  return config.update({'vid2act.cloned': str(folder)})


def _check_task(config):
  """Raise a `UserError`, before a stage that may take hours, where the run could not use what it makes."""
  if config.script in start.LOOPS:
    build.check_task(config)


def _script(config, name, what, logdir):
  """Run one of `start.STAGES` with the run's settings as a stage, in a logdir of its own."""
  _check_task(config)
  logdir.mkdir(parents=True, exist_ok=True)
  child = config.update(script=name, logdir=str(logdir), **processes.ALONE)
  with files.atomic_write(logdir / 'stage.yaml') as part:  # Others may be reading it.
    YAML(typ='safe').dump(dict(child), part)  # In UTF-8; `child.save` has the locale's encoding.
  return _stage(config, name, what, ['dreamerv3', '--configs', str(logdir / 'stage.yaml')])


def _stage(config, name, what, command):
  """Run one stage as a child process and note its time in the config."""
  with progress.stage(f'{name}: {what}') as stage:
    code = lifeline.attend([sys.executable, '-m', *command], _environ())
  if code in INTERRUPTED:
    raise SystemExit(code)  # The stage has said what it saved.
  if code and (name, code) != ('import', report.PARTIAL):  # What it left out, it has said.
    mend = ('mend what it names; --key image=NAME and --task 3 are written PATH#image=NAME#3 in '
            'vid2act.sources. Then repeat' if name == 'import' else 'repeat')
    raise UserError(
        f'The stage {name} ended with status {code}, and its message is above; {mend} the command '
        'to continue where it stopped.')
  return config.update({f'vid2act.seconds.{name}': round(config.vid2act.seconds[name] + stage.seconds, 1)})


def _environ():
  """Let children import the same host as we did, also when it is a checkout."""
  import dreamerv3
  host = str(pathlib.Path(dreamerv3.__path__[0]).parent)
  paths = [host, *os.environ.get('PYTHONPATH', '').split(os.pathsep)]
  return {**os.environ, 'PYTHONPATH': os.pathsep.join(x for x in paths if x)}


def _teacher_folder(config, found):
  pretrain = {k: v for k, v in config.vid2act.pretrain.items() if not k.endswith('_every')}
  content = recording.content_key([recording.load_manifest(x.folder) for x in found])
  name = locate.key(dict(
      format=locate.CACHE, recordings=content, agent=bundle.decisive(config.agent), pretrain=pretrain, seed=config.seed,
      act_width=config.vid2act.act_width))
  return locate.cache(config) / 'teachers' / name / 'teacher'
