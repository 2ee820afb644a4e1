"""The action VAE of the sources and the policy head that reads its hidden units."""

import embodied.jax.nets as nn
import jax
import jax.numpy as jnp
import ninjax as nj

from ..host import internals
from .relevance import along

f32 = jnp.float32
sg = jax.lax.stop_gradient
CHUNK = 8  # Sources whose hidden units are held at once.


class ActionVAE(nj.Module):
  """Which action a source takes at a state.

  Encoder [x, a, k] -> mean and log std of the noise; decoder [x, z, k] -> a
  layer of `code` hidden units -> tanh -> action.
  """

  units: int = 1024
  code: int = 50

  def __init__(self, actions, sources, noise):
    self.actions = actions
    self.sources = sources
    self.noise = noise

  def encode(self, state, action, source):
    """Map state `[..., F]`, action `[..., A]`, source `[...]` to two `[..., Z]`."""
    x = jnp.concatenate([nn.cast(state), nn.cast(action), self._onehot(source)], -1)
    for i in range(2):
      x = jax.nn.relu(self.sub(f'enc{i}', nn.Linear, self.units)(x))
    mean = f32(self.sub('mean', nn.Linear, self.noise)(x))
    logstd = f32(self.sub('logstd', nn.Linear, self.noise)(x))
    return mean, jnp.clip(logstd, -4, 15)

  def hidden(self, state, noise, source):
    """Map state `[..., F]`, noise `[..., Z]`, source `[...]` to the hidden units `[..., code]`."""
    x = jnp.concatenate([nn.cast(state), nn.cast(noise), self._onehot(source)], -1)
    x = jax.nn.relu(self.sub('dec0', nn.Linear, self.units)(x))
    return jax.nn.relu(self.sub('dec1', nn.Linear, self.code)(x))

  def __call__(self, state, action, source):
    """Return the reconstructed action `[..., A]` and the noise's mean and log std."""
    mean, logstd = self.encode(state, action, source)
    noise = mean + jnp.exp(logstd) * jax.random.normal(nj.seed(), mean.shape)
    return self.act(self.hidden(state, noise, source)), mean, logstd

  def act(self, hidden):
    """Map hidden units `[..., code]` to the action `[..., A]`."""
    return jnp.tanh(f32(self.sub('action', nn.Linear, self.actions)(hidden)))

  def draw(self, batch):
    """Return one noise vector per trajectory, `[batch, Z]`, clipped to [-0.5, 0.5]."""
    return jnp.clip(jax.random.normal(nj.seed(), (batch, self.noise)), -0.5, 0.5)

  def mixture(self, state, noise, weights):
    """Return the hidden units of all sources `[..., code]`, by weights `[..., N]`."""
    known, N = jnp.concatenate([nn.cast(state), nn.cast(noise)], -1), self.sources
    first = self.sub('dec0', nn.Linear, self.units)
    layer = lambda x, source: first(jnp.concatenate([x, source.astype(x.dtype)], -1))
    # Linear, so that its share of state and noise is computed once and not for every source.
    shared = layer(known, jnp.zeros((*known.shape[:-1], N)))
    zero = jnp.zeros((N, known.shape[-1]), known.dtype)
    rows = layer(zero, jnp.eye(N)) - layer(zero, jnp.zeros((N, N)))
    mixed = 0
    for k in range(0, N, CHUNK):
      x = jax.nn.relu(shared[..., None, :] + rows[k: k + CHUNK])
      hidden = jax.nn.relu(self.sub('dec1', nn.Linear, self.code)(x))
      mixed += (nn.cast(weights)[..., k: k + CHUNK, None] * hidden).sum(-2)
    return mixed

  def _onehot(self, source):
    return jax.nn.one_hot(source, self.sources, dtype=nn.COMPUTE_DTYPE)


class Guided:
  """The host's policy head on `sg([feat, u])`, u the VAE's hidden units.

  u is that of the most relevant source or, with `mixture`, of all by relevance,
  which `strategy.weigh` gives for a feature `[..., F]`. With `prior` the
  policy's mean is what the head says plus the action that the VAE reads from u,
  so that it begins as the sources' and not as none. `trace.noise` is held along
  each trajectory, so that the policy that is scored is the one that acted.
  """

  def __init__(self, head, vae, strategy, trace, mixture=False, prior=False):
    self.head, self.vae, self.strategy, self.trace = head, vae, strategy, trace
    self.mixture, self.prior = mixture, prior

  def __getattr__(self, name):
    return getattr(self.head, name)

  def __call__(self, feat, bdims):
    weights = self.trace.weights = self.strategy.weigh(feat)
    noise = along(self.trace.noise, feat.shape[:bdims])
    if self.mixture:
      hidden = self.vae.mixture(feat, noise, weights)
    else:
      hidden = self.vae.hidden(feat, noise, jnp.argmax(weights, -1))
    policy = self.head(sg(jnp.concatenate([nn.cast(feat), hidden], -1)), bdims)
    if self.prior:
      # Added after the head's own tanh, so that the head can undo it everywhere.
      internals.shift_mean(policy, sg(self.vae.act(hidden)))
    return policy


class Recorded:
  """The host's RSSM, whose `loss` shows the student's features to `see` before they are used.

  see: from the features `{deter, stoch, logit}`, each `[B, T, ...]`, to those
  that the rest of the host's loss is to have.
  """

  def __init__(self, dyn, see):
    self.dyn, self.see = dyn, see

  def __getattr__(self, name):
    return getattr(self.dyn, name)

  def loss(self, *args):
    carry, entries, losses, feat, metrics = self.dyn.loss(*args)
    return carry, entries, losses, self.see(feat), metrics


def summary(sources, source, error, kl):
  """Return metrics of the VAE's error and KL on states of `source`, each `[M]`; see `named`."""
  mine = jax.nn.one_hot(source, sources)
  mean = (mine * error[:, None]).sum(0) / jnp.maximum(1, mine.sum(0))
  return {'vae/error': error.mean(), 'vae/kl': kl.mean(), 'vae_error/*': mean}
