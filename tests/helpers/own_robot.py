"""A small environment as a user may have one: its pictures show the action that led to them.

It imports nothing of ours, so that a copy of this file is a module of the user's.
"""

import gymnasium
import numpy as np

PIXELS = gymnasium.spaces.Box(0, 255, (32, 32, 3), np.uint8)
VECTOR = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
LOW, HIGH = np.array([[-2, 0], [-1, 3]]), np.array([[2, 4], [1, 3.5]])
ACTIONS = {
    'box': gymnasium.spaces.Box(LOW, HIGH, dtype=np.float64),
    'unit': gymnasium.spaces.Box(-1, 1, (4,), np.float32),
    'free': gymnasium.spaces.Box(np.array([-1, -np.inf, -1, -1e38]), np.ones(4), dtype=np.float64),
    'whole': gymnasium.spaces.Box(0, 9, (4,), np.int64), 'none': gymnasium.spaces.Box(-1, 1, (0,)),
    'discrete': gymnasium.spaces.Discrete(3),
    'dict': gymnasium.spaces.Dict(arm=gymnasium.spaces.Box(-1, 1, (2,)))}
OBSERVATIONS = {
    'vector': VECTOR, 'pixels': PIXELS,
    'one': gymnasium.spaces.Dict(eyes=gymnasium.spaces.Dict(left=PIXELS), arm=VECTOR),
    'two': gymnasium.spaces.Dict(left=PIXELS, right=PIXELS, depth=gymnasium.spaces.Box(0, 1, (32, 32, 1)))}


def picture(action, place, size=32):
  """Return a picture: red above, blue below as bright as the place, and a column for each action."""
  image = np.zeros((size, size, 3), np.uint8)
  for i, part in enumerate(np.array_split(np.arange(size), len(action))):
    image[:, part] = round(128 + 100 * float(action[i]))
  image[:size // 4] = 255, 0, 0
  image[-size // 4:] = 0, 0, round(255 * place)
  return image


def shown(images):
  """Return the actions `[T, 4]` in [-1, 1] that pictures of any size show."""
  half = images.shape[1] // 2
  columns = np.array_split(np.arange(images.shape[2]), 4)
  return np.stack([(images[:, half, x].mean((1, 2)) - 128) / 100 for x in columns], 1)


class Robot(gymnasium.Env):
  metadata = {'render_modes': ['rgb_array'], 'render_fps': 10}

  def __init__(self, render_mode=None, actions='box', observation='vector', success='is_success',
               end=0, won=3, fault='', size=32, width=1):
    self.render_mode, self.kind, self.success, self.fault, self.size = (
        render_mode, observation, success, fault, size)
    self.end, self.won, self.width = end, won, width
    self.action_space, self.observation_space = ACTIONS[actions], OBSERVATIONS[observation]
    self.taken = []

  def reset(self, seed=None, options=None):
    super().reset(seed=seed)
    if self.fault == 'reset':
      raise RuntimeError('the robot is\nnot connected')
    self.place, self.count, self.unit = self.np_random.uniform(), 0, np.zeros(4)
    return self._observe(), self._info()

  def step(self, action):
    assert self.action_space.contains(action), action
    self.taken.append(action)
    self.count += 1
    low, high = (x.reshape(-1) for x in (self.action_space.low, self.action_space.high))
    self.unit = 2 * (action.reshape(-1) - low) / (high - low) - 1
    return self._observe(), float(self.count), self.count == self.end, False, self._info()

  def render(self):
    if self.fault == 'render':
      return None
    image = picture(self.unit, self.place, self.size)
    return image / 255 if self.fault == 'float' else image

  def _info(self):
    won = 'yes' if self.fault == 'word' else np.bool_(self.count == self.won)
    return {self.success: won} if self.success else {}

  def _observe(self):
    image, vector = picture(self.unit, self.place), np.zeros(3, np.float32)
    return {
        'vector': vector, 'pixels': image, 'one': {'eyes': {'left': image}, 'arm': vector},
        'two': {'left': image, 'right': 255 - image, 'depth': np.zeros((32, 32, 1), np.float32)},
        }[self.kind]


class Mute(Robot):
  """It knows no render mode, as those whose observation is a picture need none."""

  metadata = {'render_modes': []}

  def __init__(self, **kwargs):
    if 'render_mode' in kwargs:
      raise TypeError("Mute.__init__() got an unexpected keyword argument 'render_mode'")
    super().__init__(**kwargs)


def wave(env, obs, rng):
  """A behaviour for recordings."""
  return np.sin(len(env.inner.unwrapped.taken) + np.arange(4))


gymnasium.register('lab/Robot-v0', f'{__name__}:Robot', max_episode_steps=14)
gymnasium.register('lab/Mute-v0', Mute, max_episode_steps=14)
