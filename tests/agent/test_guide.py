"""The action VAE and the policy that it guides: who acts, who is scored, and who learns."""

import itertools

import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import pytest
from helpers.method import B, F, T, moved, normal, rng, transfer

from vid2act_plugin.agent.guide import Guided
from vid2act_plugin.agent.trace import Trace

pytestmark = pytest.mark.usefixtures('plain')


def test_vae_tells_the_sources_apart(build, ext):
  model = build()
  params, _ = transfer(model, ext)
  state, action, noise = normal(1, F), normal(1, 3), normal(1, 6)
  call = lambda fn, *args: nj.pure(fn)(params, *args)[1]
  first, second = (np.array([k]) for k in (0, 1))
  for fn, x in ((model.vae.encode, action), (model.vae.hidden, noise)):
    one, two = (jax.tree.leaves(call(fn, state, x, k))[0] for k in (first, second))
    assert np.abs(one - two).max() > 1e-3


class Always:
  """A strategy that gives the same relevance to whatever feature."""

  def __init__(self, weights):
    self.weights = weights

  def weigh(self, feat):
    return self.weights


def guided(model, params, noise):
  calls, _ = itertools.count(), model.trace.begin(noise=noise)
  return lambda feat, bdims: nj.pure(lambda x: model.pol(x, bdims)['action'])(
      params, feat, seed=jax.random.PRNGKey(next(calls)))[1]


@pytest.fixture(scope='module')
def policy(build, ext):
  """The guided policy with parameters, and the noise of four trajectories."""
  model = build()
  def fn(feat):
    model.trace.begin(noise=jnp.zeros((4, 6)))
    return model.pol(feat, 1)['action'].pred()
  with jax.transfer_guard('allow'):
    params = nj.init(fn)(transfer(model, ext)[0], normal(4, F), seed=0)
    params = {k: v + 0.1 * normal(*v.shape) for k, v in params.items()}
  return model, params, np.clip(normal(4, 6), -0.5, 0.5)


def test_the_policy_that_is_scored_is_the_one_that_acted(policy):
  model, params, noise = policy
  head, feat = guided(model, params, noise), normal(4, 5, F)
  acted = [head(feat[:, t], 1) for t in range(5)]
  actions = [x.sample(jax.random.PRNGKey(i)) for i, x in enumerate(acted)]
  scored = head(feat, 2).logp(jnp.stack(actions, 1))
  for t in range(5):
    np.testing.assert_allclose(scored[:, t], acted[t].logp(actions[t]), rtol=1e-4)
  again = head(feat, 2).logp(jnp.stack(actions, 1))
  np.testing.assert_array_equal(scored, again)
  other = guided(model, params, noise[::-1])(feat, 2).logp(jnp.stack(actions, 1))
  assert np.abs(other - scored).max() > 1e-3  # The noise does matter.


def test_the_actor_moves_only_the_policy(policy):
  model, params, noise = policy
  actions, feat = np.clip(normal(4, 5, 3), -0.9, 0.9), normal(4, 5, F)
  fn = lambda params, feat: guided(model, params, noise)(feat, 2).logp(actions).sum()
  grads = jax.grad(fn, (0, 1))(params, feat)
  assert moved(grads[0]) == {'pol'} and (np.array(grads[1]) == 0).all()


def test_the_guide_follows_the_most_relevant_source(policy):
  model, params, noise = policy
  feat, seen = normal(4, F), []
  class Head:
    def __call__(self, x, bdims):
      seen.append(x)
  weights = jnp.array([[.2, .7, .1], [.8, .1, .1], [.1, .2, .7], [.4, .3, .3]])
  guide = Guided(Head(), model.vae, Always(weights), Trace(noise=noise))
  nj.pure(lambda: guide(feat, 1))(params)
  want = nj.pure(model.vae.hidden)(params, feat, noise, np.array([1, 0, 2, 0]))[1]
  np.testing.assert_allclose(seen[0], np.concatenate([feat, want], -1), rtol=1e-5)


def test_mixture_of_the_sources(policy):
  model, params, noise = policy
  feat, weights = normal(4, F), rng.dirichlet(np.ones(3), 4).astype(np.float32)
  hidden = [nj.pure(model.vae.hidden)(params, feat, noise, np.full(4, k))[1] for k in range(3)]
  want = sum(weights[:, k, None] * hidden[k] for k in range(3))
  mixed = nj.pure(model.vae.mixture)(params, feat, noise, weights)[1]
  np.testing.assert_allclose(mixed, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('mixture', [False, True])
def test_the_policy_starts_from_the_sources_action(mixture, policy):
  """With `prior` it is the head's mean plus the VAE's action; the head alone learns, and undoes it."""
  model, params, noise = policy
  feat, actions = normal(4, F), np.clip(normal(4, 3), -0.9, 0.9)
  def mean(prior, params):
    strategy, trace = Always(jnp.array([[.2, .7, .1]] * 4)), Trace(noise=noise)
    guide = Guided(model.pol.head, model.vae, strategy, trace, mixture, prior)
    return nj.pure(lambda: guide(feat, 1)['action'].pred())(params, seed=0)[1]
  hidden = nj.pure(
      lambda: model.vae.mixture(feat, noise, jnp.array([[.2, .7, .1]] * 4)) if mixture else
      model.vae.hidden(feat, noise, np.ones(4, int)))(params)[1]
  want = nj.pure(model.vae.act)(params, hidden)[1]
  np.testing.assert_allclose(mean(True, params) - mean(False, params), want, atol=1e-5)
  assert np.abs(want).max() > 0.01
  grads = jax.grad(lambda x: jnp.square(mean(True, x) - actions).sum())(params)
  assert moved(grads) == {'pol'}


def test_prior_only_of_sources_with_the_tasks_actions(build, spaces):
  """The sources of the bundle have other numbers of actions than the task."""
  assert not build(**{'agent.vid2act.prior': True}).pol.prior


@pytest.fixture(scope='module')
def noises(build, ext):
  """Return a function mode -> noise of the guide in two steps of acting with different seeds."""
  model = build()
  obs = {k: np.zeros((3, *v.shape), v.dtype) for k, v in model.obs_space.items()}
  def fn(mode):
    model.policy(model.init_policy(3), obs, mode)
    return model.trace.noise
  def call(mode):
    fns = nj.init(lambda: fn(mode)), nj.pure(lambda: fn(mode))
    params = jax.jit(fns[0])({}, seed=0)
    return [jax.jit(fns[1])(params, seed=jax.random.PRNGKey(i))[1] for i in range(2)]
  return call


def test_noise_of_the_guide(noises):
  one, two = noises('train')
  assert one.shape == (3, 6) and np.abs(one).max() == 0.5 and (one != two).any()
  assert (one[0] != one[1]).any()
  for noise in noises('eval'):
    assert (np.array(noise) == 0).all()


def test_one_noise_per_imagined_trajectory(build, ext):
  model, seen = build(), []
  obs = {k: np.zeros((B, T, *v.shape), v.dtype) for k, v in model.obs_space.items()}
  def fn():
    model.trace.begin_batch(ext)
    prevact = {'action': jnp.zeros((B, T, 3))}
    out = model.loss(model.init_train(B)[:3], obs, prevact, True)
    seen.append(model.trace.noise.shape)
    return out[0]
  jax.eval_shape(lambda: nj.init(fn)({}, seed=jax.random.PRNGKey(0)))
  assert seen == [(B * 3, 6)]  # imag_last is 3.
