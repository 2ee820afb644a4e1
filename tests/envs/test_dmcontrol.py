"""The DeepMind Control Suite in the host's Env interface."""

import json

import elements
import numpy as np
import pytest
from helpers.suites import needs_dmc

from vid2act_plugin.common import images as pictures
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.envs import dmcontrol, suites
from vid2act_plugin.envs.dmcontrol import DMControl
from vid2act_plugin.training import curves, evaluation, scores

pytestmark = needs_dmc
FAST = dict(size=(32, 32), render='fast')


@pytest.fixture
def make(closing):
  return lambda task='walker_walk', **settings: closing(DMControl(task, **{**FAST, **settings}))


@pytest.fixture
def suite():
  """Return a function (env, episode) -> the suite's own, at the start of the same episode."""
  made = []

  def fn(env, episode=0):
    made.append(dmcontrol._simulator(env.name, dmcontrol._seeds(env.seed)[0]))
    del made[-1].physics._make_rendering_contexts
    made[-1].task.random.seed(dmcontrol._seeds(env.seed, episode)[0])
    made[-1].reset()
    return made[-1]
  yield fn
  for env in made:
    env.physics.free()


def play(env, steps, seed=0):
  """Reset, then act at random; an episode that ends is followed by the next."""
  rng = np.random.default_rng(seed)
  obs = [env.step({'reset': True})]
  for _ in range(steps):
    action = rng.uniform(-1, 1, env.act_space['action'].shape).astype(np.float32)
    obs.append(env.step({'reset': bool(obs[-1]['is_last']), 'action': action}))
  return {k: np.stack([x[k] for x in obs]) for k in obs[0]}


def equal(a, b):
  return all(np.array_equal(a[k], b[k]) for k in a)


# They differ in what an episode changes: positions, a target in the model, terrain, a model
# that is itself drawn at random.
@pytest.mark.parametrize('task', ['walker_walk', 'point_mass_hard', 'quadruped_escape', 'lqr_lqr_2_1'])
def test_an_episode_depends_on_seed_and_index_alone(task, make):
  used, fresh = (make(task, seed=5, proprio=True) for _ in range(2))
  before = play(used, 3)
  fresh.episode = 1
  a, b = play(used, 3), play(fresh, 3)
  assert equal(a, b)
  assert (before['image'][0] != a['image'][0]).any()
  assert (play(make(task, seed=6), 0)['image'] != before['image'][0]).any()


@pytest.mark.parametrize('task, camera, index', [
    ('walker_walk', -1, 0), ('walker_walk', 'back', 1), ('quadruped_walk', -1, 2),
    ('quadruped_escape', 1, 1)])
def test_full_images_are_those_of_the_suite(task, camera, index, make, suite):
  env = make(task, camera=camera, render='full', size=(48, 64), repeat=1)
  for episode in range(2):
    image, other = play(env, 0)['image'][0], suite(env, episode)
    np.testing.assert_array_equal(image, other.physics.render(48, 64, index))
  action = np.linspace(-1, 1, len(env.low))
  other.step(env.low + (action + 1) / 2 * (env.high - env.low))
  image = env.step({'reset': False, 'action': action})['image']
  np.testing.assert_array_equal(image, other.physics.render(48, 64, index))
  assert image.std() > 15
  assert env.physics.contexts is None  # A second GL context would mix with the camera's.


def test_fast_differs_little_from_full(make):
  full, fast = (play(make(render=x, size=(64, 64)), 0)['image'][0] for x in ('full', 'fast'))
  assert 0.5 < np.abs(full.astype(float) - fast).mean() < 8


def test_actions_reach_the_bounds_of_the_task(make):
  env = make('quadruped_walk')
  spec = env.inner.action_spec()
  assert spec.minimum.min() == -1 and spec.maximum.max() == pytest.approx(1.1)
  env.step({'reset': True})
  for value, control in ((-1, spec.minimum), (1, spec.maximum), (5, spec.maximum),
                         (0, (spec.minimum + spec.maximum) / 2)):
    env.step({'reset': False, 'action': np.full(12, value, np.float32)})
    np.testing.assert_allclose(env.physics.control(), control, atol=1e-12)


def test_actions_without_bounds_keep_their_unit(make):
  env = make('lqr_lqr_2_1')
  env.step({'reset': True})
  env.step({'reset': False, 'action': np.float32([0.5])})
  assert env.physics.control() == [0.5]


def test_repeat_sums_rewards_and_counts(make):
  once, thrice = (make('walker_stand', repeat=x, limit=7) for x in (1, 3))
  a, action = [], np.full(6, 0.3, np.float32)
  for env in (once, thrice):
    env.step({'reset': True})
  a = [once.step({'reset': False, 'action': action}) for _ in range(7)]
  b = [thrice.step({'reset': False, 'action': action}) for _ in range(3)]
  sums = [sum(x['reward'] for x in a[i: i + 3]) for i in (0, 3, 6)]
  np.testing.assert_allclose([x['reward'] for x in b], sums, rtol=1e-6)
  assert min(sums) > 0
  np.testing.assert_array_equal(b[-1]['image'], a[-1]['image'])
  assert [x['is_last'] for x in a] == [False] * 6 + [True]
  assert [x['is_last'] for x in b] == [False, False, True]
  assert not any(x['is_terminal'] for x in (*a, *b))
  assert thrice.step({'reset': False, 'action': action})['is_first']


def test_an_episode_may_be_longer_than_the_suite_s(make):
  obs = play(make('pendulum_swingup', limit=2100, repeat=1050), 2)
  assert obs['is_last'].tolist() == [0, 0, 1]


def test_terminal_only_where_the_task_ends(make):
  env = make('lqr_lqr_2_1', repeat=5)
  env.step({'reset': True})
  rest = {'reset': False, 'action': np.zeros(1, np.float32)}
  assert not env.step(rest)['is_last'] and env.steps == 5
  env.physics.data.qpos[:] = env.physics.data.qvel[:] = 0
  env.physics.forward()
  obs = env.step(rest)
  assert obs['is_last'] and obs['is_terminal'] and env.steps == 6
  obs = env.step(rest)
  assert obs['is_first'] and not obs['is_terminal'] and env.steps == 0


def test_the_expert_plans_anew_for_every_episode(make):
  used, fresh, found = make('cheetah_run'), make('cheetah_run'), []
  play(used, 2)
  used.expert_action()
  fresh.episode = 1
  for env in (used, fresh):
    env.step({'reset': True})
    actions = []
    for _ in range(3):
      actions.append(env.expert_action())
      env.step({'reset': False, 'action': actions[-1]})
    found.append(np.stack(actions))
  np.testing.assert_array_equal(*found)
  assert found[0].dtype == np.float32 and found[0].shape == (3, 6)
  assert 0 < np.abs(found[0]).max() <= 1


def test_spaces(make):
  for env in (make(), make('finger_turn_easy', size=(24, 32), proprio=True)):
    obs = env.step({'reset': True})
    for _ in range(3):
      action = {k: v.sample() for k, v in env.act_space.items()}
      assert obs.keys() == env.obs_space.keys()
      assert all(v in env.obs_space[k] for k, v in obs.items())
      obs = env.step({**action, 'reset': False})


def test_proprio_adds_the_task_s_observations(make):
  off, on = make('manipulator_bring_ball'), make('manipulator_bring_ball', proprio=True)
  a, b = play(off, 2), play(on, 2)
  assert b.keys() - a.keys() == {
      'arm_pos', 'arm_vel', 'touch', 'hand_pos', 'object_pos', 'object_vel', 'target_pos'}
  assert equal(a, {k: b[k] for k in a})
  expected = on.task.get_observation(on.physics)['arm_pos']
  np.testing.assert_array_equal(b['arm_pos'][-1], np.float32(expected).ravel())
  assert b['arm_pos'].shape == (3, 16) and not a.keys() & {'log/success', 'log/success_last'}


def test_the_host_wraps_it(make):
  embodied = pytest.importorskip('embodied')
  env = embodied.wrappers.CheckSpaces(embodied.wrappers.UnifyDtypes(make(proprio=True)))
  action = {k: v.sample() for k, v in env.act_space.items()}
  env.step({**action, 'reset': np.bool_(True)})
  env.step({**action, 'reset': np.bool_(False)})


def test_names_of_all_tasks_resolve():
  from dm_control import suite
  known = suites.dmcontrol()
  assert set(known.values()) == set(suite.ALL_TASKS) and len(known) > 45
  assert known['ball_in_cup_catch'] == ('ball_in_cup', 'catch')
  assert known['humanoid_CMU_run'] == ('humanoid_CMU', 'run')
  for name, (domain, task) in known.items():
    suites.check(f'dmcontrol_{name}')
    assert callable(suite._DOMAINS[domain].SUITE[task])


@pytest.mark.parametrize('task, settings, words', [
    ('walker_wlk', {}, ('walker_wlk', 'dmcontrol_walker_walk')),
    ('cup_catch', {}, ('cup_catch', 'dmcontrol_ball_in_cup_catch')),
    ('walker_walk-v3', {}, ('walker_walk-v3', 'did you mean dmcontrol_walker_walk')),
    ('walker_walk', dict(camera=2), ("env.dmcontrol.camera is '2'", 'side, back', '0 to 1')),
    ('walker_walk', dict(camera='front'), ('front', 'side, back')),
    ('walker_walk', dict(camera=-2), ('-2', 'side, back')),
    ('walker_walk', dict(render='best'), ('env.dmcontrol.render', 'best', 'fast')),
    ('walker_walk', dict(size=[64]), ('env.dmcontrol.size', '[64]')),
    ('walker_walk', dict(repeat=0), ('repeat is 0', 'positive')),
    ('walker_walk', dict(limit=0), ('limit is 0', 'positive'))])
def test_settings_that_do_not_exist(make, task, settings, words):
  with pytest.raises(UserError) as error:
    make(task, **settings)
  message = str(error.value)
  assert all(x in message for x in words) and message.endswith(('.', '?'))


def test_a_run_without_success_shows_none(make, tmp_path, configure, monkeypatch):
  episodes, obs = evaluation.Episodes(), play(make(limit=4), 2)
  episode = [episodes.add({k: v[i] for k, v in obs.items()}, 0) for i in range(3)][-1]
  assert episode == dict(score=pytest.approx(obs['reward'].sum()), length=3)
  config = configure('dmc', logdir=str(tmp_path))
  row = dict(step=4, **{f'eval/{k}': v for k, v in episode.items()}, **{'train/loss/image': 2.0})
  (tmp_path / 'metrics.jsonl').write_text(json.dumps(row) + '\n')
  assert {x.name for x in scores.write(config)} == {'score.json.gz', 'length.json.gz'}
  titles = []
  plt = pictures.pyplot()
  monkeypatch.setattr(plt, 'close', lambda fig: titles.extend(x.get_title() for x in fig.axes))
  curves.curves(tmp_path)
  assert titles == ['Episode score', 'World-model losses'] and (tmp_path / 'curves.png').exists()


def test_steps_of_a_run_count_the_action_repeat(overlays, tmp_path):
  from dreamerv3 import main as host
  config = elements.Config(overlays['defaults']).update(overlays['dmc']).update(
      {'logdir': str(tmp_path), 'logger.outputs': ['jsonl']})
  assert config.task == 'dmcontrol_quadruped_walk'
  logger = host.make_logger(config)
  logger.close()
  assert config.run.steps * logger.multiplier == 5e5
