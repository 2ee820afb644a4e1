"""The losses: worked examples, plain loops as reference, and properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vid2act_plugin.agent import losses

rng = np.random.default_rng(0)
normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
pytestmark = pytest.mark.usefixtures('plain')


def test_relevance_worked():
  weights = losses.relevance(jnp.log(jnp.array([1.0, 2.0, 5.0])))
  np.testing.assert_allclose(weights, [0.125, 0.25, 0.625], rtol=1e-6)


def test_relevance_normalises_the_sources_and_nothing_else():
  logits = normal(4, 5, 3)
  weights = losses.relevance(logits)
  np.testing.assert_allclose(weights.sum(-1), np.ones((4, 5)), rtol=1e-6)
  np.testing.assert_allclose(weights[2, 3], losses.relevance(logits[2, 3]), rtol=1e-6)


def test_one_source_has_relevance_one():
  assert (np.array(losses.relevance(100 * normal(3, 4, 1))) == 1).all()


def test_distill_worked():
  # Errors are mean((3, 1)^2) = 5 and mean((0, 2)^2) = 2; the floor lifts 0.1 to 0.3.
  adapted = jnp.array([[4.0, 1.0], [1.0, 2.0]])
  feat = jnp.array([1.0, 0.0])
  loss, error = losses.distill(jnp.array([0.9, 0.1]), adapted, feat, 0.3)
  np.testing.assert_allclose(error, [5.0, 2.0], rtol=1e-6)
  np.testing.assert_allclose(loss, 0.9 * 5 + 0.3 * 2, rtol=1e-6)


def test_distill_reference():
  B, T, N, F, floor = 2, 3, 4, 5, 0.15
  weights = np.array(losses.relevance(normal(B, T, N)))
  adapted, feat = normal(B, T, N, F), normal(B, T, F)
  expected = np.zeros((B, T))
  for b in range(B):
    for t in range(T):
      for n in range(N):
        squares = [(adapted[b, t, n, f] - feat[b, t, f]) ** 2 for f in range(F)]
        expected[b, t] += max(floor, weights[b, t, n]) * sum(squares) / F
  np.testing.assert_allclose(losses.distill(weights, adapted, feat, floor)[0], expected, rtol=1e-5)


def test_distill_keeps_every_source():
  # Even a source of no relevance pulls, by the floor.
  grad = jax.grad(lambda x: losses.distill(jnp.array([1.0, 0.0]), x, jnp.zeros(3), 0.1)[0])
  assert (np.abs(grad(jnp.ones((2, 3)))) > 0).all()


def test_distill_moves_student_and_relevance():
  args = jnp.array([0.5, 0.5]), normal(2, 3), normal(3)
  grads = jax.grad(lambda *x: losses.distill(*x, 0.1)[0], argnums=(0, 1, 2))(*args)
  assert all(np.abs(x).sum() > 0 for x in grads)


@pytest.mark.parametrize('perm', [(2, 0, 1), (1, 0, 2)])
def test_permuting_sources_permutes_relevance(perm):
  logits, adapted, feat = normal(2, 3), normal(2, 3, 4), normal(2, 4)
  perm = list(perm)
  weights = losses.relevance(logits)
  np.testing.assert_allclose(losses.relevance(logits[:, perm]), weights[:, perm], rtol=1e-6)
  a, _ = losses.distill(weights, adapted, feat, 0.1)
  b, _ = losses.distill(weights[:, perm], adapted[:, perm], feat, 0.1)
  np.testing.assert_allclose(a, b, rtol=1e-5)


def test_amortised_worked():
  loss = losses.amortised(jnp.log(jnp.array([0.25, 0.75])), jnp.array([0.5, 0.5]))
  np.testing.assert_allclose(loss, -0.5 * np.log(0.25) - 0.5 * np.log(0.75), rtol=1e-6)


def test_amortised_leaves_the_weights_alone():
  grads = jax.grad(lambda x, w: losses.amortised(x, w).sum(), argnums=(0, 1))(
      normal(2, 3), losses.relevance(normal(2, 3)))
  assert np.abs(grads[0]).sum() > 0 and np.abs(grads[1]).sum() == 0


def test_vae_worked():
  # Error over the two valid dimensions: (0.5^2 + 1^2) / 2. KL with mean 1, std e: see the sum.
  recon, action = jnp.array([[0.5, 1.0, 9.0]]), jnp.array([[0.0, 0.0, 0.0]])
  mask = jnp.array([[1.0, 1.0, 0.0]])
  error, kl = losses.vae(recon, action, mask, jnp.array([[1.0]]), jnp.array([[1.0]]))
  np.testing.assert_allclose(error, [0.625], rtol=1e-6)
  np.testing.assert_allclose(kl, [0.5 * -0.5 * (1 + 2 - 1 - np.exp(2))], rtol=1e-6)


def test_vae_reference():
  M, A, Z = 3, 4, 2
  recon, action, mean, logstd = normal(M, A), normal(M, A), normal(M, Z), 0.3 * normal(M, Z)
  mask = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]], np.float32)
  error, kl = losses.vae(recon, action, mask, mean, logstd)
  for m in range(M):
    valid = [a for a in range(A) if mask[m, a]]
    want = np.mean([(recon[m, a] - action[m, a]) ** 2 for a in valid])
    np.testing.assert_allclose(error[m], want, rtol=1e-5)
    terms = [1 + 2 * logstd[m, z] - mean[m, z] ** 2 - np.exp(logstd[m, z]) ** 2 for z in range(Z)]
    np.testing.assert_allclose(kl[m], 0.5 * -0.5 * np.mean(terms), rtol=1e-5)


def test_vae_ignores_padded_dimensions():
  action, mask = normal(2, 4), np.array([[1, 1, 0, 0]] * 2, np.float32)
  fn = lambda x: losses.vae(x, action, mask, jnp.zeros((2, 1)), jnp.zeros((2, 1)))[0].sum()
  grad = np.array(jax.grad(fn)(normal(2, 4)))
  assert (grad[:, 2:] == 0).all() and (grad[:, :2] != 0).all()


def test_pick():
  """Of five sources the two most relevant, and any of the others, which stands for three."""
  weights = jnp.tile(jnp.array([0.06, 0.5, 0.04, 0.3, 0.1]), (2000, 1))
  index, factor = losses.pick(weights, 3, jax.random.PRNGKey(0))
  assert index.shape == factor.shape == (2000, 3)
  assert (np.array(index[:, :2]) == [1, 3]).all() and (np.array(factor) == [1, 1, 3]).all()
  np.testing.assert_allclose(np.bincount(index[:, 2], minlength=5) / 2000, [
      1 / 3, 0, 1 / 3, 0, 1 / 3], atol=0.05)


def test_the_picked_sources_stand_for_all():
  """Over many draws, L_distill of three of five sources is that of all five."""
  weights = jnp.array(rng.dirichlet(np.ones(5)), jnp.float32)
  adapted, feat = rng.normal(size=(5, 4)), rng.normal(size=4)
  whole, _ = losses.distill(weights, adapted, feat, 0.1)
  index, factor = losses.pick(jnp.tile(weights, (4000, 1)), 3, jax.random.PRNGKey(0))
  part, _ = losses.distill(
      weights[index], jnp.array(adapted)[index], jnp.tile(feat, (4000, 1)), 0.1, factor)
  assert part.std() > 0.01 * whole
  np.testing.assert_allclose(part.mean(), whole, rtol=0.05)
