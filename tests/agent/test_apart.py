"""Rehearsed rows train the world model and nothing that knows the task."""

import elements
import embodied.jax.nets
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import pytest
from dreamerv3 import agent as hostagent

from vid2act_plugin.agent import imitate, rehearse

B, T, ROWS = 4, 6, 1
TASK = 'rew', 'con', 'pol', 'val', 'retnorm', 'valnorm', 'advnorm'
WORLD = 'enc', 'dyn', 'dec'


@pytest.fixture(scope='module')
def gradient(configure, spaces):
  """Return a function batch -> gradients and statistics by module, losses by row, metrics."""
  config = configure(**{'agent.vid2act.imitate': 2.0})
  model = object.__new__(rehearse.apart(imitate.imitating(hostagent.Agent, 2.0), ROWS))
  keys = 'batch_size', 'batch_length', 'replay_context', 'report_length'
  model.__init__(*spaces, elements.Config(
      **config.agent, logdir='', seed=0, jax=config.jax, **{k: config[k] for k in keys}))

  def fn(batch):
    obs, prevact = {k: v for k, v in batch.items() if k not in ('action', 'merit')}, {'action': batch['action']}
    model.done = batch['action'], batch['merit']
    carry = model.init_train(B)[:3]
    loss, _, grads, (_, _, outs, metrics) = nj.grad(
        lambda: model.loss(carry, obs, prevact, training=True), model.modules, has_aux=True)()
    return grads, outs['losses'], {**metrics, 'loss': loss}

  embodied.jax.nets.COMPUTE_DTYPE = jnp.float32
  with jax.transfer_guard('allow'):  # The host forbids implicit transfers in the whole process.
    params = jax.device_get(jax.jit(nj.init(fn))({}, batch(), seed=np.zeros(2, np.uint32)))
  # The last layers begin at zero, behind which no gradient shows.
  noise = np.random.default_rng(0)
  params = {k: v + (0.1 * noise.normal(size=v.shape)).astype(v.dtype)
            if k.endswith('kernel') else v for k, v in params.items()}
  pure = jax.jit(nj.pure(fn))

  def call(**changes):
    after, (grads, losses, metrics) = pure(
        params, {**batch(), **changes}, seed=np.zeros(2, np.uint32))
    state = {k: v for k, v in after.items() if 'norm/' in k and k.split('/')[0] in TASK}
    return {**grads, **state}, losses, metrics
  with jax.transfer_guard('allow'):
    yield call


def batch():
  rng = np.random.default_rng(1)
  flag = np.zeros((B, T), bool)
  return dict(
      image=rng.integers(0, 256, (B, T, 16, 16, 3), np.uint8),
      reward=rng.normal(size=(B, T)).astype(np.float32), is_first=flag, is_last=flag,
      is_terminal=flag, merit=rng.uniform(size=(B, T)).astype(np.float32), action=rng.uniform(-1, 1, (B, T, 3)).astype(np.float32))


def changed(one, two):
  """Return the modules in which two gradients differ."""
  return {k.split('/')[0] for k in one if (np.array(one[k]) != np.array(two[k])).any()}


@pytest.mark.parametrize('key, value', [
    ('reward', 7.0), ('is_terminal', True), ('is_last', True), ('merit', 0.5)])
def test_a_task_of_rehearsed_rows_moves_nothing(gradient, key, value):
  (before, _, told), spoilt = gradient(), batch()[key].copy()
  spoilt[-ROWS:] = value
  after, _, again = gradient(**{key: spoilt})
  assert not changed(before, after)
  np.testing.assert_allclose(told['loss'], again['loss'], rtol=1e-5)
  assert all(told[f'loss/{x}'] == again[f'loss/{x}'] for x in rehearse.TASK)
  spoilt[0] = value
  assert {'rew', 'val', 'pol'} & changed(before, gradient(**{key: spoilt})[0]) or key == 'is_terminal'


def test_images_of_rehearsed_rows_move_the_world_model_alone(gradient):
  before, image = gradient()[0], batch()['image']
  image[-ROWS:] = 255 - image[-ROWS:]
  after = gradient(image=image)[0]
  assert {x.split('/')[0] for x in before} >= {*WORLD, *TASK[:4], 'retnorm'}
  assert changed(before, after) == {*WORLD}
  image[:-ROWS] = 255 - image[:-ROWS]
  assert changed(before, gradient(image=image)[0]) >= {*WORLD, *TASK[:4], 'retnorm'}


def test_means_are_of_the_rows_that_count(gradient):
  _, losses, metrics = gradient()
  for key, value in losses.items():
    assert len(value) == (B - ROWS if key in rehearse.TASK else B), key
    np.testing.assert_allclose(metrics[f'loss/{key}'], value.mean(), rtol=1e-5)
  assert {*rehearse.TASK} <= losses.keys()
