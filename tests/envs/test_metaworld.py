"""Meta-World in the host's Env interface."""

import mujoco
import numpy as np
import pytest

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.envs import meshes, render
from vid2act_plugin.envs.metaworld import MetaWorld

FAST = dict(size=(32, 32), render='fast')


@pytest.fixture
def make(closing):
  return lambda task='door-lock', **settings: closing(MetaWorld(task, **{**FAST, **settings}))


def play(env, steps, seed=0):
  """Reset, then act at random; an episode that ends is followed by the next."""
  rng = np.random.default_rng(seed)
  obs = [env.step({'reset': True, 'action': np.zeros(4, np.float32)})]
  for _ in range(steps):
    action = rng.uniform(-1, 1, 4).astype(np.float32)
    obs.append(env.step({'reset': bool(obs[-1]['is_last']), 'action': action}))
  return {k: np.stack([x[k] for x in obs]) for k in obs[0]}


def test_one_seed_gives_equal_frames_through_resets(make):
  one, two = make(seed=3, limit=4), make(seed=3, limit=4)
  # In turn, so that images of two renderers in one process would be seen to mix.
  for i in range(3):
    a, b = play(one, 6, i), play(two, 6, i)
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert a['is_first'].sum() == 2


def test_seeds_and_episodes_differ(make):
  env = make(seed=0)
  first, second = play(env, 0), play(env, 0)
  other = play(make(seed=1), 0)
  assert (first['image'] != second['image']).any()
  assert (first['image'] != other['image']).any()


def test_an_episode_depends_on_seed_and_index_alone(make):
  used, fresh = make(seed=5), make(seed=5)
  play(used, 7)
  fresh.episode = 1
  a, b = play(used, 3), play(fresh, 3)
  assert all(np.array_equal(a[k], b[k]) for k in a)


def test_limit_counts_simulator_steps(make):
  obs = play(make(limit=7, repeat=3), 6)
  assert obs['is_last'].tolist() == [0, 0, 0, 1, 0, 0, 0]  # 3 + 3 + 1
  assert obs['is_first'].tolist() == [1, 0, 0, 0, 1, 0, 0]
  assert not obs['is_terminal'].any()


def test_limit_may_exceed_that_of_the_simulator(make):
  obs = play(make(limit=510, repeat=255), 2)
  assert obs['is_last'].tolist() == [0, 0, 1]


def test_repeat_sums_rewards(make):
  once, thrice = make(repeat=1), make(repeat=3)
  action = np.array([0.5, -0.2, 0.1, 1], np.float32)
  for env in (once, thrice):
    env.step({'reset': True})
  single = [once.step({'reset': False, 'action': action}) for _ in range(3)]
  triple = thrice.step({'reset': False, 'action': action})
  np.testing.assert_allclose(triple['reward'], sum(x['reward'] for x in single), rtol=1e-6)
  np.testing.assert_array_equal(triple['image'], single[-1]['image'])


def test_spaces(make):
  env = make(size=(24, 32))
  obs = env.step({'reset': True})
  for _ in range(3):
    action = {k: v.sample() for k, v in env.act_space.items()}
    assert obs.keys() == env.obs_space.keys()
    assert all(v in env.obs_space[k] for k, v in obs.items())
    obs = env.step({**action, 'reset': False})


def test_the_host_wraps_it(make):
  embodied = pytest.importorskip('embodied')
  env = embodied.wrappers.CheckSpaces(embodied.wrappers.UnifyDtypes(make()))
  action = {k: v.sample() for k, v in env.act_space.items()}
  env.step({**action, 'reset': np.bool_(True)})
  env.step({**action, 'reset': np.bool_(False)})


def test_success_of_the_expert(make):
  env = make('reach', limit=80)
  obs = [env.step({'reset': True})]
  while not obs[-1]['is_last']:
    obs.append(env.step({'reset': False, 'action': env.expert_action()}))
  assert np.abs(env.expert_action()).max() <= 1
  success = [float(x['log/success']) for x in obs]
  assert success[0] == 0 and success[-1] == 1
  assert [float(x['log/success_last']) for x in obs] == [0] * 80 + [1]


def test_names_with_and_without_version(make):
  a, b = play(make('door-lock'), 0), play(make('door-lock-v3'), 0)
  np.testing.assert_array_equal(a['image'], b['image'])


def test_fast_differs_little_from_full(make):
  full, fast = (play(make(render=x, size=(64, 64)), 0)['image'][0] for x in ('full', 'fast'))
  assert full.std() > 20 and fast.std() > 20  # Neither black nor constant.
  difference = np.abs(full.astype(float) - fast).mean()
  assert 0.5 < difference < 8, difference


def test_fast_meshes_lack_only_what_is_smaller_than_pixels(make, monkeypatch):
  env = make(size=(64, 64))
  model, before = env.inner.model, env.inner.model.mesh_face.copy()
  counts, drawn = model.mesh_facenum.copy(), []
  start = mujoco.Renderer
  monkeypatch.setattr(
      mujoco, 'Renderer', lambda *args: drawn.append(model.mesh_facenum.sum()) or start(*args))
  coarse = play(env, 0)['image'][0]
  assert counts.sum() > 60000 and drawn[0] < counts.sum() / 4
  # What contacts and rays read is as before.
  np.testing.assert_array_equal(model.mesh_face, before)
  np.testing.assert_array_equal(model.mesh_facenum, counts)
  monkeypatch.setattr(render, 'DETAIL', 1e-6)
  fine = play(make(size=(64, 64)), 0)['image'][0]
  assert drawn[1] > 0.9 * counts.sum()
  difference = np.abs(coarse.astype(float) - fine)
  assert 0 < difference.mean() < 1.5, difference.mean()


def test_merging_vertices():
  # A square of two triangles, one corner doubled within the detail, and a triangle seen twice.
  vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [1.01, 1, 0]])
  faces = np.array([[0, 1, 2], [0, 4, 3], [2, 4, 3], [0, 2, 4], [1, 4, 0]])
  keep, left = meshes.merge(vertices, faces, 0.1)
  assert list(keep) == [0, 1]
  corner = left[0, 2]
  assert corner in (2, 4) and left.tolist() == [[0, 1, corner], [0, corner, 3]]


def test_orientation(make):
  raw, upright = (play(make(orientation=x), 0)['image'][0] for x in ('raw', 'upright'))
  np.testing.assert_array_equal(raw[::-1, ::-1], upright)
  # Upright, the grey wall is above and the table below.
  wall = lambda image: np.ptp(image[:4, :12].astype(int), -1).max()
  assert wall(upright) < 15 < wall(upright[::-1])


def test_sparse_rewards_are_success(make):
  """1 for an action that brings success, however many env steps it lasts, and all else as in v2."""
  env, dense = (make('reach', reward=x, repeat=2, limit=100, render='fast') for x in ('sparse', 'v2'))
  obs = [x.step({'reset': True, 'action': np.zeros(4, np.float32)}) for x in (env, dense)]
  seen = []
  while not obs[0]['is_last']:
    action = {'reset': False, 'action': env.expert_action()}
    obs = [x.step(action) for x in (env, dense)]
    assert obs[0]['reward'] == obs[0]['log/success'] == obs[1]['log/success']
    seen.append(float(obs[0]['reward']))
  assert {*seen} == {0.0, 1.0} and not seen[0]
  np.testing.assert_array_equal(obs[0]['image'], obs[1]['image'])


def test_rewards_differ_by_version(make):
  old, new = (play(make(reward=x), 3)['reward'][1:] for x in ('v1', 'v2'))
  assert (old != new).all()


@pytest.mark.parametrize('task, settings, words', [
    ('door-lok', {}, ('door-lok', 'door-lock')),
    ('door-lock', dict(camera='cornr'), ('camera', 'cornr', 'corner2')),
    ('door-lock', dict(render='best'), ('render', 'best', 'fast')),
    ('door-lock', dict(orientation='up'), ('orientation', 'up', 'upright')),
    ('door-lock', dict(reward='v3'), ('reward', 'v3', 'v2')),
    ('door-lock', dict(size=[64]), ('size', '[64]')),
    ('door-lock', dict(repeat=0), ('repeat', '0')),
    ('door-lock', dict(limit=0), ('limit', '0'))])
def test_settings_that_do_not_exist(make, task, settings, words):
  with pytest.raises(UserError) as error:
    make(task, **settings)
  assert all(x in str(error.value) for x in words)


def test_a_camera_is_named_or_given_by_its_number(make):
  """A key that is text has digits in it, where one that is a number has a number."""
  same = make(camera='corner2').camera.index
  assert same == make(camera=str(same)).camera.index == make(camera=same).camera.index
  for camera, words in (('99', 'choose one of .*corner2.*, or a number from 0 to'), (99, 'give a number from 0 to')):
    with pytest.raises(UserError, match=f"env.metaworld.camera is '99'; {words}"):
      make(camera=camera)


def test_choice_of_the_gl_backend():
  assert render.choose_gl(lambda name: True) == 'egl'
  assert render.choose_gl(lambda name: 'OSMesa' in name) == 'osmesa'
  with pytest.raises(UserError, match='apt-get install libegl1'):
    render.choose_gl(lambda name: False)
