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

from ..host import convolutions

f32 = jnp.float32
sg = jax.lax.stop_gradient


class SourceModel:
  """DreamerV3's world model told which source it is in.

  The source index enters as a vector observation, through an encoder of its
  own, and as part of the action. The image encoder does not see it, so one
  encoding serves all N sources. act_sizes: how many of the A padded actions
  each source has; it sees the others as 0, whoever took them.
  """

  def __init__(self, config, image, act_width, act_sizes):
    sources = len(act_sizes)
    source = elements.Space(np.int32, (), 0, sources)
    images = {'image': image}
    acts = {'action': elements.Space(np.float32, act_width, -1, 1), 'source': source}
    scalar, binary = elements.Space(np.float32, ()), elements.Space(bool, (), 0, 2)
    self.sources, self.act_sizes = sources, np.array(act_sizes)
    self.enc = convolutions.encoder(images, **config.enc.simple, name='enc')
    self.src = rssm.Encoder({'source': source}, **config.enc.simple, name='src')
    self.dyn = rssm.RSSM(acts, **config.dyn.rssm, name='dyn')
    self.dec = convolutions.decoder(images, **config.dec.simple, name='dec')
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
    return self._acts(before, source)

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

  def states(self, data):
    """Return the packed state of every step of `data` `[B, T]`, in the step's own source.

    data: image, action, is_first and source `[B, T, ...]`, each sequence begun by a reset.
    """
    tokens = self.encode(data['image'], data['source'], False)
    acts = self.prevacts(data['action'], data['source'])
    start = self.dyn.initial(len(data['image']))
    return pack(self.dyn.observe(start, tokens, acts, data['is_first'], False)[2])

  def initial(self, batch):
    return self.dyn.initial(batch * self.sources)

  def step(self, carry, image, prevact, is_first):
    """Advance every source's model by one step, as `features` does along a sequence.

    image `[B, H, W, 3]`, prevact `[B, A]` the action that led to it, is_first
    `[B]` -> carry and packed features `[B, N, ...]`.
    """
    B, N = len(image), self.sources
    fold = lambda x: jnp.repeat(x, N, 0)
    source = jnp.tile(jnp.arange(N, dtype=jnp.int32), B)
    tokens = jnp.concatenate([
        self._tokens(self.src, 'source', source, False, True),
        fold(self._tokens(self.enc, 'image', image, False, True))], -1)
    carry, _, feat = self.dyn.observe(
        carry, tokens, self._acts(fold(prevact), source), fold(is_first),
        training=False, single=True)
    return carry, jax.tree.map(lambda x: x.reshape((B, N, *x.shape[1:])), pack(feat))

  def _acts(self, action, source):
    own = jnp.arange(action.shape[-1]) < jnp.asarray(self.act_sizes)[source][..., None]
    return {'action': action * own, 'source': source}

  def _reset(self, is_first):
    return jnp.concatenate([jnp.ones_like(is_first[:, :1]), is_first[:, 1:]], 1)

  def _tokens(self, encoder, key, value, training, single=False):
    first = jnp.zeros(value.shape[:1 if single else 2], bool)
    return encoder({}, {key: value}, first, training, single=single)[2]


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
  sources' own recordings, for the action VAE. These come from the bundle or,
  where `windows(counter)` gives batches of the recordings, are encoded anew.
  `seen` of the B sequences are looked at: their features come first, the rest
  is zero, and `teacher/row` says which they are.
  """

  def __init__(self, bundle, mesh, rows, seed=0, windows=None, seen=None):
    model = self.model = bundle.model()
    self.windows = windows
    replicate = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    shard = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(('d', 'f')))
    self.put = lambda x: embodied.jax.internal.device_put(x, replicate)
    self.params = self.put(bundle.params)
    self.memory = self.put(bundle.memory)
    self.seed = seed
    self.width = bundle.act_width

    def call(params, memory, seed, data):
      key, pick, encode, choose = jax.random.split(seed, 4)
      shape = (*data['is_first'].shape, rows)
      row = jnp.arange(shape[0]) if seen in (None, shape[0]) else (
          jax.random.permutation(choose, shape[0])[:seen])
      data = {k: v[row] for k, v in data.items()}
      _, feat = nj.pure(model.features)(
          params, data['image'], self._pad(data['action']), data['is_first'], seed=key)
      feat['row'] = jnp.repeat(row[:, None], shape[1], 1)
      feat = jax.tree.map(
          lambda x: jnp.pad(x, [(0, shape[0] - len(x))] + [(0, 0)] * (x.ndim - 1)), feat)
      if windows:
        _, states = nj.pure(model.states)(params, memory, seed=encode)
        memory, usable = _flatten({**states, **memory})
        index = jax.random.choice(pick, len(usable), shape, p=usable / usable.sum())
      else:
        index = jax.random.randint(pick, shape, 0, len(memory['source']))
      states = jax.tree.map(lambda x: x[index], memory)
      return {
          **{f'teacher/{k}': v for k, v in feat.items()},
          **{f'memory/{k}': v for k, v in states.items()}}

    self.call = jax.jit(
        call, in_shardings=(replicate, replicate, replicate, shard), out_shardings=shard)

    def step(params, carry, image, prevact, is_first, seed):
      _, out = nj.pure(model.step)(
          params, carry, image, self._pad(prevact), is_first, seed=seed)
      return out

    self.step = jax.jit(step)

  def __call__(self, data, counter):
    data = {k: data[k] for k in ('image', 'action', 'is_first')}
    memory = self.put(self.windows(counter)) if self.windows else self.memory
    return self.call(self.params, memory, self._key(counter), data)

  def start(self, envs):
    """Return the state of the teacher before the first step of `envs` environments."""
    zeros = jax.eval_shape(lambda: self.model.initial(envs))
    return self.put(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), zeros))

  def act(self, carry, obs, prevact, counter):
    """Advance by one step of acting; see `SourceModel.step`. obs, prevact: of the environments."""
    image, prevact, first = self.put((obs['image'], prevact, obs['is_first']))
    return self.step(self.params, carry, image, prevact, first, self._key(counter))

  def _key(self, counter):
    rng = np.random.default_rng([self.seed, counter])
    return self.put(rng.integers(0, 2 ** 32, 2, np.uint32))

  def _pad(self, action):
    action = jnp.clip(action, -1, 1)
    return jnp.pad(action, [(0, 0)] * (action.ndim - 1) + [(0, self.width - action.shape[-1])])


def _flatten(windows):
  """Return states of windows `[B, T, ...]` as `[M, ...]`, and which can serve the VAE.

  The first quarter of a window lacks history, and at is_last no action is taken.
  """
  late = jnp.arange(windows['is_last'].shape[1]) >= windows['is_last'].shape[1] // 4
  usable = f32(~windows['is_last'] & late).reshape(-1)
  windows = {**windows, 'deter': windows['deter'].astype(jnp.float16)}
  flat = lambda x: x.reshape((-1, *x.shape[2:]))
  return {k: flat(windows[k]) for k in ('deter', 'stoch', 'action', 'source')}, usable


def spaces(bundle, rows):
  """Return the spaces of what `Teacher` adds to each step of a batch, `rows` states among it."""
  rssm_ = bundle.config.dyn.rssm
  space = lambda dtype, *shape: elements.Space(dtype, shape)
  return {
      'teacher/row': space(np.int32),
      'teacher/deter': space(np.float32, bundle.sources, rssm_.deter),
      'teacher/stoch': space(np.uint8, bundle.sources, rssm_.stoch),
      'memory/deter': space(np.float16, rows, rssm_.deter),
      'memory/stoch': space(np.uint8, rows, rssm_.stoch),
      'memory/action': space(np.float32, rows, bundle.act_width),
      'memory/source': space(np.int32, rows)}
