"""Play episodes and record them: what a worker of `vid2act collect` does."""

import importlib
import math
import zlib

import numpy as np

from . import entries, recording


def behave(index, noise, random_share):
  """Return the behaviour of the episode `index`: random ones are spread evenly among the others."""
  before, after = (math.floor(x * random_share + 1e-9) for x in (index, index + 1))
  if after > before:
    return dict(policy='random')
  return dict(policy='expert', noise=float(noise[(index - before) % len(noise)]))


def record(env, expert, behaviour, rng):
  """Play one episode and return it as a recording's arrays, `{key: [T, ...]}`.

  expert: `(env, obs, rng) -> action [A]`, before noise.
  """
  obs = env.step({'reset': True})
  space = env.act_space['action']
  rows, actions = [obs], []
  while not obs['is_last']:
    if behaviour['policy'] == 'random':
      action = rng.uniform(-1, 1, space.shape)
    else:
      action = np.asarray(expert(env, obs, rng))
      if action.shape != space.shape:  # NumPy would repeat one that is smaller.
        raise ValueError(f'the behaviour gave an action of shape {action.shape} instead of {space.shape}')
      _finite('the behaviour gave an action', action)  # Before a simulator is given it.
      action = action + behaviour['noise'] * rng.standard_normal(space.shape)
    actions.append(np.clip(action, -1, 1).astype(np.float32))
    obs = env.step({'action': actions[-1], 'reset': False})
    rows.append(obs)
  actions.append(np.zeros(space.shape, np.float32))
  episode = {k: np.stack([x[k] for x in rows]) for k in recording.SPACES if k in obs}
  success = np.array([x.get('log/success', 0) for x in rows], np.float32)
  _finite('the environment gave a reward', episode['reward'])
  _finite('the environment gave a success', success)
  return {**episode, 'action': np.stack(actions), 'success': success}


def _finite(what, value):
  if not np.isfinite(value).all():
    raise ValueError(f'{what} that is not finite')


class Recorder:
  """What a worker process does with its jobs; keeps the environment between them."""

  def __init__(self):
    self.key = self.env = self.renderer = None

  def __call__(self, job):
    source = zlib.crc32(job['name'].encode())
    self._make(job, np.random.SeedSequence([job['seed'], source]).generate_state(1)[0])
    self.env.episode = job['index']
    rng = np.random.default_rng([job['seed'], source, job['index']])
    expert = lambda env, obs, rng: env.expert_action()
    if ':' in job['policy']:
      expert = entries.behaviour(job['policy'])
    episode = record(self.env, expert, job['behaviour'], rng)
    entry = recording.write_episode(job['folder'], job['index'], episode, job['behaviour'])
    return dict(
        entry=entry, renderer=self.renderer, act_size=episode['action'].shape[1],
        success='log/success' in self.env.obs_space)

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
