"""The action-conditioned world model of the sources, and its frozen use.

Axes: B batch, T time, N sources, A `vid2act.act_width`, D deter, S stoch
groups, C classes per group, F = D + S * C.
"""

import elements
import embodied.jax
import embodied.jax.internal
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
from dreamerv3 import rssm

f32 = jnp.float32
sg = jax.lax.stop_gradient


class SourceModel:
  """DreamerV3's world model told which source it is in.

  The source index enters as a vector observation, through an encoder of its
  own, and as part of the action. The image encoder does not see it, so one
  encoding serves all N sources.
  """

  def __init__(self, config, image, act_width, sources):
    source = elements.Space(np.int32, (), 0, sources)
    images = {'image': image}
    acts = {'action': elements.Space(np.float32, act_width, -1, 1), 'source': source}
    scalar, binary = elements.Space(np.float32, ()), elements.Space(bool, (), 0, 2)
    self.sources = sources
    self.enc = rssm.Encoder(images, **config.enc.simple, name='enc')
    self.src = rssm.Encoder({'source': source}, **config.enc.simple, name='src')
    self.dyn = rssm.RSSM(acts, **config.dyn.rssm, name='dyn')
    self.dec = rssm.Decoder(images, **config.dec.simple, name='dec')
    self.rew = embodied.jax.MLPHead(scalar, **config.rewhead, name='rew')
    self.con = embodied.jax.MLPHead(binary, **config.conhead, name='con')
    self.modules = [self.dyn, self.enc, self.src, self.dec, self.rew, self.con]

  def encode(self, image, source, training):
    """Return tokens `[B, T, X]` of `image` `[B, T, H, W, 3]` in `source` `[B, T]`."""
    return jnp.concatenate([
        self._tokens(self.src, 'source', source, training),
        self._tokens(self.enc, 'image', image, training)], -1)

  def prevacts(self, action, source):
    """Shift `action` `[B, T, A]`, taken at each image, to the action that led to it."""
    before = jnp.concatenate([0 * action[:, :1], action[:, :-1]], 1)
    return {'action': before, 'source': source}

  def features(self, image, action, is_first):
    """Return what every source's model sees in the same sequences.

    image `[B, T, H, W, 3]` uint8, action `[B, T, A]` float32 taken at the
    image, is_first `[B, T]` -> deter `[B, T, N, D]`, stoch `[B, T, N, S]`, the
    index of each group's class. The first step is a reset. The N axis is folded
    into the batch with B outermost, so that a batch split over devices stays so.
    """
    B, T, N = *is_first.shape, self.sources
    source = jnp.tile(jnp.arange(N, dtype=jnp.int32)[:, None], (B, T))  # [B * N, T]
    fold = lambda x: jnp.repeat(x, N, 0)
    names = self._tokens(self.src, 'source', source, False)
    images = fold(self._tokens(self.enc, 'image', image, False))
    _, _, feat = self.dyn.observe(
        self.dyn.initial(B * N), jnp.concatenate([names, images], -1),
        self.prevacts(fold(action), source), fold(self._reset(is_first)), training=False)
    feat = jax.tree.map(
        lambda x: x.reshape((B, N, T, *x.shape[2:])).swapaxes(1, 2), pack(feat))
    return feat

  def _reset(self, is_first):
    return jnp.concatenate([jnp.ones_like(is_first[:, :1]), is_first[:, 1:]], 1)

  def _tokens(self, encoder, key, value, training):
    _, _, tokens = encoder({}, {key: value}, jnp.zeros(value.shape[:2], bool), training)
    return tokens


def pack(feat):
  """Store the one-hot stoch `[..., S, C]` as the index of its class `[..., S]` uint8."""
  return {
      'deter': f32(feat['deter']),
      'stoch': jnp.argmax(feat['stoch'], -1).astype(jnp.uint8)}


def unpack(feat, classes):
  """Return the feature vector `[..., F]` of a packed state."""
  stoch = jax.nn.one_hot(feat['stoch'], classes, dtype=f32)
  return jnp.concatenate([f32(feat['deter']), stoch.reshape((*stoch.shape[:-2], -1))], -1)


class Teacher:
  """The frozen source model beside an agent: never saved, trained or synced with it.

  Each call returns the extra inputs of one training batch: the packed teacher
  features of the batch and, per step, `rows` states with actions from the
  sources' own recordings, for the action VAE.
  """

  def __init__(self, bundle, mesh, rows, seed=0):
    model = bundle.model()
    replicate = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    shard = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(('d', 'f')))
    self.put = lambda x: embodied.jax.internal.device_put(x, replicate)
    self.params = self.put(bundle.params)
    self.memory = self.put(bundle.memory)
    self.seed = seed
    self.width = bundle.act_width

    def call(params, memory, seed, data):
      key, pick = jax.random.split(seed)
      action = jnp.clip(data['action'], -1, 1)
      action = jnp.pad(action, [(0, 0), (0, 0), (0, self.width - action.shape[-1])])
      _, feat = nj.pure(model.features)(
          params, data['image'], action, data['is_first'], seed=key)
      index = jax.random.randint(
          pick, (*data['is_first'].shape, rows), 0, len(memory['source']))
      states = jax.tree.map(lambda x: x[index], memory)
      return {
          **{f'teacher/{k}': v for k, v in feat.items()},
          **{f'memory/{k}': v for k, v in states.items()}}

    self.call = jax.jit(
        call, in_shardings=(replicate, replicate, replicate, shard), out_shardings=shard)

  def __call__(self, data, counter):
    seed = np.random.default_rng([self.seed, counter]).integers(0, 2 ** 32, 2, np.uint32)
    data = {k: data[k] for k in ('image', 'action', 'is_first')}
    return self.call(self.params, self.memory, self.put(seed), data)


def spaces(bundle, rows):
  """Return the spaces of what `Teacher` adds to each step of a batch, `rows` states among it."""
  rssm_ = bundle.config.dyn.rssm
  space = lambda dtype, *shape: elements.Space(dtype, shape)
  return {
      'teacher/deter': space(np.float32, bundle.sources, rssm_.deter),
      'teacher/stoch': space(np.uint8, bundle.sources, rssm_.stoch),
      'memory/deter': space(np.float16, rows, rssm_.deter),
      'memory/stoch': space(np.uint8, rows, rssm_.stoch),
      'memory/action': space(np.float32, rows, bundle.act_width),
      'memory/source': space(np.int32, rows)}
