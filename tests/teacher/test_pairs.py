"""Which action belongs to which state: in the source model and in what the VAE learns from."""

import types

import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import pytest

from vid2act_plugin.agent import frozen_teacher
from vid2act_plugin.host import internals
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.sources.dataset import Sources
from vid2act_plugin.teacher import bundle as bundles
from vid2act_plugin.teacher import memory

rng = np.random.default_rng(0)
pytestmark = pytest.mark.usefixtures('plain')


@pytest.fixture(scope='module')
def world(bundle):
  loaded = bundles.load(bundle)
  # With one certain class per group the states are not random.
  loaded.manifest['agent']['dyn']['rssm']['unimix'] = 0.0
  return loaded.model(), {k: 1e4 * v if 'obslogit' in k else v for k, v in loaded.params.items()}


def test_states_depend_on_the_actions_before(world):
  """The action taken at a step changes no state up to there, and all that follow."""
  model, params = world
  data = dict(
      image=rng.integers(0, 256, (1, 6, 16, 16, 3), np.uint8),
      action=rng.uniform(-1, 1, (1, 6, 16)).astype(np.float32),
      is_first=np.arange(6)[None] == 0, source=np.ones((1, 6), np.int32))
  acts = model.prevacts(data['action'], data['source'])
  np.testing.assert_array_equal(acts['action'][:, 1:, :2], data['action'][:, :-1, :2])
  assert (np.array(acts['action'][..., 2:]) == 0).all()  # This source has two actions.
  assert (np.array(acts['action'][:, 0]) == 0).all()
  np.testing.assert_array_equal(acts['source'], data['source'])
  other = {**data, 'action': data['action'].copy()}
  other['action'][:, 2] *= -1
  key = jax.random.PRNGKey(0)
  states = jax.jit(nj.pure(model.states))
  features = jax.jit(nj.pure(lambda x: model.features(x['image'], x['action'], x['is_first'])))
  for fn in (states, features):
    one, two = (fn(params, x, seed=key)[1]['deter'] for x in (data, other))
    differs = np.abs(one - two).reshape((6, -1)).max(-1) > 0
    assert differs.tolist() == [False] * 3 + [True] * 3


@pytest.fixture
def data(tmp_path):
  """Two sources whose images show the action taken there, except at is_last, where none is."""
  for k, (name, actions) in enumerate((('one', 2), ('two', 3))):
    entries = []
    for i in range(4):
      action = rng.integers(1, 200, (9, actions)).astype(np.float32) / 200
      action[-1] = 0
      image = np.zeros((9, 4, 4, 3), np.uint8)
      image[:, 0, :actions, 0] = np.round(200 * action)
      image[-1] = 255
      image[:, 1] = k
      index = np.arange(9)
      entries.append(recordings.write_episode(tmp_path / name, i, dict(
          image=image, action=action, reward=np.zeros(9, np.float32), is_first=index == 0,
          is_last=index == 8, is_terminal=index < 0, success=np.zeros(9, np.float32))))
    recordings.write_manifest(tmp_path / name, dict(
        source=name, suite='', task=name, behaviour={}, seed=0, env={}, versions={},
        act_size=actions, episodes=entries))
  return Sources([tmp_path / 'one', tmp_path / 'two'], holdout=0, act_width=3)


def shown(image):
  """What stands for the state: the pixels that show action and source, and the time."""
  return jnp.concatenate([image[:, :, 0, :3, 0], image[:, :, 1, :1, 0]], -1).astype(jnp.float32)


def matches(memory):
  pixels, actions = np.array(memory['deter'], np.float32), np.array(memory['action'])
  assert len(pixels) and (pixels != 255).all()  # No step at is_last.
  np.testing.assert_array_equal(pixels[:, 3], memory['source'])
  np.testing.assert_allclose(pixels[:, :3] / 200, actions, atol=1e-6)


def test_vae_learns_pairs_of_state_and_action_taken_there(data, configure):
  options = configure(**{'vid2act.pretrain': {
      'batch_size': 4, 'batch_length': 8, 'memory': 20}}).vid2act.pretrain
  device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  place = lambda x: jnp.broadcast_to(jnp.arange(8)[:, None], (*x['source'].shape, 1))
  stand = types.SimpleNamespace(
      states=lambda x: {'deter': shown(x['image']), 'stoch': place(x)})
  found = memory.collect(types.SimpleNamespace(
      model=stand, params={}, train_mirrored=device, config=types.SimpleNamespace(seed=0)),
      data, options)
  matches(found)
  assert np.bincount(found['source']).tolist() == [20, 20]
  assert found['stoch'].min() == 2  # A quarter of a window lacks history.


def test_inferred_actions_count_by_their_confidence(data, configure):
  """In the memory of the bundle, and among recordings that are encoded anew."""
  for stream in data.streams['train']:
    stream['confidence'] = np.where(stream['action'][:, 0] > 0.5, 0.2, 1).astype(np.float32)
  options = configure(**{'vid2act.pretrain': {
      'batch_size': 16, 'batch_length': 8, 'memory': 600}}).vid2act.pretrain
  stand = types.SimpleNamespace(states=lambda x: {
      'deter': shown(x['image']), 'stoch': jnp.zeros((*x['source'].shape, 1))})
  found = memory.collect(types.SimpleNamespace(
      model=stand, params={}, train_mirrored=jax.sharding.SingleDeviceSharding(jax.devices()[0]),
      config=types.SimpleNamespace(seed=0)), data, options)
  matches(found)
  windows = data.sample(0, 16, 8, more=['confidence'])
  large, usable = windows['action'][..., 0] > 0.5, memory.usable(windows['is_last'])
  share = large[usable].mean()
  assert abs((found['action'][:, 0] > 0.5).mean() - 0.2 * share / (1 - 0.8 * share)) < 0.08
  # Of one source, what was inferred is known badly.
  windows['confidence'] = np.where(windows['source'] == 0, 0.5, 1) * windows['confidence']
  _, weights = memory.flatten({**windows, 'deter': shown(windows['image']), 'stoch': windows['reward']}, 2)
  weights = np.array(weights).reshape(usable.shape)
  for k in range(2):
    mine = np.where(windows['source'] == k, usable * windows['confidence'], 0)
    np.testing.assert_allclose(weights * (windows['source'] == k), mine / mine.sum(), rtol=1e-5)
  sources = {k: v for k, v in windows.items() if k != 'confidence'}
  assert set(sources) == set(data.sample(0, 16, 8))


def test_pairs_of_recordings_encoded_anew(data):
  windows = data.sample(0, 6, 8)
  flat, usable = memory.flatten({
      **windows, 'deter': shown(windows['image']), 'stoch': windows['image'][:, :, 0, 0]}, 2)
  usable = np.array(usable) > 0
  assert usable.reshape((6, 8))[:, :2].sum() == 0 and usable.sum() > 20
  matches({k: np.array(v)[usable] for k, v in flat.items()})


def test_the_teacher_sees_actions_clipped_and_padded():
  action = np.array([[[-3.0, 0.5], [0.2, 7.0]]], np.float32)
  seen = frozen_teacher.FrozenTeacher._pad(types.SimpleNamespace(width=4), action)
  np.testing.assert_allclose(seen, [[[-1, 0.5, 0, 0], [0.2, 1, 0, 0]]])


def test_each_source_sees_itself(world):
  """Column k of the features of all sources is the state of a batch that is all of source k."""
  model, params = world
  data = dict(
      image=rng.integers(0, 256, (2, 6, 16, 16, 3), np.uint8),
      action=rng.uniform(-1, 1, (2, 6, 16)).astype(np.float32),
      is_first=np.arange(12).reshape((2, 6)) % 6 == 0)
  key = jax.random.PRNGKey(0)
  every = jax.jit(nj.pure(model.features))(params, *data.values(), seed=key)[1]
  states = jax.jit(nj.pure(model.states))
  for k in range(3):
    alone = states(params, {**data, 'source': np.full((2, 6), k, np.int32)}, seed=key)[1]
    np.testing.assert_array_equal(every['stoch'][:, :, k], alone['stoch'])
    np.testing.assert_allclose(every['deter'][:, :, k], alone['deter'], atol=1e-5)


def test_acting_step_by_step_gives_the_same_features(world):
  """The teachers' own recurrence while acting is that over a replayed sequence, resets included."""
  model, params = world
  image = rng.integers(0, 256, (2, 6, 16, 16, 3), np.uint8)
  action = rng.uniform(-1, 1, (2, 6, 16)).astype(np.float32)
  first = np.zeros((2, 6), bool)
  first[:, 0] = first[1, 3] = True
  key = jax.random.PRNGKey(0)
  want = jax.jit(nj.pure(model.features))(params, image, action, first, seed=key)[1]
  step, carry, prevact = jax.jit(nj.pure(model.step)), model.initial(2), 0 * action[:, 0]
  for t in range(6):
    carry, feat = step(params, carry, image[:, t], prevact, first[:, t], seed=key)[1]
    np.testing.assert_array_equal(feat['stoch'], want['stoch'][:, t])
    np.testing.assert_allclose(feat['deter'], want['deter'][:, t], atol=1e-5)
    prevact = action[:, t]


@pytest.fixture
def certain(bundle):
  """A teacher whose states are not random, and where it is put."""
  loaded = bundles.load(bundle)
  loaded.manifest['agent']['dyn']['rssm']['unimix'] = 0.0
  loaded.params = {k: 1e4 * v if 'obslogit' in k else v for k, v in loaded.params.items()}
  return loaded, jax.sharding.Mesh(np.array(jax.devices()[:1]).reshape((1, 1)), ('d', 'f'))


def test_beside_an_agent_that_acts_the_teacher_sees_what_was_done(certain):
  """The features that the agent is given are those of the same steps in the replay, resets included."""
  rng = np.random.default_rng(1)
  image = rng.integers(0, 256, (2, 6, 16, 16, 3), np.uint8)
  done = rng.uniform(-1, 1, (2, 6, 3)).astype(np.float32)
  first = np.zeros((2, 6), bool)
  first[:, 0] = first[1, 3] = True
  loaded, mesh = certain
  taught, given = object.__new__(frozen_teacher.Taught), []
  def policy(carry, obs, mode):
    given.append(carry[-1])
    return carry, {'action': done[:, len(given) - 1]}, {}
  taught.agent = types.SimpleNamespace(
      policy=policy, n_actions=0, policy_sharded=internals.replicated(mesh),
      _split=lambda xs: [{k: v[i] for k, v in xs.items()} for i in range(2)])
  taught.teacher, taught.names, taught.acting = frozen_teacher.FrozenTeacher(loaded, mesh, 1), ['a', 'b', 'c'], True
  want = taught.teacher(dict(image=image, action=done, is_first=first), 0)
  carry = (None,), taught.teacher.start(2), 0 * done[:, 0]
  for t in range(6):
    carry, _, _ = taught.policy(carry, dict(image=image[:, t], is_first=first[:, t]))
    for i in range(2):
      np.testing.assert_array_equal(given[t][i]['stoch'], want['teacher/stoch'][i, t])
      np.testing.assert_allclose(given[t][i]['deter'], want['teacher/deter'][i, t], atol=1e-5)


def test_the_vae_is_given_recordings_where_these_can_serve(certain):
  """Encoded anew, without steps that lack history or have no action; the action tells the step."""
  loaded, mesh = certain
  step = np.tile(np.arange(8), (6, 1))
  action = np.zeros((6, 8, loaded.act_width), np.float32)
  action[..., 0] = step / 10
  windows = dict(
      image=np.random.default_rng(1).integers(0, 256, (6, 8, 16, 16, 3), np.uint8), action=action, is_first=step == 0, is_last=step == 5,
      source=np.int32(np.arange(6)[:, None] % 3 + 0 * step), reward=np.float32(step), is_terminal=step < 0,
      confidence=np.ones((6, 8), np.float32))
  teacher = frozen_teacher.FrozenTeacher(loaded, mesh, 200, windows=lambda counter: windows)
  found = teacher(dict(
      image=windows['image'][:1, :1], action=np.zeros((1, 1, 3), np.float32), is_first=np.ones((1, 1), bool)), 0)
  steps = np.round(10 * np.array(found['memory/action'])[0, 0, :, 0]).astype(int)
  assert set(steps) == {2, 3, 4, 6, 7}
  assert set(np.array(found['memory/source']).ravel()) == {0, 1, 2}


def test_the_teacher_looks_at_some_of_the_sequences(certain):
  """What it says of those is what it says when it sees all, and `row` tells which they are."""
  loaded, mesh = certain
  data = dict(
      image=rng.integers(0, 256, (4, 5, 16, 16, 3), np.uint8),
      action=rng.uniform(-1, 1, (4, 5, 3)).astype(np.float32),
      is_first=np.arange(20).reshape((4, 5)) % 5 == 0)
  whole = frozen_teacher.FrozenTeacher(loaded, mesh, 1, seen=4)(data, 0)
  some, drawn = frozen_teacher.FrozenTeacher(loaded, mesh, 1, seen=2), set()
  for counter in range(8):
    part = some(data, counter)
    rows = np.array(part['teacher/row'])[:2, 0]
    drawn.update(rows.tolist())
    for key in ('teacher/deter', 'teacher/stoch'):
      np.testing.assert_allclose(part[key][:2], np.array(whole[key])[rows], atol=1e-5)
      assert part[key].shape == whole[key].shape and (np.array(part[key][2:]) == 0).all()
  assert drawn == {0, 1, 2, 3}
