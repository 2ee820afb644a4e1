"""Relevance of the sources, how it is had while acting, and the map between feature spaces.

Axes: T time, N sources, F student feature, Ft teacher feature, K steps at which imagination starts.
"""

import embodied.jax.nets as nn
import jax
import jax.numpy as jnp
import ninjax as nj

f32 = jnp.float32
sg = jax.lax.stop_gradient
BAR = 10  # Pixels.
COLORS = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189),
          (140, 86, 75), (227, 119, 194), (127, 127, 127), (188, 189, 34), (23, 190, 207))


class Relevance(nj.Module):
  """f_weight: one logit per source from teacher and student feature.

  The hidden layer matters: with one linear layer the student's share would be
  the same for every source and cancel in the softmax.
  """

  units: int = 1024

  def __call__(self, teacher, feat):
    """Map teacher `[..., N, Ft]` and feat `[..., F]` to logits `[..., N]`."""
    x = self.sub('teacher', nn.Linear, self.units)(nn.cast(teacher))
    # The same as one layer on the concatenation, with the student's share computed once.
    x += self.sub('student', nn.Linear, self.units, bias=False)(nn.cast(feat))[..., None, :]
    x = nn.act('silu')(self.sub('norm', nn.Norm, 'rms')(x))
    return self.sub('logit', nn.Linear, 1)(x)[..., 0]


class Adapter(nj.Module):
  """f_distill: a linear map of teacher features into the student's space, shared by sources."""

  rank: int = 0

  def __init__(self, units):
    self.units = units

  def __call__(self, teacher):
    """Map `[..., Ft]` to `[..., F]`; with `rank` through a bottleneck of that size."""
    x = nn.cast(teacher)
    if self.rank:
      x = self.sub('down', nn.Linear, self.rank, bias=False)(x)
    return self.sub('map', nn.Linear, self.units)(x)


class Uniform:
  """Every source weighs 1 / N."""

  def __init__(self, sources):
    self.sources = sources

  def weigh(self, feat):
    """Map the student's feature `[..., F]` to relevance `[..., N]`, as all strategies do."""
    return jnp.full((*feat.shape[:-1], self.sources), 1 / self.sources, f32)


class Amortised(nj.Module):
  """f_amortised: relevance from the student's feature alone, so that acting needs no teacher."""

  units: int = 1024

  def __init__(self, sources):
    self.sources = sources

  def __call__(self, feat):
    """Map `[..., F]` to logits `[..., N]`; the feature gets no gradient."""
    x = self.sub('mlp', nn.MLP, 1, self.units)(sg(feat))
    return jnp.float32(self.sub('logit', nn.Linear, self.sources, outscale=0.0)(x))

  def weigh(self, feat):
    return jax.nn.softmax(self(feat), -1)


class AtStart:
  """Relevance from the teachers, fixed over each imagined trajectory at its start.

  weigh: the function (packed teacher features, feature) -> relevance that L_distill has, too.
  """

  def __init__(self, weigh, trace):
    self.from_teachers, self.trace = weigh, trace

  def weigh(self, feat):
    if self.trace.held is None:  # Acting: every step is a start.
      return self.from_teachers(self.trace.teacher, feat)
    return along(self.trace.held, feat.shape[:-1])

  def hold(self, feat, K):
    """Fix the relevance of trajectories that start at the last K steps of `feat` `[B, T, F]`."""
    teacher = {k: self.trace.teacher[k][:, -K:] for k in ('deter', 'stoch')}
    weights = sg(self.from_teachers(teacher, feat[:, -K:]))
    self.trace.held = weights.reshape((-1, weights.shape[-1]))


def along(x, bshape):
  """Repeat `[batch, C]` along the trajectories of a batch of shape `bshape` = (batch, ...)."""
  x = x.reshape((x.shape[0], *([1] * (len(bshape) - 1)), x.shape[-1]))
  return jnp.broadcast_to(x, (*bshape, x.shape[-1]))


def summary(weights, error):
  """Return metrics of relevance `[..., N]` and of each source's mean error `[N]`; see `named`."""
  flat = weights.reshape((-1, weights.shape[-1]))
  return {
      'relevance_entropy': -(flat * jnp.log(flat + 1e-8)).sum(-1).mean(),
      'relevance/*': flat.mean(0),
      'relevance_max/*': flat.max(0),
      'relevance_best/*': jax.nn.one_hot(jnp.argmax(flat, -1), flat.shape[-1]).mean(0),
      'distill_error/*': error}


def named(values, names):
  """Give each source's share of the arrays `KEY/*` `[..., N]` a key of its own, `KEY/NAME` `[...]`.

  That comes after they were fetched: from a GPU, every array costs as much as another.
  """
  result = {}
  for key, value in values.items():
    if key.endswith('/*'):
      result.update({f'{key[:-1]}{name}': value[..., i] for i, name in enumerate(names)})
    else:
      result[key] = value
  return result


def timeline(image, weights):
  """Draw the frames of one sequence above one bar per source, brightest where relevance is highest.

  image `[T, H, W, 3]` uint8, weights `[T, N]` -> `[H + N * BAR, T * W, 3]` uint8.
  """
  T, H, W, C = image.shape
  frames = image.transpose((1, 0, 2, 3)).reshape((H, T * W, C))
  colors = jnp.array([COLORS[i % len(COLORS)] for i in range(weights.shape[1])])
  bars = (f32(weights) / jnp.max(weights)).T[:, :, None] * colors[:, None]  # [N, T, 3]
  bars = bars.astype(jnp.uint8).repeat(BAR, 0).repeat(W, 1)
  return jnp.concatenate([frames, bars], 0)
