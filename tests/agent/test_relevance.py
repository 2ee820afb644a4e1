"""Relevance and adapter as modules: they depend on what they should, and they learn."""

import jax
import ninjax as nj
import numpy as np
import optax
import pytest

from vid2act_plugin.agent import losses
from vid2act_plugin.agent.relevance import Adapter, Relevance, named, summary

F = 32
rng = np.random.default_rng(0)
normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
pytestmark = pytest.mark.usefixtures('plain')


def relevance(count, feat=F, units=16):
  module, local = Relevance(units=units, name='relevance'), np.random.default_rng(count)
  states = local.normal(size=(4, count, 8)).astype(np.float32)
  student = local.normal(size=(4, feat)).astype(np.float32)
  params = nj.init(module)({}, states, student, seed=0)
  call = lambda params, states, student: losses.relevance(
      nj.pure(module)(params, states, student)[1])
  return params, call, states, student


def test_relevance_depends_on_the_student():
  params, call, states, student = relevance(3)
  before, after = call(params, states, student), call(params, states, normal(4, F))
  assert np.abs(before - after).max() > 1e-3


def test_relevance_follows_the_order_of_the_sources():
  params, call, states, student = relevance(3)
  weights = call(params, states, student)
  np.testing.assert_allclose(
      call(params, states[:, [2, 0, 1]], student), weights[:, [2, 0, 1]], rtol=1e-5)


def test_relevance_of_one_source():
  params, call, states, student = relevance(1)
  assert (np.array(call(params, states, student)) == 1).all()


@pytest.mark.parametrize('count', [2, 48])
def test_relevance_learns_with_many_sources(count):
  """One source is the student itself and the others are noise: its weight must grow."""
  params, call, states, student = relevance(count, feat=8)
  states[:, 1] = student
  def loss(params):
    weights = call(params, states, student)
    return losses.distill(weights, states, student, 0.1 / count)[0].mean(), weights[:, 1].mean()
  value = jax.jit(jax.value_and_grad(loss, has_aux=True))
  (before, weight), grads = value(params)
  assert all(np.abs(v).sum() > 0 for k, v in grads.items() if k != 'relevance/logit/bias')
  opt = optax.adam(1e-2)
  state = opt.init(params)
  for _ in range(200):
    (after, grown), grads = value(params)
    updates, state = opt.update(grads, state)
    params = optax.apply_updates(params, updates)
  assert after < 0.9 * before and grown > 0.5 + weight / 2, (before, after, weight, grown)


def test_low_rank_adapter():
  module = Adapter(F, rank=2, name='adapter')
  params = nj.init(module)({}, normal(1, F), seed=0)
  out = nj.pure(module)(params, normal(20, F))[1]
  assert out.shape == (20, F) and np.linalg.matrix_rank(out - out.mean(0)) == 2


def test_metrics_of_sources_come_as_one_array_each():
  """However many sources there are, as many arrays leave the device; names come after."""
  weights = np.array([[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]], np.float32)
  few, many = summary(weights, np.arange(3.0)), summary(np.ones((1, 2, 48)) / 48, np.arange(48.0))
  assert few.keys() == many.keys()
  found = named(few, ['a', 'b', 'c'])
  expect = {'relevance/a': 0.3, 'relevance_max/c': 0.7, 'relevance_best/a': 0.5,
            'relevance_best/b': 0, 'distill_error/b': 1}
  for key, value in expect.items():
    np.testing.assert_allclose(found[key], value, rtol=1e-6)
  assert len(found) == 1 + 4 * 3 and not any('*' in k for k in found)
  np.testing.assert_array_equal(
      named({'log/x/*': np.eye(3)[:2]}, 'abc')['log/x/b'], [0, 1])  # One value per environment.


def test_relevance_is_told_while_acting_without_a_guide(build):
  """It is that of the state which the policy has acted in, in evaluation and training alike."""
  model = build(**{'agent.vid2act.guide': False})
  image = rng.integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
  obs = {**{k: np.zeros((3, *v.shape), v.dtype) for k, v in model.obs_space.items()}, 'image': image}

  def fn(mode):
    carry, _, out = model.policy(model.init_policy(3), obs, mode)
    return out['log/relevance/*'], model.strategy.weigh(model.feat2tensor(carry[1]))
  params = jax.jit(nj.init(lambda: fn('eval')))({}, seed=0)
  params = {k: v + 0.1 * normal(*v.shape) for k, v in params.items()}
  for mode in ('eval', 'train'):
    told, wanted = jax.jit(nj.pure(lambda mode=mode: fn(mode)))(params, seed=jax.random.PRNGKey(1))[1]
    np.testing.assert_allclose(told, wanted, rtol=1e-5)
    np.testing.assert_allclose(told.sum(-1), 1, rtol=1e-5)
    assert np.ptp(told, 0).max() > 1e-4
