"""Tasks of the DeepMind Control Suite from pixels."""

import functools

import elements
import numpy as np

from . import render as drawing
from . import spaces, suites

CAMERAS = {'quadruped': 2}  # What -1 means; others 0. The quadruped's camera 0 is far away.


class DMControl:
  """One task in the host's Env interface.

  task: a name such as `walker_walk`. size: height and width in pixels. camera:
  index or name of one of the scene's; -1 is the usual one. repeat: control
  steps per step; limit: control steps per episode, 1000 are the suite's own.
  proprio: also give the task's own observations, each as a float32 vector
  under its name. render: see `render.Camera`. seed: with `episode`, the index
  of the next episode, it alone decides how that episode begins. Raises a
  `UserError` for settings that do not exist.
  """

  def __init__(
      self, task, size=(64, 64), camera=-1, repeat=2, limit=1000, proprio=False, render='full',
      seed=0):
    drawing.setup_gl()
    suites.check(f'dmcontrol_{task}')
    drawing.check(size, render, 'raw', 'env.dmcontrol')
    drawing.positive('env.dmcontrol.repeat', repeat)
    drawing.positive('env.dmcontrol.limit', limit)
    self.name = task
    self.seed, self.episode = int(seed), 0
    self.inner = _simulator(task, _seeds(self.seed)[0])
    self.physics, self.task = self.inner.physics, self.inner.task
    self.low, self.high = _bounds(self.inner.action_spec())
    if camera == -1:
      camera = CAMERAS.get(task.split('_')[0], 0)
    self.camera = drawing.Camera(
        self.physics.model.ptr, self.physics.data.ptr, camera, size, render, 'raw',
        'env.dmcontrol')
    self.size, self.repeat, self.limit, self.proprio = tuple(size), repeat, limit, proprio
    self.done, self.steps, self.planner = True, 0, None

  @functools.cached_property
  def obs_space(self):
    specs = self.inner.observation_spec() if self.proprio else {}
    vectors = {k: elements.Space(np.float32, (int(np.prod(v.shape)),)) for k, v in specs.items()}
    return spaces.observations(self.size, **vectors)

  @functools.cached_property
  def act_space(self):
    return spaces.actions(self.low.shape)

  def step(self, action):
    """Take one step, or begin an episode if asked to or if the last one is over."""
    if action['reset'] or self.done:
      return self._reset()
    act = np.clip(np.asarray(action['action'], np.float64), -1, 1)
    act, reward = self.low + (act + 1) / 2 * (self.high - self.low), 0.0
    for _ in range(min(self.repeat, self.limit - self.steps)):
      now = self.inner.step(act)
      self.steps += 1
      reward += float(now.reward)
      if now.last():
        break
    self.done = now.last() or self.steps >= self.limit
    return self._obs(now, reward, last=self.done, terminal=now.last() and now.discount == 0)

  def expert_action(self):
    """Return what a planner that knows the simulator does now, `[A]` float32 in [-1, 1]."""
    if self.planner is None:
      from .planner import Planner
      seed = _seeds(self.seed, self.episode - 1)[1]
      substeps = round(self.inner.control_timestep() / self.physics.timestep())
      self.planner = Planner(
          self.physics, self.task, self.repeat, seed, substeps=substeps, low=self.low,
          high=self.high)
    return np.clip(self.planner.plan(), -1, 1).astype(np.float32)

  def describe(self):
    """Return the names of the GL backend and of the renderer."""
    return self.camera.describe()

  def close(self):
    self.camera.close()
    self.physics.free()

  def _reset(self):
    # Seeding every episode makes it independent of those before.
    self.task.random.seed(_seeds(self.seed, self.episode)[0])
    self.episode += 1
    self.done, self.steps, self.planner = False, 0, None
    terrain = self.physics.model.hfield_data.copy()
    now = self.inner.reset()
    if not np.array_equal(terrain, self.physics.model.hfield_data):
      self.camera.close()  # A renderer keeps the terrain it was started with.
    return self._obs(now, 0.0, first=True)

  def _obs(self, now, reward, first=False, last=False, terminal=False):
    vectors = now.observation if self.proprio else {}
    return {
        **{k: np.asarray(v, np.float32).reshape(-1) for k, v in vectors.items()},
        'image': self.camera(),
        'reward': np.float32(reward),
        'is_first': first,
        'is_last': last,
        'is_terminal': terminal,
    }


def _simulator(name, seed):
  from dm_control import suite
  domain, task = suites.dmcontrol()[name]
  # Episodes are counted here, so that they may also be longer than the suite's.
  env = suite.load(domain, task, task_kwargs=dict(random=seed, time_limit=float('inf')))
  # A task that changes its terrain would start a GL context of its own, and the two would mix.
  env.physics._make_rendering_contexts = lambda: None
  return env


def _bounds(spec):
  # Where an actuator has no bounds, the specification says 1e10; its unit is then that of actions.
  bounded = np.maximum(np.abs(spec.minimum), np.abs(spec.maximum)) < 1e10
  return np.where(bounded, spec.minimum, -1.0), np.where(bounded, spec.maximum, 1.0)


def _seeds(*numbers):
  return [int(x) for x in np.random.SeedSequence(numbers).generate_state(2)]
