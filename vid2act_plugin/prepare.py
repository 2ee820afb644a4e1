"""What must exist before a run: source recordings and a teacher, made once and reused."""

import functools
import hashlib
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys

from .common import progress
from .common.errors import UserError
from .envs import suites
from .host import platform
from .sources import entries, recording
from .teacher import bundle

SOURCES = {
    'metaworld': [f'metaworld_{x}' for x in (
        'door-close', 'faucet-open', 'handle-press', 'plate-slide', 'reach-wall', 'window-close')],
    'dmcontrol': [f'dmcontrol_{x}' for x in (
        'cheetah_run', 'hopper_stand', 'walker_walk', 'walker_run')]}
INTERRUPTED = 130, 143  # Status after Ctrl-C and after SIGTERM.
FORMAT = 1  # Raise it when recordings or teachers made before are no longer valid.


def prepare(config):
  """Return `config` ready to run: platform chosen, recordings and teacher made or found.

  Runs of stock DreamerV3 without an overlay of ours pass through untouched.
  """
  taught, recorded = _needs(config)
  ours = config.run.eval_every > 0 or config.jax.platform == 'auto' or config.script == 'pretrain'
  if not (ours or taught or recorded) or config.script.endswith(('_env', '_envs', '_replay')):
    return config
  suites.check(config.task)
  config = platform.resolve(config)
  alone, given = config.script == 'pretrain', config.vid2act.teacher
  if taught and given and not alone:
    bundle.load(given)
  if alone or recorded or taught and not given:
    config = _recordings(config)
  if taught and not given and not alone:
    config = _teacher(config)
  logdir = pathlib.Path(config.logdir).expanduser()
  logdir.mkdir(parents=True, exist_ok=True)
  config.save(logdir / 'config.yaml')  # As the host does next, but outside of `errors.told`.
  return config


def _needs(config):
  """Return whether the agent needs a teacher, and whether recordings apart from making one."""
  options = config.agent.vid2act
  if config.agent.typ != 'vid2act':
    return False, False
  recorded = options.rehearse > 0 or options.guide and options.vae.online
  return options.distill or options.guide or options.init, recorded


def sources(config):
  """Return the `Origin` of each source that the config asks for."""
  suite = config.task.split('_')[0]
  names = list(config.vid2act.sources)
  if names == ['auto']:
    if suite not in SOURCES:
      raise UserError(
          f"The key vid2act.sources is [auto], but the suite '{suite}' has no published sources; "
          'name them, such as [metaworld_door-close].')
    names = SOURCES[suite]
  return entries.parse_all(names, config.task)[:config.vid2act.max_sources or None]


def folders(config):
  """Return the folder of each source's recording, in the sources' order."""
  return [_folder(config, x) for x in sources(config)]


def _recordings(config):
  """Collect or import the sources' recordings unless they are there."""
  found = sources(config)
  missing = [x for x in found if not _complete(config, x)]
  if config.vid2act.recordings:
    lacking = [x for x in missing if x.task]
    if lacking:
      raise UserError(
          f"The key vid2act.recordings is '{config.vid2act.recordings}', which has no recording "
          f"of {', '.join(x.name for x in lacking)}; make it with {_shown(config, lacking)}.")
    print(f'Recordings: given, {pathlib.Path(config.vid2act.recordings).expanduser()}')
  elif not missing:
    places = sorted({str(x.parent) for x in folders(config)})
    print(f"Recordings: reused {len(found)} sources from {', '.join(places)}")
  if missing and not config.vid2act.auto:
    raise UserError(
        f"There are no recordings of {', '.join(x.name for x in missing)} and the key "
        f'vid2act.auto is False; make them with {_shown(config, missing)}.')
  for stage, names, command in _commands(config, missing):
    config = _stage(config, stage, f"recordings of {', '.join(names)}", [
        'vid2act_plugin.cli', *command[1:]])
  return config


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
    child.save(str(logdir / f'.{os.getpid()}.yaml'))
    os.replace(logdir / f'.{os.getpid()}.yaml', logdir / 'stage.yaml')  # Others may be reading it.
    config = _stage(config, 'pretrain', f'a teacher of {len(sources(config))} sources', [
        'dreamerv3', '--configs', str(logdir / 'stage.yaml')])
  return config.update({'vid2act.teacher': str(path)})


def _stage(config, name, what, command):
  """Run one stage as a child process and note its time in the config."""
  with progress.stage(f'{name}: {what}') as stage:
    code = _run([sys.executable, '-m', *command])
  if code in INTERRUPTED:
    raise SystemExit(code)  # The stage has said what it saved.
  if code:
    raise UserError(
        f'The stage {name} ended with status {code}; its message is above. Repeat the command to '
        'continue where it stopped.')
  seconds = config.vid2act.seconds[name] + stage.seconds
  return config.update({f'vid2act.seconds.{name}': round(seconds, 1)})


def _run(command):
  """Return the status of a child process that gets the signals we get, and the time to save."""
  child = subprocess.Popen(command, env=_environ())
  before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
  try:
    while True:
      try:
        status = child.wait()
        return status if status >= 0 else 128 - status  # As a shell has it: 143 after SIGTERM.
      except KeyboardInterrupt:
        pass  # Ctrl-C reaches the child as well.
  finally:
    signal.signal(signal.SIGTERM, before)


def _environ():
  """Let children import the same host as we did, also when it is a checkout."""
  import dreamerv3
  host = str(pathlib.Path(dreamerv3.__path__[0]).parent)
  paths = [host, *os.environ.get('PYTHONPATH', '').split(os.pathsep)]
  return {**os.environ, 'PYTHONPATH': os.pathsep.join(x for x in paths if x)}


def _folder(config, origin):
  if origin.path and not origin.foreign:
    return origin.path
  if origin.task and config.vid2act.recordings:
    root = pathlib.Path(config.vid2act.recordings).expanduser()
  elif origin.task:
    root = _cache(config) / 'recordings' / _key(_settings(config, origin))
  else:
    content = dict(format=FORMAT, size=_size(config), files=_files(origin.path))
    root = _cache(config) / 'imports' / _key(content)
  return root / origin.name


def _complete(config, origin):
  folder = _folder(config, origin)
  if origin.foreign:
    from .sources import importing
    return importing.complete(folder)
  if origin.path or config.vid2act.recordings:
    return (folder / recording.MANIFEST).exists()
  return recording.count(folder) >= config.vid2act.collect.episodes


def _settings(config, origin):
  """Return the settings that decide what is recorded, apart from the source itself."""
  collect = {k: v for k, v in config.vid2act.collect.items() if k != 'workers'}
  skip = ('use_seed', 'proprio')
  env = {k: v for k, v in config.env[origin.suite].items() if k not in skip}
  # Whatever the suite, a teacher has images of one size: that of the run.
  env.update(size=_size(config), limit=collect['limit'])
  settings = dict(format=FORMAT, collect=collect, env=env)
  if origin.behaviour:
    settings['behaviour'] = entries.digest(origin.behaviour)
  return settings


@functools.cache
def _files(path):
  """Return what decides what there is to import: names, sizes and times of the data's files."""
  files = sorted(x for x in path.rglob('*') if x.is_file()) or [path]
  return [(str(x), x.stat().st_size, x.stat().st_mtime_ns) for x in files]


def _size(config):
  return list(config.env[config.task.split('_')[0]]['size'])


def _commands(config, missing):
  """Yield (stage, sources, command): one collection per folder, one import per source."""
  roots = {}
  for origin in missing:
    folder = _folder(config, origin)
    if origin.foreign:
      height, width = _size(config)
      yield 'import', [origin.name], [
          'vid2act', 'import', str(origin.path), '--out', str(folder.parent), '--name',
          origin.name, '--resize', str(height), str(width),
          *(['--format', origin.format] if origin.format else [])]
    else:
      roots.setdefault((folder.parent, origin.suite), []).append(origin)
  for (root, _), group in roots.items():
    yield 'collect', [x.name for x in group], _collect(config, group, root)


def _collect(config, group, root):
  settings = _settings(config, group[0])
  names = [f'{x.task}@{x.behaviour}' if x.behaviour else x.task for x in group]
  options = {**settings['collect'], **settings['env'], 'workers': config.vid2act.collect.workers}
  command = ['vid2act', 'collect', *names, '--out', str(root)]
  for key, value in options.items():
    values = value if isinstance(value, (list, tuple)) else [value]
    command += [f"--{key.replace('_', '-')}", *map(str, values)]
  return command


def _shown(config, missing):
  return ' and '.join(f'`{shlex.join(command)}`' for _, _, command in _commands(config, missing))


def _teacher_key(config):
  agent = {k: config.agent[k] for k in (*bundle.MODEL, 'opt', 'loss_scales')}
  pretrain = {k: v for k, v in config.vid2act.pretrain.items() if not k.endswith('_every')}
  key = recording.content_key([recording.load_manifest(x) for x in folders(config)])
  return _key(dict(
      format=FORMAT, recordings=key, agent=agent, pretrain=pretrain, seed=config.seed,
      act_width=config.vid2act.act_width))


def _key(content):
  text = json.dumps(content, sort_keys=True, default=list)
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def _cache(config):
  return pathlib.Path(config.vid2act.cache).expanduser()
