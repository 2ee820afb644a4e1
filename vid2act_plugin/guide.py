"""The action VAE of the sources and the policy head that reads its hidden units."""

import embodied.jax.nets as nn
import jax
import jax.numpy as jnp
import ninjax as nj

f32 = jnp.float32
sg = jax.lax.stop_gradient


class ActionVAE(nj.Module):
  """Which action a source takes at a state.

  Encoder [x, a, k] -> mean and log std of the noise; decoder [x, z, k] -> a
  layer of `code` hidden units -> tanh -> action.
  """

  width: int = 750
  code: int = 50

  def __init__(self, actions, sources, noise):
    self.actions = actions
    self.sources = sources
    self.noise = noise

  def encode(self, state, action, source):
    """Map state `[..., F]`, action `[..., A]`, source `[...]` to two `[..., Z]`."""
    x = jnp.concatenate([nn.cast(state), nn.cast(action), self._onehot(source)], -1)
    for i in range(2):
      x = jax.nn.relu(self.sub(f'enc{i}', nn.Linear, self.width)(x))
    mean = f32(self.sub('mean', nn.Linear, self.noise)(x))
    logstd = f32(self.sub('logstd', nn.Linear, self.noise)(x))
    return mean, jnp.clip(logstd, -4, 15)

  def hidden(self, state, noise, source):
    """Map state `[..., F]`, noise `[..., Z]`, source `[...]` to the hidden units `[..., code]`."""
    x = jnp.concatenate([nn.cast(state), nn.cast(noise), self._onehot(source)], -1)
    x = jax.nn.relu(self.sub('dec0', nn.Linear, self.width)(x))
    return jax.nn.relu(self.sub('dec1', nn.Linear, self.code)(x))

  def __call__(self, state, action, source):
    """Return the reconstructed action `[..., A]` and the noise's mean and log std."""
    mean, logstd = self.encode(state, action, source)
    noise = mean + jnp.exp(logstd) * jax.random.normal(nj.seed(), mean.shape)
    out = self.sub('action', nn.Linear, self.actions)(self.hidden(state, noise, source))
    return jnp.tanh(f32(out)), mean, logstd

  def draw(self, batch):
    """Return one noise vector per trajectory, `[batch, Z]`, clipped to [-0.5, 0.5]."""
    return jnp.clip(jax.random.normal(nj.seed(), (batch, self.noise)), -0.5, 0.5)

  def _onehot(self, source):
    return jax.nn.one_hot(source, self.sources, dtype=nn.COMPUTE_DTYPE)


class Guided:
  """The host's policy head on `sg([feat, u])`, u the hidden units at the most relevant source.

  `noise` `[batch, Z]` is set before the head is used and held along each
  trajectory, so that the policy that is scored is the one that acted.
  """

  def __init__(self, head, amortised, vae):
    self.head = head
    self.amortised = amortised
    self.vae = vae
    self.noise = None

  def __getattr__(self, name):
    return getattr(self.head, name)

  def __call__(self, feat, bdims):
    source = jnp.argmax(self.amortised(feat), -1)
    noise = self.noise.reshape((-1, *([1] * (bdims - 1)), self.noise.shape[-1]))
    noise = jnp.broadcast_to(noise, (*feat.shape[:bdims], noise.shape[-1]))
    hidden = self.vae.hidden(feat, noise, source)
    return self.head(sg(jnp.concatenate([nn.cast(feat), hidden], -1)), bdims)
