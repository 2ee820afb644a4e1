"""Record source tasks: scripted, planned or own behaviour with action noise, and random episodes."""

import contextlib
import importlib.metadata
import json
import pathlib
import time

import numpy as np

from ..common import cluster, lock, parallel, progress, resources
from ..common.errors import UserError
from ..common.output import count, say
from ..envs import suites
from . import entries, play, recording
from .writer import Writer, differences

LIMIT = 200
NOISE = (0.0, 0.1, 0.3, 0.5)
FACTS = 'renderer', 'act_size', 'success'  # That only a worker knows.


def collect(
    names, folder, env, episodes=50, noise=NOISE, random_share=0.2, seed=0, processes=0,
    ray=None):
  """Record `episodes` episodes of every source into `folder/NAME` and return these folders.

  names: tasks, SUITE_TASK, patterns of them, or tasks with a behaviour, SUITE_TASK@MODULE:FUNCTION,
  a function `(env, obs, rng) -> action`. env: settings of the environment; those left out are the suite's
  defaults, and 200 env steps. noise: standard deviations of the Gaussian noise on the expert's actions, taken
  in turn. random_share: share of episodes with uniformly random actions. processes: 0 is one per core. ray: a
  `cluster.Cluster` to be entered, whose CPUs take the place of processes. An episode depends only on seed,
  source, its index and the settings, so that an interrupted collection continues and ends as if it had not been.
  Raises a `UserError` for settings that do not exist, or differ from those of a recording which is already there.
  """
  found = entries.parse_all(names)
  if ray is not None:  # Whose workers are elsewhere.
    folder = pathlib.Path(folder).expanduser().absolute()
  _check(found, env, episodes, noise, random_share, seed)
  processes = parallel.places(processes, '--workers')
  behaviour = dict(noise=list(noise), random_share=random_share)
  with lock.locked(folder):
    sources = [Source(x, folder, env, behaviour, seed) for x in found]
    missing = [x.missing(episodes) for x in sources]
    jobs = [dict(sources[k].job(i), source=k) for k, x in enumerate(missing) for i in x]
    # One of each source first: a setting or a behaviour that is wrong shows at once.
    jobs.sort(key=lambda x: x['index'] != missing[x['source']][0])
    if jobs:
      for k in {x['source'] for x in jobs}:
        sources[k].begin()
      with _workers(jobs, folder, processes, ray) as results:
        _record(sources, jobs, results)
  return [x.folder for x in sources]


class Source(Writer):
  """One source's recording while it grows; `names` are the files of the episodes that were asked for."""

  def __init__(self, entry, folder, env, behaviour, seed):
    name, task = entry.task.split('_', 1)
    self.suite = suite = suites.SUITES[name]
    policy, digest = dict(policy=suite.expert(task)), suite.digest(task)
    if entry.behaviour:
      policy = dict(policy=entry.behaviour, digest=entries.digest(entry.behaviour))
    elif policy['policy'] == suites.RANDOM:
      say(f'Note: {entry.task} has no expert, so that all its episodes have random actions; name a '
          f'behaviour, {entry.task}@MODULE:FUNCTION, for others.')
    head = dict(
        source=entry.name, suite=name, task=task, seed=seed, behaviour={**policy, **behaviour},
        env={**defaults(name), **{k: env[k] for k in suite.settings if k in env}},
        versions={
            **{x: importlib.metadata.version(x) for x in suite.packages},
            **({entry.task: digest} if digest else {})})
    head = json.loads(json.dumps(head))  # As it reads back: tuples become lists.
    super().__init__(pathlib.Path(folder).expanduser() / entry.name, head)

  def missing(self, episodes):
    """Return the indices still to be recorded; what is there already is checked and kept."""
    others = self._check_earlier()
    self.resume()
    self.names = [recording.name(i) for i in range(episodes)]
    found = [i for i, x in enumerate(self.names) if x not in self.entries]
    stray = [i for i in found if (self.folder / self.names[i]).exists()]
    if stray:
      say(f"{self.head['source']}: episodes {stray} are incomplete and are recorded again")
    if self.entries:
      say(f"{self.head['source']}: there already are {count(len(self.entries), 'episode')}")
    self._check_versions(others, found)
    if not found and self.earlier.get('complete') is False:  # More were asked for when it was interrupted.
      self._save(self.earlier)
    return found

  def job(self, index):
    """Return what a worker needs to record one episode."""
    behaviour, random = self.head['behaviour'], dict(policy=suites.RANDOM)
    chosen = play.behave(index, behaviour['noise'], behaviour['random_share'])
    return dict(
        name=self.head['source'], task=self.head['task'], env=self.suite.env,
        settings=self.head['env'], seed=self.head['seed'], index=index,
        policy=behaviour['policy'],
        behaviour=random if behaviour['policy'] == suites.RANDOM else chosen,
        folder=str(self.folder))

  def record(self, result):
    """Note in the manifest what a worker has recorded."""
    self.add(result['entry'])
    before, now = str((self.earlier or {}).get('renderer') or result['renderer']), result['renderer']
    self._save({**result, 'renderer': before if now in before else f'{before}; {now}'})

  def _save(self, facts):
    """Write the manifest, which says whether all episodes are there: a run uses an interrupted one, with a note."""
    self.save(**{k: facts[k] for k in FACTS if k in facts}, complete=all(x in self.entries for x in self.names))

  def _check_earlier(self):
    """Refuse other settings than those of what is there; returns the versions that differ, `[(name, before, now)]`."""
    found = [*differences(self.earlier, self.head)] if self.earlier else []
    for path, before, now in found:
      if not path.startswith('versions.'):
        raise UserError(
            f'The recording {self.folder} was made with {path} = {before}, not {now}; {self._cure(path)}name another '
            'folder (--out).')
    return [(x.removeprefix('versions.'), *rest) for x, *rest in found]

  def _check_versions(self, others, missing):
    """Tell versions that differ, which the manifest has beside each other; a new file of the environment adds nothing."""
    for name, before, now in others if self.entries else ():
      if name == f"{self.head['suite']}_{self.head['task']}" and before and missing:
        raise UserError(
            f'The recording {self.folder} was made with another file of the environment {name}; restore it as it was '
            f'({before}, not {now}), or name another folder (--out).')
      say(f'Note: {self.folder} was begun with {name} {before}; this is {now}.')
      both = *str(before or now).split(', '), *[now] * bool(missing)
      self.head['versions'][name] = ', '.join(dict.fromkeys(both))

  def _cure(self, path):
    if path == 'behaviour.digest':
      return f"restore the modules of {self.head['behaviour']['policy']} as they were, or "
    known = path.startswith('env.') or path in ('behaviour.noise', 'behaviour.random_share', 'seed')
    return f"use the former (--{path.split('.')[-1].replace('_', '-')}) or " * known


def defaults(suite):
  """Return the settings of a suite's environment that a recording has unless told otherwise."""
  env = resources.defaults()['env'][suite]
  return {**{k: env[k] for k in suites.SUITES[suite].settings}, 'limit': LIMIT}


def add_parser(sub):
  """Add the command `collect` to the subparsers `sub`."""
  parser = sub.add_parser('collect', help='record episodes of source tasks', description=__doc__)
  add = parser.add_argument
  add('sources', nargs='+', metavar='SOURCE',
      help="such as metaworld_door-close, all that match as in 'metaworld_door-*', or with a behaviour of "
      'your own, a function (env, obs, rng) -> action: metaworld_door-close@MODULE:FUNCTION')
  add('--out', required=True, metavar='DIR', help='gets one folder per source')
  add('--episodes', type=int, default=50, help='per source; default: %(default)s')
  add('--limit', type=int, help=f'env steps per episode; default: {LIMIT}')
  add('--size', type=int, nargs='+', help='pixels: one number, or height and width; default: 64')
  add('--camera', type=lambda x: int(x) if x.lstrip('-').isdigit() else x, help="one of the scene's; default: the suite's")
  add('--repeat', type=int, help="env steps per action; default: the suite's")
  add('--reward', help='metaworld: version of the reward, v1 or v2, or sparse')
  add('--image', help='gymnasium: the pixel observation that is the image, or render')
  add('--success', help='gymnasium: name of success in info')
  add('--make', help='gymnasium: keyword arguments of gymnasium.make, as JSON')
  add('--orientation', help='metaworld: upright, or raw as the camera hangs')
  add('--render', help='full, or fast: no shadows, and in metaworld and dmcontrol no reflections or fine meshes')
  add('--noise', type=float, nargs='+', default=NOISE,
      help="standard deviations of the noise on the expert's actions, taken in turn; default: " + ' '.join(
          f'{x:g}' for x in NOISE))
  add('--random-share', type=float, default=0.2, help='share of episodes with random actions; default: %(default)s')
  add('--workers', type=int, default=0, help='processes; 0: one per core')
  cluster.add_options(add)
  add('--seed', type=int, default=0, help='of the episodes; default: %(default)s')
  parser.set_defaults(run=main)


def main(args):
  """Run the command line `vid2act collect`."""
  keys = {x for suite in suites.SUITES.values() for x in suite.settings}
  env = {k: v for k, v in vars(args).items() if k in keys and v is not None}
  if len(env.get('size', ())) == 1:
    env['size'] = env['size'] * 2
  cluster.check(args, 'workers')
  ray = None if args.ray is None else cluster.Cluster(args.ray, args.cpus, args.gpus)
  try:
    folders = collect(
        args.sources, args.out, env, args.episodes, args.noise, args.random_share, args.seed,
        args.workers, ray)
  except KeyboardInterrupt:
    say('Interrupted: complete episodes are kept, the same command continues.')
    raise SystemExit(130) from None
  for folder in folders:
    say(summary(folder))


def summary(folder):
  """Return one line about a recording."""
  manifest = recording.load_manifest(folder)
  episodes = manifest['episodes']
  experts = [x for x in episodes if x['behaviour'].get('policy') != 'random']
  size = sum((folder / x['file']).stat().st_size for x in episodes) / 1e6
  text = (f"{folder}: {count(len(episodes), 'episode')}, {count(sum(x['steps'] for x in episodes), 'step')}, "
          f'{size:.1f} MB')
  if experts:
    text += f", return of experts {np.mean([x['return'] for x in experts]):.1f}"
  if experts and manifest.get('success', suites.SUITES[manifest['suite']].success):
    text += f", success in {sum(x['success_any'] for x in experts)} of {len(experts)}"
  return text


@contextlib.contextmanager
def _workers(jobs, folder, processes, ray):
  """Yield what yields (job, result) as workers here, or of a cluster, finish."""
  if ray is None:
    yield parallel.run_jobs(play.Recorder, jobs, min(processes, len(jobs)))
    return
  with ray:
    ray.shared([str(folder)])
    with contextlib.closing(ray.run_jobs(play.Recorder, jobs)) as results:
      yield results


def _record(sources, jobs, results):
  steps, began = 0, time.monotonic()
  with progress.bar('collect', len(jobs), 'episodes') as bar:
    for job, result in results:
      sources[job['source']].record(result)
      steps += result['entry']['steps']
      bar.text(f"{job['name']}, {steps / (time.monotonic() - began):.0f} steps/s")
      bar.advance()


def _check(found, env, episodes, noise, random_share, seed):
  for entry in found:
    if entry.path:
      raise UserError(
          f"The source '{entry.path}' is data already; name it in the key vid2act.sources, or "
          'bring it in with `vid2act import`.')
    if entry.suite not in suites.SUITES:
      raise UserError(
          f"The source '{entry.name}' is of a suite without experts; choose from "
          f"{', '.join(suites.SUITES)}.")
    suites.check_options(entry.name, env, 'source')
  for key, value, good, cure in (
      ('episodes', episodes, episodes > 0, 'give a positive number'),
      ('noise', list(noise), len(noise) and min(noise) >= 0, 'give numbers from 0 on'),
      ('random_share', random_share, 0 <= random_share <= 1, 'give a number from 0 to 1'),
      ('seed', seed, seed >= 0, 'give a number from 0 on')):
    if not good:
      raise UserError(f"The option --{key.replace('_', '-')} (in a run: vid2act.collect.{key}) is {value}; {cure}.")
