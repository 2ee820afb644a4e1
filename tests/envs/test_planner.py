"""The planner against the environments whose simulator it copies."""

import numpy as np
import pytest
from helpers.suites import needs_dmc

from vid2act_plugin.envs.dmcontrol import DMControl
from vid2act_plugin.envs.planner import Planner

pytestmark = needs_dmc


def start(task, repeat=2):
  env = DMControl(task, size=(16, 16), repeat=repeat, limit=100, render='fast')
  env.camera.close()
  env.camera = lambda: None  # Nothing here looks at images.
  env.step({'reset': True})
  return env


def plan(env, **settings):
  return Planner(
      env.physics, env.task, env.repeat, 0, substeps=env.inner._n_sub_steps, low=env.low,
      high=env.high, **settings)


@pytest.mark.parametrize('task', [
    'cheetah_run', 'walker_walk', 'hopper_stand', 'cartpole_swingup', 'reacher_easy',
    'ball_in_cup_catch', 'quadruped_walk'])
def test_rewards_are_those_of_the_environment(task):
  """Of the second control step of each action, also in the middle of an episode."""
  env = start(task)
  rng = np.random.default_rng(0)
  for _ in range(5):
    env.step({'reset': False, 'action': rng.uniform(-1, 1, len(env.low))})
  actions = rng.uniform(-1, 1, (8, len(env.low))).astype(np.float32).astype(np.float64)
  planner = plan(env)
  found, _ = planner.simulate(
      planner._state(env.physics.model.ptr, env.physics.data.ptr), actions)
  want = []
  for action in actions:
    env.step({'reset': False, 'action': action})
    want.append(env.task.get_reward(env.physics))
  np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-8)


def test_planning_changes_nothing_and_is_repeatable():
  env = start('walker_walk')
  one, two = plan(env, samples=8), plan(env, samples=8)
  state = lambda: one._state(env.physics.model.ptr, env.physics.data.ptr)
  before, random = state(), env.task.random.get_state()[1].copy()
  for _ in range(3):
    action = one.plan()
    assert action.shape == env.low.shape and np.abs(action).max() <= 1
    np.testing.assert_array_equal(action, two.plan())
    np.testing.assert_array_equal(state(), before)
  np.testing.assert_array_equal(env.task.random.get_state()[1], random)


def test_planning_beats_chance():
  env, rng = start('cheetah_run'), np.random.default_rng(0)
  play = lambda act: sum(env.step({'reset': False, 'action': act()})['reward'] for _ in range(40))
  planned = play(env.expert_action)
  env.step({'reset': True})
  random = play(lambda: rng.uniform(-1, 1, len(env.low)))
  assert planned > 10 and planned > 5 * random, (planned, random)
