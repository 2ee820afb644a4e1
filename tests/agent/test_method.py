"""What moves what, and what is held: properties of the method's parts."""

import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import pytest
from helpers.method import BURNIN, CONTEXT, B, F, N, T, moved, normal, transfer

from vid2act_plugin.agent import losses
from vid2act_plugin.teacher import model as teacher

pytestmark = pytest.mark.usefixtures('plain')


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
