"""Meta-World tasks from pixels."""

import functools
import warnings

import numpy as np

from . import render as drawing
from . import spaces, suites

SPARSE = 'sparse'
REWARDS = ('v1', 'v2', SPARSE)


class MetaWorld:
  """One task in the host's Env interface.

  task: a name such as `door-lock`, with or without `-v3`. size: height and
  width in pixels. camera: one of the scene's. repeat: env steps per
  action; limit: env steps per episode. reward: version of the reward
  function, or sparse: 1 for an action that brings success, else 0. orientation, render: see `render.Camera`. seed: with `episode`, the
  index of the next episode, it alone decides the positions of that episode.
  Raises a `UserError` for settings that do not exist.

  Not a subclass of the host's Env: importing the host imports JAX, which no
  process that only collects needs.
  """

  def __init__(
      self, task, size=(64, 64), camera='corner', repeat=1, limit=500, reward='v2',
      orientation='upright', render='full', seed=0):
    drawing.setup_gl()
    suites.check(f'metaworld_{task}')
    drawing.check(size, render, orientation, 'env.metaworld')
    drawing.one_of('env.metaworld.reward', reward, REWARDS)
    drawing.positive('env.metaworld.repeat', repeat)
    drawing.positive('env.metaworld.limit', limit)
    self.name = task.removesuffix('-v3')
    self.sparse = reward == SPARSE
    self.inner = _simulator(f'{self.name}-v3', 'v2' if self.sparse else reward, limit)
    self.camera = drawing.Camera(
        self.inner.model, self.inner.data, camera, size, render, orientation, 'env.metaworld')
    self.size, self.repeat, self.limit = tuple(size), repeat, limit
    self.seed, self.episode = int(seed), 0
    self.done, self.state = True, None

  @functools.cached_property
  def obs_space(self):
    return spaces.observations(self.size, success=True)

  @functools.cached_property
  def act_space(self):
    return spaces.actions((4,))

  def step(self, action):
    """Take one step, or begin an episode if asked to or if the last one is over."""
    if action['reset'] or self.done:
      return self._reset()
    act = np.clip(np.asarray(action['action'], np.float64), -1, 1)
    reward, success = 0.0, False
    for _ in range(min(self.repeat, self.limit - self.inner.curr_path_length)):
      self.state, gained, _, _, info = self.inner.step(act)
      reward += float(gained)
      success |= info['success'] > 0
    self.done = self.inner.curr_path_length >= self.limit
    return self._obs(success if self.sparse else reward, success, last=self.done)

  def expert_action(self):
    """Return what Meta-World's scripted policy does now, `[4]` float32 in [-1, 1]."""
    action = self._expert.get_action(self.state)
    return np.clip(np.nan_to_num(action), -1, 1).astype(np.float32)

  def describe(self):
    """Return the names of the GL backend and of the renderer."""
    return self.camera.describe()

  def close(self):
    self.camera.close()
    self.inner.close()

  @functools.cached_property
  def _expert(self):
    from metaworld.policies import ENV_POLICY_MAP
    return ENV_POLICY_MAP[f'{self.name}-v3']()

  def _reset(self):
    # Seeding every episode makes it independent of those before.
    seed = np.random.SeedSequence([self.seed, self.episode]).generate_state(1)
    self.inner.seed(int(seed[0]))
    self.episode += 1
    self.state, _ = self.inner.reset()
    self.done = False
    return self._obs(0.0, False, first=True)

  def _obs(self, reward, success, first=False, last=False):
    # Meta-World moves the goal's marker and then computes all positions anew, which undoes it.
    for marker in self.inner._target_site_config:
      self.inner._set_pos_site(*marker)
    return {
        'image': self.camera(),
        'reward': np.float32(reward),
        'is_first': first,
        'is_last': last,
        'is_terminal': False,
        'log/success': np.float32(success),
        'log/success_last': np.float32(success and last),
    }


def _simulator(name, reward, limit):
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Of gymnasium, about spaces that are Meta-World's.
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    env = ALL_V3_ENVIRONMENTS[name](reward_function_version=reward)
  # The scripted policies clip nothing themselves; `expert_action` does.
  warnings.filterwarnings('ignore', message=r'Constant\(s\) may be too high')
  env.max_path_length = limit
  env._set_task_called = True
  # Some scripted policies need the goal, which is hidden by default.
  env._partially_observable = False
  env.__dict__.pop('sawyer_observation_space', None)
  env._freeze_rand_vec = False
  env.seeded_rand_vec = True
  return env
