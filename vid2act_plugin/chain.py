"""What must exist before a run: source recordings and a teacher, made once and reused."""

import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys

from . import backend, bundle, progress
from .errors import UserError

SOURCES = {
    'metaworld': [f'metaworld_{x}' for x in (
        'door-close', 'faucet-open', 'handle-press', 'plate-slide', 'reach-wall', 'window-close')]}
FORMAT = 1  # Raise it when recordings or teachers made before are no longer valid.


def prepare(config):
  """Return `config` ready to run: platform chosen, recordings and teacher made or found.

  Runs of stock DreamerV3 without an overlay of ours pass through untouched.
  """
  taught, recorded = _needs(config)
  ours = config.run.eval_every > 0 or config.jax.platform == 'auto' or config.script == 'pretrain'
  if not (ours or taught or recorded) or config.script.endswith(('_env', '_envs', '_replay')):
    return config
  check_task(config.task)
  config = backend.resolve(config)
  if config.script == 'pretrain':
    return _recordings(config)
  given = taught and config.vid2act.teacher
  if given:
    bundle.load(config.vid2act.teacher)
  if recorded or taught and not given:
    config = _recordings(config)
  return _teacher(config) if taught and not given else config


def _needs(config):
  """Return whether the agent needs a teacher, and whether recordings apart from making one."""
  options = config.agent.vid2act
  if config.agent.typ != 'vid2act':
    return False, False
  recorded = options.rehearse > 0 or options.guide and options.vae.online
  return options.distill or options.guide or options.init, recorded


def sources(config):
  """Return the names of the sources that the config asks for."""
  suite = config.task.split('_')[0]
  names = list(config.vid2act.sources)
  if names == ['auto']:
    if suite not in SOURCES:
      raise UserError(
          f"The key vid2act.sources is [auto], but the suite '{suite}' has no published sources; "
          'name them, such as [metaworld_door-close].')
    names = SOURCES[suite]
  for name in names:
    check_task(name, 'vid2act.sources')
  return names[:config.vid2act.max_sources or None]


def folders(config):
  """Return the folder of each source's recording, in the sources' order."""
  root = config.vid2act.recordings or _cache(config) / 'recordings' / _key(_behaviour(config))
  return [pathlib.Path(root).expanduser() / x for x in sources(config)]


def check_task(task, key='task'):
  """Raise a `UserError` if one of our suites has no such task."""
  from .envs import suites
  suites.check(task, key)


def _recordings(config):
  """Collect the sources' recordings unless they are there."""
  names, paths = sources(config), folders(config)
  missing = [n for n, x in zip(names, paths) if not (x / 'manifest.json').exists()]
  if config.vid2act.recordings and missing:
    raise UserError(
        f"The key vid2act.recordings is '{config.vid2act.recordings}', which has no recording of "
        f"{', '.join(missing)}; make it with `{shlex.join(_collect(config, missing))}`.")
  if config.vid2act.recordings:
    print(f'Recordings: given, {paths[0].parent}')
    return config
  from . import sources as recordings
  wanted = config.vid2act.collect.episodes
  missing = [n for n, x in zip(names, paths) if recordings.count(x) < wanted]
  if not missing:
    print(f'Recordings: reused {len(names)} sources from {paths[0].parent}')
    return config
  command = _collect(config, missing)
  if not config.vid2act.auto:
    raise UserError(
        f"There are no recordings of {', '.join(missing)} in {paths[0].parent} and the key "
        f'vid2act.auto is False; make them with `{shlex.join(command)}`.')
  return _stage(config, 'collect', f'recordings of {len(missing)} sources', _python(
      'vid2act_plugin.cli', command[1:]))


def _teacher(config):
  """Pretrain a teacher on the sources' recordings unless there is one of that content."""
  logdir = _cache(config) / 'teachers' / _teacher_key(config)
  path = logdir / 'teacher'
  if bundle.exists(path):
    print(f'Teacher: reused {path}')
  else:
    if not config.vid2act.auto:
      raise UserError(
          'The key vid2act.teacher is empty and vid2act.auto is False; repeat your command with '
          f'`--script pretrain --logdir {logdir}`, then name {path} as vid2act.teacher.')
    logdir.mkdir(parents=True, exist_ok=True)
    child = config.update(script='pretrain', logdir=str(logdir))
    child.save(str(logdir / 'stage.yaml'))
    config = _stage(config, 'pretrain', f'a teacher of {len(sources(config))} sources', _python(
        'dreamerv3', ['--configs', str(logdir / 'stage.yaml')]))
  return config.update({'vid2act.teacher': str(path)})


def _stage(config, name, what, command):
  """Run one stage as a child process and note its time in the config."""
  with progress.stage(f'{name}: {what}') as stage:
    code = subprocess.run(command, env=_environ()).returncode
  if code:
    raise UserError(
        f'The stage {name} ended with status {code}; its message is above. Repeat the command to '
        'continue where it stopped.')
  return config.update({f'vid2act.seconds.{name}': round(stage.seconds, 1)})


def _python(module, args):
  return [sys.executable, '-m', module, *args]


def _environ():
  """Let children import the same host as we did, also when it is a checkout."""
  import dreamerv3
  host = str(pathlib.Path(dreamerv3.__path__[0]).parent)
  paths = [host, *os.environ.get('PYTHONPATH', '').split(os.pathsep)]
  return {**os.environ, 'PYTHONPATH': os.pathsep.join(x for x in paths if x)}


def _behaviour(config):
  """Return the settings that decide what is recorded, apart from the source itself."""
  collect = {k: v for k, v in config.vid2act.collect.items() if k != 'workers'}
  env = {k: v for k, v in config.env[config.task.split('_')[0]].items() if k != 'use_seed'}
  return dict(format=FORMAT, collect=collect, env={**env, 'limit': collect['limit']})


def _collect(config, names):
  out = folders(config)[0].parent
  settings = _behaviour(config)
  options = {**settings['collect'], **settings['env'], 'workers': config.vid2act.collect.workers}
  command = ['vid2act', 'collect', *names, '--out', str(out)]
  for key, value in options.items():
    values = value if isinstance(value, (list, tuple)) else [value]
    command += [f"--{key.replace('_', '-')}", *map(str, values)]
  return command


def _teacher_key(config):
  from . import sources as recordings
  agent = {k: config.agent[k] for k in (*bundle.MODEL, 'opt', 'loss_scales')}
  pretrain = {k: v for k, v in config.vid2act.pretrain.items() if not k.endswith('_every')}
  key = recordings.content_key([recordings.load_manifest(x) for x in folders(config)])
  return _key(dict(
      format=FORMAT, recordings=key, agent=agent, pretrain=pretrain, seed=config.seed,
      act_width=config.vid2act.act_width))


def _key(content):
  text = json.dumps(content, sort_keys=True, default=list)
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def _cache(config):
  return pathlib.Path(config.vid2act.cache).expanduser()
