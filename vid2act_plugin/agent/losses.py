"""The method's losses as pure functions of arrays: unreduced, float32.

Axes: B batch, T time, N sources, F student feature, M states of the sources'
recordings, A action width, Z size of the guide's noise. The formulae are those
of the published code of Vid2Act (arXiv 2306.03360) with its faults mended.
"""

import jax
import jax.numpy as jnp

f32 = jnp.float32
sg = jax.lax.stop_gradient


def relevance(logits):
  """Weigh the sources: `w_k = softmax_k l_k`, `[..., N]` -> `[..., N]`."""
  return jax.nn.softmax(f32(logits), -1)


def distill(weights, adapted, feat, floor, factor=1.0):
  """Pull the student's feature towards each teacher's, by relevance.

  `sum_k max(floor, w_k) * mean_F (adapted_k - feat)^2`. The weights are not
  detached: a teacher that is easy to imitate gains relevance.

  weights: `[..., N]`; adapted: `[..., N, F]`, the teachers' features mapped
  into the student's space; feat: `[..., F]`; floor: scalar. factor: `[..., N]`,
  how many sources each stands for, see `pick`.
  Returns the loss `[...]` and the squared error per source `[..., N]`.
  """
  error = jnp.square(f32(adapted) - f32(feat)[..., None, :]).mean(-1)
  return (factor * jnp.maximum(floor, weights) * error).sum(-1), error


def pick(weights, count, seed):
  """Choose the `count - 1` most relevant of N sources, and one of the others at random.

  weights: `[..., N]` with N > count > 1; seed: JAX key. Returns the chosen
  indices and how many sources each stands for, both `[..., count]`: 1, and
  N - count + 1 for the last. A sum over the chosen, times that, has the sum
  over all sources as its expectation.
  """
  N = weights.shape[-1]
  best = jax.lax.top_k(weights, count - 1)[1]
  taken = jax.nn.one_hot(best, N, dtype=bool).any(-2)
  other = jnp.argmax(jnp.where(taken, -jnp.inf, jax.random.gumbel(seed, weights.shape)), -1)
  factor = jnp.append(jnp.ones(count - 1, f32), f32(N - count + 1))
  index = jnp.concatenate([best, other[..., None]], -1)
  return index, jnp.broadcast_to(factor, index.shape)


def amortised(logits, weights):
  """Cross-entropy of predicted relevance towards `sg(weights)`: two `[..., N]` -> `[...]`."""
  return -(sg(weights) * jax.nn.log_softmax(f32(logits), -1)).sum(-1)


def vae(recon, action, mask, mean, logstd):
  """Loss of the action VAE, `MSE(recon, action) + 0.5 * KL(q || N(0, I))`.

  recon, action: `[M, A]`; mask: `[M, A]`, 1 where the source has that action
  dimension; mean, logstd: `[M, Z]`. Means over valid action dimensions and over Z,
  with `KL = -0.5 * mean(1 + log var - mean^2 - var)`. Returns two losses `[M]`.
  """
  recon, action, mean, logstd = f32(recon), f32(action), f32(mean), f32(logstd)
  error = (mask * jnp.square(recon - action)).sum(-1) / jnp.maximum(1, mask.sum(-1))
  kl = -0.5 * (1 + 2 * logstd - jnp.square(mean) - jnp.exp(2 * logstd)).mean(-1)
  return error, 0.5 * kl
