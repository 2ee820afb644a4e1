"""Episodes summed up, and evaluation on episodes that are the same every time."""

import collections
import json
import pathlib
from functools import partial as bind

import numpy as np

from ..common import files, images
from ..common.errors import UserError
from ..common.output import say
from . import curves, environments

EVAL_INDEX = 10_000  # Environments from this index on are for evaluation; the index sets the seed.
WEIGHT, BY = 'log/relevance/', 'log/by/'
FILM, ALONG = 'eval.gif', 'eval_episode.json'  # An episode's frames, and what was so at each of them.


class Episodes:
  """Sums up the episodes of a driver's workers."""

  def __init__(self):
    self.running = collections.defaultdict(lambda: collections.defaultdict(float))

  def add(self, tran, worker):
    """Add one transition and return the finished episode's numbers, or None."""
    if tran['is_first']:
      self.running[worker].clear()
    episode = self.running[worker]
    episode['score'] += float(tran['reward'])
    episode['length'] += 1
    for key, name in (('log/success', 'success_any'), ('log/success_last', 'success_last')):
      if key in tran:
        episode[name] = max(episode[name], float(tran[key]))
    return dict(episode) if tran['is_last'] else None


class Evaluation:
  """Exactly `run.eval_eps` episodes, in environments with seeds of their own.

  The environments are started once and begin anew for each evaluation: what
  decides an episode is its seed and its number since then, so that all
  evaluations of a run, also after it was resumed, see the same episodes. Raises
  a `UserError` for fewer than one episode or environment. `close` ends them.
  """

  def __init__(self, config, args, agent):
    for key in ('eval_eps', 'eval_envs'):
      if args[key] < 1:
        raise UserError(f'The key run.{key} is {args[key]}; give a positive number.')
    self.agent, self.parallel, self.picture, self.driver = agent, not args.debug, None, None
    workers = min(args.eval_envs, args.eval_eps)
    # Each owes its share, so that short episodes are not counted more often than long ones.
    self.shares = [len(range(i, args.eval_eps, workers)) for i in range(workers)]
    self.envs = [
        bind(environments.Again, bind(environments.make, config, EVAL_INDEX + i))
        for i in range(workers)]

  def __call__(self, logger, mode='eval'):
    """Run the episodes, log their means as `MODE/...` and return these; mode: the policy's."""
    self.owed, self.episodes = list(self.shares), Episodes()
    self.results, self.frames, self.relevance = [], [], collections.defaultdict(list)
    self.along = collections.defaultdict(list)
    self.step = int(logger.step) * logger.multiplier
    if not self.driver:
      self.driver = environments.driver(self.envs, self.parallel)
      self.driver.on_step(self._add)
    self.driver.reset(self.agent.init_policy)
    self.driver.acts[environments.ANEW] = np.ones(len(self.envs), bool)
    while any(self.owed):
      self.driver(lambda *xs: self.agent.policy(*xs, mode=mode), steps=1)
    means = {k: float(np.mean([x[k] for x in self.results])) for k in self.results[0]}
    logger.add(means, prefix=mode)
    if mode != 'eval':
      return means
    if self.frames:
      logger.add({'video': np.stack(self.frames)}, prefix='eval')
    if self.frames and self.relevance and images.drawing():
      self.picture = curves.episode(self.frames, self.relevance)
      logger.add({'relevance': self.picture}, prefix='eval')
    logger.write()
    return means

  def close(self):
    if self.driver:
      environments.close(self.driver)

  def video(self, config):
    """Write the first episode of the last evaluation: `FILM`, `ALONG`, `eval_relevance.png`.

    `ALONG` holds its env step, who carried it out where sources may, and of each of its T frames the
    reward, success where the task knows it, and each source's relevance where the policy has it.
    """
    logdir = pathlib.Path(config.logdir).expanduser()
    if self.frames:
      images.gif(logdir / FILM, np.stack(self.frames), fps=2 * config.logger.fps)
      with files.atomic_write(logdir / ALONG) as part:
        part.write_text(json.dumps(dict(
            step=self.step, **self.along, relevance=self.relevance)), encoding='utf-8')
      say(f'Video of an evaluation episode: {logdir / FILM}')
    if self.picture is not None:
      images.png(logdir / 'eval_relevance.png', self.picture)
      say(f"Relevance along it: {logdir / 'eval_relevance.png'}")

  def _add(self, tran, worker):
    if not self.owed[worker]:
      return
    if worker == 0 and self.owed[0] == self.shares[0] and 'image' in tran:
      self.frames.append(tran['image'])
      for key, name in (('reward', 'reward'), ('log/success', 'success')):
        if key in tran:
          self.along[name].append(round(float(tran[key]), 4))
      for key, value in tran.items():
        if key.startswith(BY) and value:
          self.along['by'] = key.removeprefix(BY)
        if key.startswith(WEIGHT):
          self.relevance[key.removeprefix(WEIGHT)].append(round(float(value), 4))
    episode = self.episodes.add(tran, worker)
    if episode:
      self.results.append(episode)
      self.owed[worker] -= 1
