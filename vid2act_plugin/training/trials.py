"""Behaviours played in real tasks: what each earns there."""

import importlib

import numpy as np

from ..common import resources
from ..envs import suites

RANDOM = -1  # In place of a source: uniformly random actions.


class Trials:
  """A task, and episodes in it that a behaviour carries out.

  task: SUITE_TASK. env: settings, of which the task takes those of its suite, and
  defaults for the rest. seed: with the number of an episode it decides how that
  begins.
  """

  def __init__(self, task, env, seed=0):
    suite, _, name = task.partition('_')
    self.suite, self.seed = suites.SUITES[suite], seed
    module, kind = self.suite.env.split(':')
    known = {**resources.defaults()['env'][suite], **env}
    settings = {k: known[k] for k in self.suite.settings}
    self.env = getattr(importlib.import_module(module), kind)(name, **settings, seed=seed)
    self.success = 'log/success' in self.env.obs_space
    self.actions = self.env.act_space['action'].shape[0]

  def play(self, act, source, frames, noise, episode):
    """Return return and success of one episode, success None in a task that knows none.

    act: from frames `[1, F, H, W, 3]` and source `[1]` to actions `[1, A]`; noise:
    standard deviation of what is added to them.
    """
    rng = np.random.default_rng([self.seed, source + 1, episode])
    self.env.episode = episode
    obs = self.env.step({'reset': True})
    seen = np.repeat(obs['image'][None], frames, 0)
    gained, success = 0.0, 0.0
    while not obs['is_last']:
      if source == RANDOM:
        action = rng.uniform(-1, 1, self.actions)
      else:
        action = act(seen[None], [source])[0, :self.actions]
        action = action + noise * rng.standard_normal(self.actions)
      obs = self.env.step({'action': np.clip(action, -1, 1).astype(np.float32), 'reset': False})
      seen = np.concatenate([seen[1:], obs['image'][None]])
      gained += float(obs['reward'])
      success = max(success, float(obs.get('log/success', 0)))
    return gained, success if self.success else None

  def close(self):
    self.env.close()
