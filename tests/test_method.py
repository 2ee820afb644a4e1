"""What moves what, and what is held: properties of the method's parts."""

import itertools

import elements
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import pytest

from vid2act_plugin.agent import agent, losses
from vid2act_plugin.agent.guide import Guided
from vid2act_plugin.agent.trace import Trace
from vid2act_plugin.teacher import bundle as bundles
from vid2act_plugin.teacher import model as teacher

B, T, N, F, CONTEXT, BURNIN = 2, 6, 3, 32, 1, 4
rng = np.random.default_rng(0)
normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
pytestmark = pytest.mark.usefixtures('plain')


@pytest.fixture(scope='module')
def build(configure, spaces, bundle):
  """Return a function changes -> our agent without the host's compiled shell."""
  def fn(**changes):
    config = configure('vid2act', **{
        'vid2act.teacher': str(bundle), 'agent.vid2act.share': 1.0, **changes})
    keys = 'batch_size', 'batch_length', 'replay_context', 'report_length'
    kind = type('Agent', (agent.Agent,), {'bundle': bundles.load(bundle)})
    model = object.__new__(kind)
    model.__init__(*spaces, elements.Config(
        **config.agent, logdir='', seed=0, jax=config.jax, **{k: config[k] for k in keys}))
    return model
  return fn


@pytest.fixture(scope='module')
def ext():
  rows = B, T + CONTEXT, 4
  return {
      'teacher/row': np.zeros((B, T + CONTEXT), np.int32),
      'teacher/deter': normal(B, T + CONTEXT, N, 16),
      'teacher/stoch': rng.integers(0, 4, (B, T + CONTEXT, N, 4)).astype(np.uint8),
      'memory/deter': normal(*rows, 16).astype(np.float16),
      'memory/stoch': rng.integers(0, 4, (*rows, 4)).astype(np.uint8),
      'memory/action': rng.uniform(-1, 1, (*rows, 16)).astype(np.float32),
      'memory/source': rng.integers(0, N, rows).astype(np.int32)}


def transfer(model, ext):
  """Return parameters, and a function (parameters, feature) -> losses, metrics, weights."""
  def fn(feat):
    model.trace.begin_batch(ext)
    return model.transfer(feat)
  params = jax.jit(nj.init(fn))({}, normal(B, T, F), seed=0)
  call = lambda params, feat: nj.pure(fn)(params, feat, seed=jax.random.PRNGKey(1))[1]
  # The last layers begin at zero, where a gradient could vanish by chance.
  return {k: v + 0.1 * normal(*v.shape) for k, v in params.items()}, call


def moved(grads):
  """Return the names of the modules whose gradient is not zero."""
  return {k.split('/')[0] for k, v in grads.items() if np.abs(v).sum() > 0}


@pytest.mark.parametrize('distill', [True, False])
def test_what_each_loss_moves(distill, build, ext):
  params, call = transfer(build(**{'agent.vid2act.distill': distill}), ext)
  fn = lambda *args: {k: v.mean() for k, v in call(*args)[0].items()}
  grads = jax.jit(jax.jacrev(fn, (0, 1)))(params, normal(B, T, F))
  student = {k: bool(np.abs(v[1]).sum() > 0) for k, v in grads.items()}
  assert {k: moved(v[0]) for k, v in grads.items()} == {
      'distill': {'relevance', 'adapter'}, 'amortised': {'amortised'}, 'vae': {'vae'}}
  assert student == {'distill': distill, 'amortised': False, 'vae': False}


def test_each_step_of_the_losses(build, ext):
  """Burn-in, context, and the floor per source, against the losses called directly."""
  model = build(**{'agent.vid2act.floor': 0.6})
  params, call = transfer(model, ext)
  feat = normal(B, T, F)
  extra, metrics, weights = jax.jit(call)(params, feat)
  np.testing.assert_allclose(weights.sum(-1), np.ones((B, T)), rtol=1e-5)
  assert (np.array(extra['distill'][:, :BURNIN - CONTEXT]) == 0).all()
  states = teacher.unpack(
      {k: ext[f'teacher/{k}'][:, CONTEXT:] for k in ('deter', 'stoch')}, 4)
  adapted = nj.pure(model.adapter)(params, states)[1]
  want, _ = losses.distill(weights, adapted, feat, 0.6 / N)
  np.testing.assert_allclose(
      extra['distill'][:, BURNIN - CONTEXT:], want[:, BURNIN - CONTEXT:], rtol=1e-5)
  logits = nj.pure(model.strategy)(params, feat)[1]
  np.testing.assert_allclose(
      metrics['amortised/agreement'], (logits.argmax(-1) == weights.argmax(-1)).mean())


def test_losses_of_the_sequences_that_the_teachers_saw(build, ext):
  """With half of two sequences seen, the losses are those of the one that `row` names."""
  model, half = build(), build(**{'agent.vid2act.share': 0.5})
  params, call = transfer(model, ext)
  feat, names = normal(B, T, F), ('deter', 'stoch')
  whole, _, weights = jax.jit(call)(params, feat)
  first = {f'teacher/{k}': np.roll(ext[f'teacher/{k}'], 1, 0) for k in names}  # Row 1 comes first.
  row = np.full((B, T + CONTEXT), 1, np.int32)
  def fn(feat):
    half.trace.begin_batch({**ext, **first, 'teacher/row': row})
    return half.transfer(feat)
  part, _, seen = jax.jit(lambda x: nj.pure(fn)(params, x, seed=jax.random.PRNGKey(1))[1])(feat)
  np.testing.assert_allclose(seen, weights[1:], rtol=1e-4)
  for key in ('distill', 'amortised'):
    assert part[key].shape == (1, T)
    np.testing.assert_allclose(part[key], whole[key][1:], rtol=1e-4)


@pytest.mark.parametrize('picked', [2, 3])
def test_distillation_of_the_most_relevant_sources(picked, build, ext):
  """Three of three sources are the plain loss; two of three leave out none of the most relevant."""
  params, call = transfer(build(), ext)
  feat = normal(B, T, F)
  whole, mets, weights = jax.jit(call)(params, feat)
  model = build(**{'agent.vid2act.adapted': picked})
  def fn(feat):
    model.trace.begin_batch(ext)
    return model.transfer(feat)
  part, found, _ = jax.jit(lambda x: nj.pure(fn)(params, x, seed=jax.random.PRNGKey(3))[1])(feat)
  if picked == 3:
    np.testing.assert_allclose(part['distill'], whole['distill'], rtol=1e-5)
    for key in mets:
      if key.startswith('distill_error'):
        np.testing.assert_allclose(found[key], mets[key], rtol=1e-5)
  else:
    assert (np.abs(part['distill'] - whole['distill'])[:, BURNIN:] > 1e-4).any()
    np.testing.assert_allclose(part['distill'].sum(), whole['distill'].sum(), rtol=0.5)


def test_vae_loss_counts_the_actions_that_a_source_has(build, ext):
  model = build()
  params, call = transfer(model, ext)
  flat = {k[7:]: v.reshape((-1, *v.shape[3:])) for k, v in ext.items() if k.startswith('memory')}
  seed = jax.random.PRNGKey(2)
  model.trace.begin_batch(ext)
  _, (error, _, source) = nj.pure(model.reconstruct)(params, seed=seed)
  np.testing.assert_array_equal(source, flat['source'])
  state = nj.pure(model.adapter)(params, teacher.unpack(flat, 4))[1]
  action = flat['action'][:, :3]
  _, (recon, mean, logstd) = nj.pure(model.vae)(params, state, action, flat['source'], seed=seed)
  for i, source in enumerate(flat['source']):
    size = model.bundle.manifest['act_sizes'][source]
    want = np.square(recon[i, :size] - action[i, :size]).mean()
    np.testing.assert_allclose(error[i], want, rtol=1e-5)
  assert set(np.unique(flat['source'])) == {0, 1, 2}  # Source 1 has fewer actions than the others.


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


def test_relevance_held_from_the_start_state(build, ext):
  """In imagination it is that of the teachers at the start, one of the last steps of a chunk."""
  model, K = build(**{'agent.vid2act.guide_from': 'start'}), 3
  params, call = transfer(model, ext)
  feat = {'deter': normal(B, T, 16), 'stoch': normal(B, T, 4, 4)}
  vector = jnp.concatenate([feat['deter'], feat['stoch'].reshape((B, T, 16))], -1)
  want = call(params, vector)[2][:, -K:].reshape((B * K, N))
  def fn(later):
    model.trace.begin_batch(ext)
    model._see(feat)
    return model.strategy.weigh(later)
  for shape in ((B * K,), (B * K, 5)):
    held = nj.pure(fn)(params, normal(*shape, F))[1]
    assert held.shape == (*shape, N)
    np.testing.assert_allclose(
        held, np.broadcast_to(want.reshape((B * K, *[1] * (len(shape) - 1), N)), held.shape),
        rtol=1e-4)


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
