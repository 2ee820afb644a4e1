"""An environment whose scores follow from its seed alone, and that costs nothing: for runs in great number.

It imports nothing of ours, so that a copy of this file is a module of the user's.
"""

import time

import gymnasium
import numpy as np

TASK = 'gymnasium_lab:Lab-v0'


class Lab(gymnasium.Env):
  """Ten steps with rewards that the seed draws; each step takes `seconds`."""

  metadata = {'render_modes': ['rgb_array'], 'render_fps': 10}
  observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
  action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

  def __init__(self, render_mode=None, seconds=0.0):
    self.render_mode, self.seconds = render_mode, seconds

  def reset(self, seed=None, options=None):
    super().reset(seed=seed)
    self.count = 0
    return np.zeros(3, np.float32), {}

  def step(self, action):
    time.sleep(self.seconds)
    self.count += 1
    reward = float(self.np_random.uniform())
    return np.zeros(3, np.float32), reward, self.count == 10, False, {}

  def render(self):
    return np.full((16, 16, 3), self.count, np.uint8)


gymnasium.register('Lab-v0', entry_point=Lab)
