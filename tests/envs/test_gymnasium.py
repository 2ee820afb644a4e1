"""Environments of Gymnasium in the host's Env interface."""

import gc
import json

import numpy as np
import pytest
from helpers import own_robot
from helpers.plays import refuse

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.envs import suites
from vid2act_plugin.envs.gymnasium import Gymnasium

ROBOT = 'helpers.own_robot:lab/Robot-v0'


@pytest.fixture
def make(closing):
  def fn(task=ROBOT, make=None, **settings):
    return closing(Gymnasium(task, **{'size': (32, 32), 'make': json.dumps(make or {}), **settings}))
  return fn


def play(env, actions):
  """Reset and act; an episode that ends is followed by the next."""
  obs = [env.step({'reset': True})]
  for action in actions:
    obs.append(env.step({'reset': bool(obs[-1]['is_last']), 'action': np.float32(action)}))
  return {k: np.stack([x[k] for x in obs]) for k in obs[0]}


def at_random(env, steps, seed=0):
  return play(env, np.random.default_rng(seed).uniform(-1, 1, (steps, *env.act_space['action'].shape)))


def taken(env):
  return np.stack([x.reshape(-1) for x in env.inner.unwrapped.taken])


def test_which_action_arrives(make):
  env = make()
  low, high = own_robot.LOW.reshape(-1), own_robot.HIGH.reshape(-1)
  del env.inner.unwrapped.taken[:]
  play(env, [[-1] * 4, [1] * 4, [0] * 4, [-9, 9, 0.5, -0.5]])
  np.testing.assert_allclose(
      taken(env), [low, high, (low + high) / 2, [-2, 4, 0.5, 3.125]], atol=1e-7)
  assert env.inner.unwrapped.taken[0].shape == (2, 2)
  np.testing.assert_allclose(env.to_unit(taken(env)[3]), [-1, 1, 0.5, -0.5], atol=1e-6)


def test_an_action_from_minus_one_to_one_arrives_to_the_last_bit(make):
  env = make(make=dict(actions='unit'))
  actions = np.random.default_rng(0).uniform(-1, 1, (9, 4)).astype(np.float32) ** 7
  del env.inner.unwrapped.taken[:]
  play(env, actions)
  np.testing.assert_array_equal(taken(env), actions)
  assert env.inner.unwrapped.taken[0].dtype == np.float32


@pytest.mark.parametrize('size', [32, 96])
@pytest.mark.parametrize('task, kind, image', [
    ('Robot', 'vector', ''), ('Robot', 'pixels', ''), ('Robot', 'one', ''), ('Mute', 'one', 'eyes/left'),
    ('Mute', 'pixels', 'observation'), ('Robot', 'two', 'left'), ('Robot', 'pixels', 'render')])
def test_pictures_are_upright_of_their_colours_and_of_their_step(make, task, kind, image, size):
  env = make(f'helpers.own_robot:lab/{task}-v0', dict(observation=kind, size=size), image=image)
  actions = np.random.default_rng(1).uniform(-1, 1, (6, 4))
  obs = play(env, actions)
  assert obs['image'].shape == (7, 32, 32, 3)
  np.testing.assert_allclose(own_robot.shown(obs['image'])[1:], actions, atol=0.01)
  assert (obs['image'][:, :8] == [255, 0, 0]).all() and (obs['image'][:, -8:, :, :2] == 0).all()
  assert obs['image'][0, -1, 0, 2] == round(255 * env.inner.unwrapped.place)


def test_areas_are_averaged(make):
  image = play(make(size=(16, 8), make=dict(size=64)), [[1, -1, 0, 0.5]])['image'][1]
  assert image.shape == (16, 8, 3) and own_robot.shown(image[None])[0].tolist() == [1, -1, 0, 0.5]


def test_a_width_of_another_meaning_is_not_touched(make):
  assert make().inner.unwrapped.width == 1


@pytest.mark.parametrize('settings, last, terminal', [
    (dict(make=dict(end=5)), 5, True), (dict(), 14, False), (dict(limit=5), 5, False),
    (dict(limit=5, make=dict(end=5)), 5, True), (dict(limit=5, make=dict(end=6)), 5, False),
    (dict(make=dict(end=14)), 14, True), (dict(make=dict(max_episode_steps=4)), 4, False),
    (dict(limit=500, make=dict(max_episode_steps=20)), 20, False)])
def test_ends_are_told_apart(make, settings, last, terminal):
  obs = at_random(make(**settings), last + 2)
  ends = np.arange(last + 3) == last
  np.testing.assert_array_equal(obs['is_last'], ends)
  np.testing.assert_array_equal(obs['is_terminal'], ends & terminal)
  np.testing.assert_array_equal(obs['is_first'], np.isin(np.arange(last + 3), (0, last + 1)))


def test_repeat_sums_rewards_and_stops_at_the_end(make):
  env = make(repeat=3, make=dict(end=8, won=4))
  obs = at_random(env, 4)
  assert obs['reward'].tolist() == [0, 1 + 2 + 3, 4 + 5 + 6, 7 + 8, 0]
  assert obs['is_terminal'].tolist() == obs['is_last'].tolist() == [0, 0, 0, 1, 0]
  assert obs['log/success'].tolist() == [0, 0, 1, 0, 0] and not obs['log/success_last'].any()
  assert at_random(make(repeat=3, limit=7), 3)['reward'].tolist() == [0, 6, 15, 7]
  assert at_random(make(repeat=3, limit=7, make=dict(won=7)), 3)['log/success_last'][-1] == 1


@pytest.mark.parametrize('told, named, found', [
    ('is_success', '', True), ('success', '', True), ('solved', 'solved', True), ('solved', '', False),
    ('', '', False), ('', 'is_success', True)])
def test_success_is_what_info_says(make, capsys, told, named, found):
  env = make(success=named, limit=4, make=dict(success=told))
  obs = at_random(env, 4)
  assert ('log/success' in env.obs_space) == ('log/success' in obs) == found
  assert not found or obs['log/success'].tolist() == [0, 0, 0, bool(told), 0]
  at_random(env, 4)
  text = capsys.readouterr().out
  assert text.count('told nothing by that name') == (named != '' and not told), text


def test_an_episode_depends_on_seed_and_index_alone(make):
  used, fresh, other = make(seed=5), make(seed=5), make(seed=6)
  at_random(used, 16)
  fresh.episode = 2
  a, b = at_random(used, 3), at_random(fresh, 3)
  assert all(np.array_equal(a[k], b[k]) for k in a)
  places = [x['image'][0, -1, 0, 2] for x in (a, at_random(other, 0), at_random(other, 0))]
  assert len({*places}) == 3


def test_the_host_wraps_it(make):
  embodied = pytest.importorskip('embodied')
  env = make(size=(24, 16))
  obs = env.step({'reset': True})
  assert obs.keys() == env.obs_space.keys() and all(v in env.obs_space[k] for k, v in obs.items())
  env = embodied.wrappers.CheckSpaces(embodied.wrappers.UnifyDtypes(env))
  for reset in (True, False):
    action = {k: v.sample() for k, v in env.act_space.items()}
    env.step({**action, 'reset': np.bool_(reset)})


@pytest.mark.parametrize('task, settings, words', [
    ('HalfCheeta-v5', {}, ('HalfCheeta-v5', 'did you mean gymnasium_HalfCheetah-v5')),
    ('Nothing-v0', {}, ('Nothing-v0', 'gymnasium_MODULE:ID')),
    ('nowhere:Robot-v0', {}, ('module nowhere', 'ModuleNotFoundError', 'folder of that module')),
    ('helpers.own_robot:lab/Robo-v0', {}, ('lab/Robo-v0', 'did you mean gymnasium_' + ROBOT)),
    ('helpers.plays:Robot-v0', {}, ('helpers.plays registers no', 'gymnasium.register')),
    ('CartPole-v1', {}, ('Discrete(2)', 'one continuous Box')),
    (ROBOT, dict(make=dict(actions='discrete')), ('Discrete(3)', 'own_robot')),
    (ROBOT, dict(make=dict(actions='dict')), ("'arm'", 'one continuous Box')),
    (ROBOT, dict(make=dict(actions='whole')), ('int64', 'one continuous Box')),
    (ROBOT, dict(make=dict(actions='none')), ('(0,)', 'one continuous Box')),
    (ROBOT, dict(make=dict(actions='free')), ('dimensions 1, 3', 'no bounds')),
    (ROBOT, dict(make=dict(fault='reset')), ('the robot is not connected', 'cannot be begun')),
    (ROBOT, dict(make=dict(fault='word')), ('cannot be begun', "'yes'")),
    (ROBOT, dict(make=dict(fault='render')), ('what it draws is NoneType', 'rgb_array')),
    (ROBOT, dict(make=dict(fault='float')), ('float64 of shape (32, 32, 3)', 'uint8')),
    ('helpers.own_robot:lab/Mute-v0', dict(make=dict(fault='render')), ('NoneType', 'rgb_array')),
    (ROBOT, dict(make=dict(nothing=3)), ("'nothing'", 'env.gymnasium.make')),
    (ROBOT, dict(make=dict(observation='two')), ("image is ''", 'left, right')),
    (ROBOT, dict(make=dict(observation='two'), image='depth'), ("'depth'", 'left, right')),
    (ROBOT, dict(image='left'), ("'left'", 'none', 'render')),
    (ROBOT, dict(render='nice'), ('env.gymnasium.render', 'nice')),
    (ROBOT, dict(size=[0, 3]), ('env.gymnasium.size',)), (ROBOT, dict(repeat=0), ('repeat', '0')),
    (ROBOT, dict(limit=0), ('env.gymnasium.limit', '0'))])
def test_what_cannot_be_is_one_sentence(make, task, settings, words):
  with pytest.raises(UserError) as e:
    make(task, **settings)
  sentence = str(e.value)
  assert all(x in sentence for x in words) and sentence[-1] in '.?' and '\n' not in sentence, sentence


@pytest.mark.parametrize('text', ['', '3', '[1]', '{', '{"a": }', '"x"', 'null', '[' * 9999])
def test_arguments_that_are_no_mapping(make, text):
  refuse(lambda: Gymnasium(ROBOT, make=text), 'env.gymnasium.make', 'JSON object')


@pytest.mark.parametrize('code, words', [
    ('import nothing_there', 'nothing_there'), ('x = (', 'SyntaxError'), ('1 / 0', 'ZeroDivisionError'),
    ('raise SystemExit(3)', 'SystemExit')])
def test_a_module_that_fails_is_one_sentence(make, tmp_path, monkeypatch, code, words):
  (tmp_path / 'broken_robot.py').write_text(code)
  monkeypatch.syspath_prepend(str(tmp_path))
  refuse(lambda: make('broken_robot:Robot-v0'), 'broken_robot', words, 'cannot be imported')


@pytest.mark.parametrize('render', ['full', 'fast'])
def test_scenes_of_mujoco_do_not_mix(make, render):
  """Images of two environments in turn, one closed meanwhile, are those of each alone."""
  tasks = 'Reacher-v5', 'HalfCheetah-v5'
  settings = dict(size=(24, 32), render=render, limit=9)
  alone = [at_random(make(x, **settings), 4)['image'] for x in tasks]
  make(tasks[0], **settings).close()
  both = [make(x, **settings) for x in tasks]
  for i in range(2):
    gone = Gymnasium(tasks[i], **settings)
    gone.step({'reset': True})
    gone.close()
    both[0].step({'reset': True})
    del gone
    gc.collect()  # What it still had would go now, from the context of another.
    for env, image in zip(both, alone):
      env.episode = 0
      np.testing.assert_array_equal(at_random(env, 4)['image'], image)
  assert all(x.std() > 10 and x.shape == (5, 24, 32, 3) for x in alone)
  assert 'llvmpipe' in both[0].describe() or ':' in both[0].describe()


def test_what_mujoco_draws_is_gymnasium_s(make):
  import gymnasium
  env = make('Pusher-v5', size=(48, 48), seed=7)
  theirs = gymnasium.make('Pusher-v5', render_mode='rgb_array', width=48, height=48)
  theirs.reset(seed=0)  # Where the camera looks is decided as it first draws.
  theirs.step(np.zeros(7, np.float32))
  theirs.render()
  seed = np.random.SeedSequence([7, 0]).generate_state(1)
  theirs.reset(seed=int(seed[0] >> 1))
  action = np.linspace(-2, 2, 7)
  gained = theirs.step(action.astype(np.float32))[1]
  obs = play(env, [action / 2])
  np.testing.assert_array_equal(obs['image'][1], theirs.render())
  assert obs['reward'][1] == pytest.approx(gained, rel=1e-5)
  fast = play(make('Pusher-v5', size=(48, 48), render='fast', seed=7), [action / 2])['image'][1]
  assert 0 < np.abs(fast - obs['image'][1].astype(float)).mean() < 12
  theirs.close()
  # So it is where arguments of the environment have the size.
  full, fast = (play(make('Pusher-v5', size=(48, 48), render=x, make={'width': 96, 'height': 96}, seed=7), [action / 2])['image'][1]
                for x in ('full', 'fast'))
  assert 0 < np.abs(fast - full.astype(float)).mean() < 12


def test_names_are_safe_for_folders_and_tables():
  name = suites.filename(f'gymnasium_{ROBOT}')
  assert name == 'gymnasium_helpers.own_robot..lab--Robot-v0'
  assert suites.filename('metaworld_door-lock') == 'metaworld_door-lock'
