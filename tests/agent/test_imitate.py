"""The policy is drawn to what was done in episodes of merit, and nothing else moves."""

import elements
import embodied.jax.nets
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import pytest
from dreamerv3 import agent as hostagent

from vid2act_plugin.agent import imitate

B, T = 4, 6


@pytest.fixture(scope='module')
def gradient(configure, spaces):
  """Return a function merit -> gradients by name and metrics, of an agent that imitates."""
  config = configure()
  keys = 'batch_size', 'batch_length', 'replay_context', 'report_length'
  model = object.__new__(imitate.imitating(hostagent.Agent, 2.0))
  model.__init__(*spaces, elements.Config(
      **config.agent, logdir='', seed=0, jax=config.jax, **{k: config[k] for k in keys}))
  rng = np.random.default_rng(1)
  flag = np.zeros((B, T), bool)
  last = flag.copy()
  last[0, 2] = True
  batch = dict(
      image=rng.integers(0, 256, (B, T, 16, 16, 3), np.uint8),
      reward=rng.normal(size=(B, T)).astype(np.float32), is_first=flag, is_last=last,
      is_terminal=flag)
  action = rng.uniform(-1, 1, (B, T, 3)).astype(np.float32)

  def fn(action, merit):
    model.done = action, merit
    carry = model.init_train(B)[:3]
    loss, _, grads, (_, _, outs, metrics) = nj.grad(
        lambda: model.loss(carry, batch, {'action': 0 * action}, training=True), model.modules,
        has_aux=True)()
    return grads, {**metrics, 'loss': loss, 'each': outs['losses']['imitate']}

  embodied.jax.nets.COMPUTE_DTYPE = jnp.float32
  with jax.transfer_guard('allow'):
    seed = np.zeros(2, np.uint32)
    zero = np.zeros((B, T), np.float32)
    params = jax.device_get(jax.jit(nj.init(fn))({}, action, zero, seed=seed))
    params = {k: v + (0.1 * rng.normal(size=v.shape)).astype(v.dtype)
              if k.endswith('kernel') else v for k, v in params.items()}
    pure = jax.jit(nj.pure(fn))
    yield lambda merit, done=action: pure(params, done, merit, seed=seed)[1]


def merits(value):
  merit = np.zeros((B, T), np.float32)
  merit[0] = value
  return merit


def test_imitation_moves_the_policy_head_alone(gradient):
  (none, before), (some, after) = gradient(merits(0)), gradient(merits(1))
  moved = {k.split('/')[0] for k in none if (np.array(none[k]) != np.array(some[k])).any()}
  assert moved == {'pol'}
  assert before['loss/imitate'] == 0
  np.testing.assert_allclose(
      after['loss'] - before['loss'], 2 * after['loss/imitate'], rtol=1e-4)


def test_imitation_is_of_what_was_done_where_it_was(gradient):
  each = np.array(gradient(merits(1))[1]['each'])
  assert (each[1:] == 0).all() and (each[0, [0, 1, 3, 4, 5]] != 0).all()
  assert each[0, 2] == 0  # No action is taken at the last step.
  half = np.array(gradient(merits(0.5))[1]['each'])
  np.testing.assert_allclose(half, each / 2, rtol=1e-5)
  other = np.zeros((B, T, 3), np.float32)
  other[0, 4] = 1
  changed = np.array(gradient(merits(1), other)[1]['each']) != np.array(
      gradient(merits(1), 0 * other)[1]['each'])
  assert changed.nonzero()[0].tolist() == [0] and changed.nonzero()[1].tolist() == [4]


def test_it_is_the_cross_entropy():
  logp, merit = np.array([[-1.0, 2.0]]), np.array([[0.5, 1.0]])
  np.testing.assert_allclose(imitate.imitate(logp, merit), [[0.5, -2.0]])
