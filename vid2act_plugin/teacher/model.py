"""The action-conditioned world model of the sources, and the interface of every teacher.

Axes: B batch, T time, N sources, A `vid2act.act_width`, D deter, S stoch
groups, C classes per group, F = D + S * C.
"""

import typing

import elements
import embodied.jax
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
from dreamerv3 import rssm

from ..host import convolutions

f32 = jnp.float32


class TeacherModel(typing.Protocol):
  """What an agent asks of a teacher, one network or several; `nj.pure` makes it a function.

  A packed state is `{deter [..., D] float32, stoch [..., S] uint8}`, see `pack`.
  """

  sources: int

  def features(self, image, action, is_first):
    """Return what every source's model sees in the same sequences `[B, T, ...]`: `[B, T, N, ...]`."""

  def states(self, data):
    """Return the packed state of every step of `data` `[B, T]`, in the step's own source."""

  def encoded(self, image):
    """Return what the image encoders make of `image` `[B, H, W, 3]`, `[B, X]`."""

  def initial(self, batch):
    """Return the states of all models before the first step of `batch` sequences."""

  def step(self, carry, image, prevact, is_first):
    """Advance every source's model by one step: carry and packed features `[B, N, ...]`."""


class SourceModel:
  """DreamerV3's world model told which source it is in.

  The source index enters as a vector observation, through an encoder of its
  own, and as part of the action. The image encoder does not see it, so one
  encoding serves all N sources. act_sizes: how many of the A padded actions
  each source has; it sees the others as 0, whoever took them.
  """

  def __init__(self, config, image, act_width, act_sizes, folded=True):
    sources = len(act_sizes)
    source = elements.Space(np.int32, (), 0, sources)
    images = {'image': image}
    acts = {'action': elements.Space(np.float32, act_width, -1, 1), 'source': source}
    scalar, binary = elements.Space(np.float32, ()), elements.Space(bool, (), 0, 2)
    self.sources, self.act_sizes = sources, np.array(act_sizes)
    self.enc = convolutions.encoder(folded, images, **config.enc.simple, name='enc')
    self.src = rssm.Encoder({'source': source}, **config.enc.simple, name='src')
    self.dyn = rssm.RSSM(acts, **config.dyn.rssm, name='dyn')
    self.dec = convolutions.decoder(folded, images, **config.dec.simple, name='dec')
    self.rew = embodied.jax.MLPHead(scalar, **config.rewhead, name='rew')
    self.con = embodied.jax.MLPHead(binary, **config.conhead, name='con')
    self.modules = [self.dyn, self.enc, self.src, self.dec, self.rew, self.con]

  def encoded(self, image):
    """Return what the image encoder makes of `image` `[B, H, W, 3]`, `[B, X]`."""
    return self._tokens(self.enc, 'image', image, False, single=True)

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


def shapes(model, image, act_width):
  """Return `{name: shape}` of the parameters that a `TeacherModel` needs.

  image: shape of one. Nothing is computed, and no device is needed.
  """
  def fn(image, action, first):
    model.step(model.initial(1), image, action, first)
  array = lambda dtype, *shape: jax.ShapeDtypeStruct((1, *shape), dtype)
  params = jax.eval_shape(
      nj.init(fn), {}, array(jnp.uint8, *image), array(f32, act_width), array(bool),
      seed=jax.ShapeDtypeStruct((2,), jnp.uint32))
  return {k: tuple(v.shape) for k, v in params.items()}


def pack(feat):
  """Store the one-hot stoch `[..., S, C]` as the index of its class `[..., S]` uint8."""
  return {
      'deter': f32(feat['deter']),
      'stoch': jnp.argmax(feat['stoch'], -1).astype(jnp.uint8)}


def unpack(feat, classes):
  """Return the feature vector `[..., F]` of a packed state."""
  stoch = jax.nn.one_hot(feat['stoch'], classes, dtype=f32)
  return jnp.concatenate([f32(feat['deter']), stoch.reshape((*stoch.shape[:-2], -1))], -1)
