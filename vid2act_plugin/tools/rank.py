"""Play every source's behaviour, and random actions, in a task, and show what each earns.

What succeeds more often than random actions, or earns more, can help an agent there from
its first episode on. Episodes have numbers, so that every source meets the same ones.
"""

import contextlib
import json
import math
import pathlib

import jax.numpy as jnp
import numpy as np
import scipy.stats

from ..common import files, images, lock, progress
from ..common.errors import UserError, reading
from ..common.output import document, say, table
from ..envs import suites
from ..host import internals
from ..teacher import behaviours, bundle
from ..training.trials import RANDOM, Trials

FILE, PICTURE = 'rank.json', 'rank.png'
LEVEL = 0.025  # Of a test that a source is better than random actions.


def add_parser(sub):
  """Add the command `rank` to the subparsers `sub`."""
  parser = sub.add_parser(
      'rank', help="play the sources' behaviours in a task", description=__doc__)
  add = parser.add_argument
  add('--task', required=True, nargs='+', help='such as metaworld_coffee-button')
  add('--teacher', required=True, metavar='DIR',
      help='a teacher bundle, or a folder of behaviours that the script clone has written')
  add('--episodes', type=int, default=20, help='per source; default: %(default)s')
  add('--noise', type=float, default=0.1,
      help='standard deviation of what is added to actions; default: %(default)s')
  add('--seed', type=int, default=0, help='of the task; default: %(default)s')
  add('--limit', type=int, help="env steps per episode; default: as in the first source's recording, "
      "or its suite's in a task of another suite")
  add('--reward', help='metaworld: version of the reward, or sparse; default: likewise')
  add('--out', metavar='DIR', help='keep every episode there and draw them; repeated, it continues')
  add('--json', action='store_true', help='one JSON object instead of table and picture, and the rest aside')
  parser.set_defaults(run=main)


def main(args):
  """Run the command line `vid2act rank`."""
  for key, least in (('episodes', 1), ('noise', 0), ('seed', 0)):
    if not getattr(args, key) >= least:
      raise UserError(f'The option --{key} is {getattr(args, key)}; give {least} or more.')
  chosen = {k: v for k in ('limit', 'reward') if (v := getattr(args, k)) is not None}
  for task in args.task:
    suites.check(task, '--task')
    suites.check_options(task, chosen, 'task')
  found = behaviours_in(args.teacher)
  recorded = {**found.facts['env'], 'size': found.facts['image'][:2]}
  envs = {x: {**_alike(x, found.facts['sources'][0], recorded), **chosen} for x in args.task}
  settings = dict(
      behaviours=found.facts, env={**recorded, **chosen}, noise=args.noise, seed=args.seed)
  if chosen and any(x != settings['env'] for x in envs.values()):
    settings['chosen'] = chosen  # Earlier versions dropped it there: what they kept differs.
  with lock.locked(args.out) if args.out else contextlib.nullcontext():
    kept = Kept(args.out, settings)
    try:
      rank(found, envs, args.episodes, args.noise, args.seed, kept)
    except KeyboardInterrupt:
      _show(kept, args)
      say('Interrupted: ' + ('what was played is kept, the same command continues.' if args.out else (
          'with --out DIR the same command would continue.')))
      raise SystemExit(130) from None
    _show(kept, args)


def rank(found, envs, episodes, noise, seed, kept):
  """Play `episodes` of every source that has as many actions as the task, and of random actions.

  envs: `{task: settings}`. Raises a `UserError`, before anything is played, for a task that cannot be
  made, or that no source fits.
  """
  internals.compute_in(jnp.float32)
  players = {task: _players(found, task, env, seed) for task, env in envs.items()}
  act, frames = found.actor(), found.facts['settings']['frames']
  with progress.bar('rank', episodes * sum(map(len, players.values())), 'episodes') as bar:
    for task, sources in players.items():
      with _trials(task, envs[task], seed) as trials:
        for source, name in sources.items():
          bar.text(f'{name} in {task}')
          done = kept.count(task, name)
          bar.advance(min(done, episodes))
          for i in range(done, episodes):
            kept.add(task, name, trials.play(act, source, frames, noise, i))
            bar.advance()


def _players(found, task, env, seed):
  """Return `{source: name}` of those that can play a task, random actions first; none is a `UserError`."""
  sizes = found.facts['act_sizes']
  with _trials(task, env, seed) as trials:
    actions = trials.actions
  if actions not in sizes:
    raise UserError(
        f"The task {task} has {actions} actions, but the sources have "
        f"{', '.join(map(str, sorted(set(sizes))))}; name a task of theirs.")
  return {RANDOM: 'random actions', **{
      k: name for k, (name, size) in enumerate(zip(found.facts['sources'], sizes)) if size == actions}}


def _trials(task, env, seed):
  with reading(f'The environment of the task {task}', 'name another task', 'cannot be made'):
    return contextlib.closing(Trials(task, env, seed))


def _alike(task, source, env):
  """Return of a recording's settings what a task takes: of another suite's the size, of data of none all but `repeat`."""
  suite, mine = (x.split('_')[0] for x in (source, task))
  left = {'repeat'} if suite not in suites.SUITES else env.keys() - {'size'} if suite != mine else set()
  return {k: v for k, v in env.items() if k not in left}


class Kept:
  """Episodes (return, success) by task and source, in a folder if there is one.

  Raises a `UserError` where what is in the folder was played with other settings, or is no episodes.
  """

  def __init__(self, folder, settings):
    self.path = pathlib.Path(folder).expanduser() / FILE if folder else None
    self.content = dict(settings=json.loads(json.dumps(settings)), episodes={})
    if self.path and self.path.exists():
      with reading(f'The file {self.path}', 'delete it, or name another folder with --out'):
        before = files.parse(self.path.parent, FILE)
        same = before['settings'] == self.content['settings']
        played = {
            task: {k: list(map(_episode, x)) for k, x in found.items()}
            for task, found in before['episodes'].items()}
      if not same:
        raise UserError(
            f'The file {self.path} was made with other behaviours or settings; name another folder '
            'with --out.')
      self.content['episodes'] = played

  def count(self, task, source):
    return len(self.content['episodes'].get(task, {}).get(source, ()))

  def add(self, task, source, episode):
    self.content['episodes'].setdefault(task, {}).setdefault(source, []).append(episode)
    if self.path:
      with files.atomic_write(self.path) as part:
        part.write_text(json.dumps(self.content), encoding='utf-8')


def _episode(value):
  """Return an episode that was read, (return, success); a ValueError if it is none."""
  gained, success = value
  if type(gained) not in (int, float) or not math.isfinite(gained) or success not in (None, 0, 1):
    raise ValueError(f'{value} is not a return and a success')
  return gained, success


def summary(episodes):
  """Return the rows of one task, the best source first.

  episodes: `{source: [(return, success)]}`. A row has the means and 95 % intervals of return
  (bootstrap) and success (Wilson), and `better`: more than random actions, see `_better`.
  """
  rows = []
  for name, played in episodes.items():
    gained = np.array([x for x, _ in played], float)
    won = [x for _, x in played if x is not None]
    rows.append(dict(
        source=name, episodes=len(played), score=float(gained.mean()), score_interval=_mean(gained),
        success=float(np.mean(won)) if won else None,
        success_interval=_share(int(sum(won)), len(won)) if won else None))
  chance = episodes.get('random actions')
  for row in rows:
    row['better'] = bool(chance) and row['source'] != 'random actions' and _better(episodes[row['source']], chance)
  return sorted(rows, key=lambda x: (x['success'] or 0, x['score']), reverse=True)


def _better(played, chance):
  """Whether episodes earn more, or succeed more often, than those of random actions.

  One-sided tests at .025 after Bonferroni's correction for the two: of the mean return by
  permutations, of success Fisher's. Neither takes few episodes, or ties, for a difference.
  """
  returns = [np.array([x for x, _ in y], float) for y in (played, chance)]
  least = scipy.stats.permutation_test(
      returns, lambda x, y, axis: x.mean(axis) - y.mean(axis), vectorized=True, alternative='greater',
      n_resamples=1999, rng=np.random.default_rng(0)).pvalue if all(len(x) > 1 for x in returns) else 1
  won, lost = ([sum(x == y for _, x in z) for z in (played, chance)] for y in (1, 0))
  success = scipy.stats.fisher_exact([won, lost], alternative='greater').pvalue
  return bool(2 * min(least, success) < LEVEL)


def behaviours_in(folder):
  teacher = None if behaviours.exists(folder) else bundle.load(folder, 'The option --teacher')
  found = behaviours.of(teacher) if teacher else behaviours.read(folder)
  if not found:
    raise UserError(
        f'The teacher {folder} has no behaviours; make them with `--script clone --logdir DIR`, the suite and the vid2act.sources '
        f"of {', '.join(teacher.manifest['sources'])}; --teacher is DIR/behaviours.")
  return found


def _mean(values):
  if len(values) < 2 or values.std() == 0:
    return [float(values.mean())] * 2
  return list(map(float, scipy.stats.bootstrap(
      (values,), np.mean, method='percentile', rng=np.random.default_rng(0)).confidence_interval))


def _share(count, of):
  return list(map(float, scipy.stats.binomtest(count, of).proportion_ci(method='wilson')))


def _show(kept, args):
  found = {k: summary(v) for k, v in kept.content['episodes'].items() if k in args.task}
  if args.json:
    document(found)
    return
  for task, rows in found.items():
    table(task, (
        'source', 'episodes', ['return', '95 % interval'], ['success', '95 % interval'], 'better than random'), [
        (x['source'], x['episodes'], f"{x['score']:.1f} ({x['score_interval'][0]:.1f} to {x['score_interval'][1]:.1f})",
         '-' if x['success'] is None else
         f"{x['success']:.2f} ({x['success_interval'][0]:.2f} to {x['success_interval'][1]:.2f})",
         'yes' if x['better'] else '') for x in rows])
    if rows[0]['better']:
      say(f"A policy can start as the first of them: --agent.vid2act.init_policy.source '{rows[0]['source']}'")
  if args.out and found and images.drawing():
    say(f'Picture: {_draw(found, pathlib.Path(args.out).expanduser() / PICTURE)}')


def _draw(found, path):
  """Draw a panel per task with a bar for each source: success, or the return where none is known."""
  size = 5 * len(found), 1 + 0.3 * max(map(len, found.values()))
  with images.figure(
      path, 1, len(found), figsize=size, squeeze=False, layout='constrained') as (_, axes):
    for ax, (task, rows) in zip(axes[0], found.items()):
      key = 'score' if None in [x['success'] for x in rows] else 'success'
      rows = rows[::-1]
      value = np.array([x[key] for x in rows])
      spread = np.abs(np.array([x[f'{key}_interval'] for x in rows]).T - value)
      labels = [images.label(x['source']) + ' *' * x['better'] for x in rows]
      ax.barh(labels, value, xerr=spread, color='tab:gray', capsize=2)
      ax.set_title(images.label(task))
      ax.set_xlabel(f'{"return" if key == "score" else key}, 95 % interval (*: better than random)')
  return path
