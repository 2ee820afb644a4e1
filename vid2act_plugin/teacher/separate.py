"""Teachers of the second kind: one ordinary DreamerV3 world model per source.

Axes: B batch, T time, N sources, A `act_width`, D deter, S stoch groups.
"""

import elements
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
from dreamerv3 import rssm

from ..host import convolutions
from .model import pack


class SeparateModels:
  """N encoders and RSSMs of their own behind the interface of `model.SourceModel`.

  configs: the runs' `agent` configurations, in the sources' order. image: space
  of one image. act_sizes: how many of the A padded actions each model knows.
  The RSSMs must agree in deter, stoch and classes; encoders may differ. The
  parameters of source k are named `k/enc/...` and `k/dyn/...`.
  """

  def __init__(self, configs, image, act_sizes, folded=True):
    self.sources, self.act_sizes = len(configs), list(act_sizes)
    self.encs, self.dyns = [], []
    for k, (config, size) in enumerate(zip(configs, act_sizes)):
      acts = {'action': elements.Space(np.float32, size, -1, 1)}
      with nj.scope(str(k)):
        self.encs.append(convolutions.encoder(
            folded, {'image': image}, **config.enc.simple, name='enc'))
        self.dyns.append(rssm.RSSM(acts, **config.dyn.rssm, name='dyn'))

  def features(self, image, action, is_first):
    """Return what every source's model sees in the same sequences.

    image `[B, T, H, W, 3]` uint8, action `[B, T, A]` float32 in -1 to 1 taken
    at the image, is_first `[B, T]` -> deter `[B, T, N, D]` float32, stoch
    `[B, T, N, S]` uint8, the index of each group's class. The first step is a
    reset.
    """
    before = jnp.concatenate([0 * action[:, :1], action[:, :-1]], 1)
    reset = jnp.concatenate([jnp.ones_like(is_first[:, :1]), is_first[:, 1:]], 1)
    starts = self.initial(len(image))
    return self._observe(starts, image, before, reset, single=False)[1]

  def states(self, data):
    """Return the packed state of every step of `data` `[B, T]`, in the step's own source.

    data: image, action, is_first and source `[B, T, ...]`, each sequence begun by a reset.
    """
    feat = self.features(data['image'], data['action'], data['is_first'])
    pick = lambda x: jnp.take_along_axis(x, data['source'][..., None, None], 2)[:, :, 0]
    return jax.tree.map(pick, feat)

  def encoded(self, image):
    """Return what all image encoders make of `image` `[B, H, W, 3]`, side by side, `[B, X]`."""
    first = jnp.zeros(len(image), bool)
    tokens = [enc({}, {'image': image}, first, False, single=True)[2] for enc in self.encs]
    return jnp.concatenate(tokens, -1)

  def initial(self, batch):
    """Return the states of all models before the first step of `batch` sequences."""
    return [dyn.initial(batch) for dyn in self.dyns]

  def step(self, carry, image, prevact, is_first):
    """Advance every model by one step, as `features` does along a sequence.

    image `[B, H, W, 3]`, prevact `[B, A]` the action that led to it, is_first
    `[B]` -> carry and packed features `[B, N, ...]`.
    """
    return self._observe(carry, image, prevact, is_first, single=True)

  def _observe(self, carry, image, prevact, reset, single):
    carries, feats = [], []
    for enc, dyn, size, start in zip(self.encs, self.dyns, self.act_sizes, carry):
      _, _, tokens = enc({}, {'image': image}, reset, False, single=single)
      acts = {'action': prevact[..., :size]}
      end, _, feat = dyn.observe(start, tokens, acts, reset, False, single=single)
      carries.append(end)
      feats.append(pack(feat))
    return carries, jax.tree.map(lambda *xs: jnp.stack(xs, reset.ndim), *feats)


def shapes(config, image, act_size):
  """Return `{name: shape}` of one run's encoder and RSSM as they would be initialised.

  config: the run's `agent` configuration. Names are those of the run's own checkpoint.
  """
  model = SeparateModels([config], elements.Space(np.uint8, tuple(image)), [act_size])
  enc, dyn = model.encs[0], model.dyns[0]
  def fn(image, action, reset):
    _, _, tokens = enc({}, {'image': image}, reset, False)
    # Unlike `observe`, the loss also makes the prior, which a checkpoint has as well.
    dyn.loss(dyn.initial(1), tokens, {'action': action}, reset, False)
  array = lambda dtype, *shape: jax.ShapeDtypeStruct((1, 2, *shape), dtype)
  params = jax.eval_shape(
      nj.init(fn), {}, array(jnp.uint8, *image), array(jnp.float32, act_size), array(bool),
      seed=jax.ShapeDtypeStruct((2,), jnp.uint32))
  return {k.split('/', 1)[1]: tuple(v.shape) for k, v in params.items()}
