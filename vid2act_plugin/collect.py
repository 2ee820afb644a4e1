"""Record source tasks: scripted experts with action noise, and random episodes."""

import importlib
import importlib.metadata
import json
import math
import os
import pathlib
import time
import zlib

import numpy as np

from . import progress, recordings, workers
from .envs import suites
from .errors import UserError

# Suite -> environment, policy of its experts, packages that decide what is seen, settings it has.
SUITES = {
    'metaworld': dict(
        env='vid2act_plugin.envs.metaworld:MetaWorld', policy='scripted',
        packages=('metaworld', 'mujoco'),
        settings=('size', 'camera', 'repeat', 'limit', 'reward', 'orientation', 'render'))}
NOISE = (0.0, 0.1, 0.3, 0.5)


def collect(
    names, folder, env, episodes=50, noise=NOISE, random_share=0.2, seed=0, processes=0):
  """Record `episodes` episodes of every source into `folder/NAME` and return these folders.

  env: settings of the environment. noise: standard deviations of the Gaussian
  noise on the expert's actions, taken in turn. random_share: share of episodes
  with uniformly random actions. processes: 0 is one per core. An episode
  depends only on seed, source, its index and the settings, so that an
  interrupted collection continues and ends as if it had not been interrupted.
  Raises a `UserError` for settings that do not exist, or that differ from
  those of a recording which is already there.
  """
  _check(names, episodes, noise, random_share, seed)
  sources = [
      Source(name, folder, env, dict(noise=list(noise), random_share=random_share), seed)
      for name in names]
  jobs = [dict(x.job(i), source=k) for k, x in enumerate(sources) for i in x.missing(episodes)]
  if jobs:
    processes = min(processes or os.cpu_count(), len(jobs))
    _run(sources, jobs, processes)
  return [x.folder for x in sources]


class Source:
  """One source's recording while it grows."""

  def __init__(self, name, folder, env, behaviour, seed):
    suite, task = name.split('_', 1)
    spec = SUITES[suite]
    self.folder = pathlib.Path(folder).expanduser() / name
    self.env = spec['env']
    head = dict(
        source=name, suite=suite, task=task, seed=seed,
        behaviour=dict(policy=spec['policy'], **behaviour),
        env={k: env[k] for k in spec['settings'] if k in env},
        versions={x: importlib.metadata.version(x) for x in spec['packages']})
    self.head = json.loads(json.dumps(head))  # As it reads back: tuples become lists.
    self.entries = {}

  def missing(self, episodes):
    """Return the indices still to be recorded; what is there already is checked and kept."""
    for part in self.folder.glob('*.part'):  # A killed writer's.
      part.unlink(missing_ok=True)
    if (self.folder / recordings.MANIFEST).exists():
      self._resume(recordings.load_manifest(self.folder))
    names = [recordings.name(i) for i in range(episodes)]
    found = [i for i, x in enumerate(names) if x not in self.entries]
    stray = [i for i in found if (self.folder / names[i]).exists()]
    if stray:
      print(f"{self.head['source']}: episodes {stray} are incomplete and are recorded again")
    if self.entries:
      print(f"{self.head['source']}: {len(self.entries)} episodes are there already")
    return found

  def job(self, index):
    """Return what a worker needs to record one episode."""
    behaviour = self.head['behaviour']
    return dict(
        name=self.head['source'], task=self.head['task'], env=self.env,
        settings=self.head['env'], seed=self.head['seed'], index=index,
        behaviour=behave(index, behaviour['noise'], behaviour['random_share']),
        folder=str(self.folder))

  def add(self, result):
    """Note a recorded episode in the manifest."""
    self.entries[result['entry']['file']] = result['entry']
    recordings.write_manifest(self.folder, dict(
        self.head, renderer=result['renderer'], act_size=result['act_size'],
        episodes=[self.entries[x] for x in sorted(self.entries)]))

  def _resume(self, manifest):
    for path, before, now in _differences(manifest, self.head):
      if path.startswith('versions'):
        print(f'Note: {self.folder} was begun with {path[9:]} {before}; this is {now}.')
        continue
      raise UserError(
          f"The recording {self.folder} was made with {path} = {before}, not {now}; use the "
          f"former (--{path.split('.')[-1].replace('_', '-')}) or name another folder (--out).")
    for entry in manifest['episodes']:
      try:
        recordings.read_episode(self.folder, entry)
      except UserError:
        continue  # Found as incomplete, and recorded again.
      self.entries[entry['file']] = entry


def behave(index, noise, random_share):
  """Return the behaviour of the episode `index`: random ones are spread evenly among the others."""
  before, after = (math.floor(x * random_share + 1e-9) for x in (index, index + 1))
  if after > before:
    return dict(policy='random')
  return dict(policy='expert', noise=float(noise[(index - before) % len(noise)]))


def record(env, behaviour, rng):
  """Play one episode and return it as a recording's arrays, `{key: [T, ...]}`."""
  obs = env.step({'reset': True})
  space = env.act_space['action']
  rows, actions = [obs], []
  while not obs['is_last']:
    if behaviour['policy'] == 'random':
      action = rng.uniform(-1, 1, space.shape)
    else:
      action = env.expert_action() + behaviour['noise'] * rng.standard_normal(space.shape)
    actions.append(np.clip(action, -1, 1).astype(np.float32))
    obs = env.step({'action': actions[-1], 'reset': False})
    rows.append(obs)
  actions.append(np.zeros(space.shape, np.float32))
  episode = {k: np.stack([x[k] for x in rows]) for k in recordings.SPACES if k in obs}
  success = np.array([x['log/success'] for x in rows], np.float32)
  return {**episode, 'action': np.stack(actions), 'success': success}


class Recorder:
  """What a worker process does with its jobs; keeps the environment between them."""

  def __init__(self):
    self.key = self.env = self.renderer = None

  def __call__(self, job):
    source = zlib.crc32(job['name'].encode())
    self._make(job, np.random.SeedSequence([job['seed'], source]).generate_state(1)[0])
    self.env.episode = job['index']
    rng = np.random.default_rng([job['seed'], source, job['index']])
    episode = record(self.env, job['behaviour'], rng)
    entry = recordings.write_episode(job['folder'], job['index'], episode, job['behaviour'])
    return dict(entry=entry, renderer=self.renderer, act_size=episode['action'].shape[1])

  def _make(self, job, seed):
    key = job['name'], job['settings'], job['seed']
    if key == self.key:
      return
    if self.env:
      self.env.close()
    module, name = job['env'].split(':')
    kind = getattr(importlib.import_module(module), name)
    self.env = kind(job['task'], **job['settings'], seed=int(seed))
    self.env.step({'reset': True})
    self.renderer, self.key = self.env.describe(), key


def add_parser(sub):
  """Add the command `collect` to the subparsers `sub`."""
  parser = sub.add_parser('collect', help='record episodes of source tasks', description=__doc__)
  add = parser.add_argument
  add('sources', nargs='+', metavar='SOURCE', help='such as metaworld_door-close')
  add('--out', required=True, metavar='DIR', help='gets one folder per source')
  add('--episodes', type=int, default=50, help='per source; default: %(default)s')
  add('--limit', type=int, default=200, help='simulator steps per episode; default: %(default)s')
  add('--size', type=int, nargs='+', default=[64], help='pixels: one number, or height and width')
  add('--camera', default='corner', help='default: %(default)s')
  add('--repeat', type=int, default=1, help='simulator steps per step; default: %(default)s')
  add('--reward', default='v2', help='version of the reward: v1 or v2')
  add('--orientation', default='upright', help='upright, or raw as the camera hangs')
  add('--render', default='full', help='full, or fast: no shadows or reflections')
  add('--noise', type=float, nargs='+', default=NOISE,
      help="standard deviations of the noise on the expert's actions, taken in turn")
  add('--random-share', type=float, default=0.2, help='share of episodes with random actions')
  add('--workers', type=int, default=0, help='processes; 0: one per core')
  add('--seed', type=int, default=0)
  parser.set_defaults(run=main)


def main(args):
  """Run the command line `vid2act collect`."""
  env = {k: getattr(args, k) for k in SUITES['metaworld']['settings']}
  env['size'] = args.size * 2 if len(args.size) == 1 else args.size
  try:
    folders = collect(
        args.sources, args.out, env, args.episodes, args.noise, args.random_share, args.seed,
        args.workers)
  except KeyboardInterrupt:
    print('Interrupted: complete episodes are kept, the same command continues.')
    raise SystemExit(130) from None
  for folder in folders:
    print(summary(folder))


def summary(folder):
  """Return one line about a recording."""
  entries = recordings.load_manifest(folder)['episodes']
  experts = [x for x in entries if x['behaviour'].get('policy') != 'random']
  won = sum(x['success_any'] for x in experts)
  size = sum((folder / x['file']).stat().st_size for x in entries) / 1e6
  return (f"{folder}: {len(entries)} episodes, {sum(x['steps'] for x in entries)} steps, "
          f'{size:.0f} MB, experts succeeded in {won} of {len(experts)}')


def _run(sources, jobs, processes):
  steps, began = 0, time.monotonic()
  with progress.bar('collect', len(jobs), 'episodes') as bar:
    for job, result in workers.run(Recorder, jobs, processes):
      sources[job['source']].add(result)
      steps += result['entry']['steps']
      bar.text(f"{job['name']}, {steps / (time.monotonic() - began):.0f} steps/s")
      bar.advance()


def _check(names, episodes, noise, random_share, seed):
  for name in names:
    suites.check(name, 'sources')
    if name.split('_')[0] not in SUITES:
      raise UserError(
          f"The source '{name}' is of a suite without experts; choose from {', '.join(SUITES)}.")
    if names.count(name) > 1:
      raise UserError(f"The source '{name}' is named twice; name it once.")
  for key, value, good, cure in (
      ('episodes', episodes, episodes > 0, 'give a positive number'),
      ('noise', list(noise), len(noise) and min(noise) >= 0, 'give numbers from 0 on'),
      ('random_share', random_share, 0 <= random_share <= 1, 'give a number from 0 to 1'),
      ('seed', seed, seed >= 0, 'give a number from 0 on')):
    if not good:
      raise UserError(f'The key vid2act.collect.{key} is {value}; {cure}.')


def _differences(before, now, path=''):
  for key, value in now.items():
    if isinstance(value, dict):
      yield from _differences(before.get(key, {}), value, f'{path}{key}.')
    elif before.get(key) != value:
      yield f'{path}{key}', before.get(key), value
