"""Which action leads from one image to the next: a few networks, trained alike, that learned it.

Axes: B batch, F frames, H W image, E networks, A actions.
"""

import dataclasses
import hashlib
import pathlib

import embodied.jax.nets as nn
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
from safetensors.numpy import save

from ..common.errors import reading
from . import claims, stored
from .behaviours import patched

f32 = jnp.float32
NAMES = TENSORS, FACTS = 'inverse.safetensors', 'inverse.json'
BACK, AHEAD = 2, 3  # Images before the one that an action is taken at, and after it.
FRAMES = BACK + 1 + AHEAD
GAIN = 4  # What changes between images is small beside what they show.
SIZES = 'networks', 'channels', 'hidden'
LEAST, MOST = -8.0, 2.0  # Logarithm of a variance; actions lie in [-1, 1].
WORTH = 0.25  # R2: below it, inferred actions and true ones correlate by less than a half.
BATCH = 256  # Steps that are computed at once.


class Network(nj.Module):
  """Map the images around a step to the action taken there, and how sure that is."""

  channels: int = 32
  hidden: int = 256

  def __init__(self, actions):
    self.actions = actions

  def __call__(self, frames):
    """Map frames `[B, F, H, W, 3]` uint8 to mean and log variance of the action, both `[B, A]`."""
    x = patched(self, pictured(nn.cast(frames, force=True) / 255 - 0.5))
    for i, units in enumerate((self.hidden, self.hidden // 2)):
      x = jax.nn.relu(self.sub(f'layer{i}', nn.Linear, units)(x))
    # What is learned of the variance changes nothing that the mean is made of.
    known = jax.nn.relu(self.sub('doubt', nn.Linear, self.hidden)(jax.lax.stop_gradient(x)))
    mean = f32(self.sub('mean', nn.Linear, self.actions, outscale=0.01)(x))
    logvar = f32(self.sub('logvar', nn.Linear, self.actions, outscale=0.01)(known))
    return mean, jnp.clip(logvar, LEAST, MOST)


def pictured(x):
  """Make of frames `[B, F, H, W, C]` one picture `[B, H, W, F * C]`, of changes but for one frame."""
  B, F, H, W, C = x.shape
  here = x[:, BACK: BACK + 1]
  x = jnp.concatenate([here, GAIN * (x[:, :BACK] - here), GAIN * (x[:, BACK + 1:] - here)], 1)
  return x.transpose(0, 2, 3, 1, 4).reshape((B, H, W, F * C))


@dataclasses.dataclass
class Inverse:
  """The networks and what is known of them.

  params: `{name: [E, ...]}`. facts: `act_size`, `image` (shape of one), `settings` and `seed`; of
  the recordings that they learned from `sources`, `recordings` (hash of their content), `files`
  (of each source, the hashes of its episodes), `view`, `scaled` and `pace` (see `sources.bodies`),
  `imported`, and `mean` and `variance` `[A]` of the actions learned from; `random`, whether these
  are of random episodes alone, and `experts`, whether the errors of new tasks are of others then;
  `slope` and `scale` `[A]`, by which predicted deviations from that mean and predicted variances
  are multiplied; and per source on held-out episodes, `[A]` each or None without any: `r2` on such
  as were learned from, and, on others where there are any, `r2_unseen` of a network that did not
  learn from that source and `r2_mean` of the mean action.
  """

  params: dict
  facts: dict

  def __post_init__(self):
    self._call = None

  def __call__(self, image):
    """Return actions and confidence, `[T, A]` and `[T]`, of an episode's images `[T, H, W, 3]`.

    action[t] leads from image[t] to image[t + 1]; the last one, which leads nowhere, is zero
    and certain. Confidence is the share of the actions' variance that is predicted, 0 to 1.
    """
    means, variances = self.each(image, np.arange(len(image) - 1))
    action = np.zeros((len(image), means.shape[-1]), np.float32)
    action[:-1] = self.label(means)
    confidence = np.ones(len(image), np.float32)
    confidence[:-1] = self.confidence(means, variances)
    return action, confidence

  def label(self, means):
    """Return the actions `[N, A]` that predictions `[E, N, A]` amount to."""
    usual, slope = (np.asarray(self.facts[k]) for k in ('mean', 'slope'))
    return np.clip(usual + slope * (means.mean(0) - usual), -1, 1).astype(np.float32)

  def confidence(self, means, variances):
    """Return the share of the actions' variance that predictions `[E, N, A]` explain, `[N]`."""
    doubt = np.asarray(self.facts['scale']) * (variances.mean(0) + means.var(0))
    return np.clip(1 - doubt / np.asarray(self.facts['variance']), 0, 1).mean(1)

  def each(self, image, steps, start=0, stop=None):
    """Return what each network makes of steps `[N]` of images `[T, ...]`: mean, variance `[E, N, A]`.

    start, stop: bounds of the episode that each step is of, `[N]`, if there are several.
    """
    self._call = self._call or compiled(self.facts)
    index, found = around(steps, start, len(image) if stop is None else stop), []
    for i in range(0, len(index), BATCH):
      part = index[i: i + BATCH]
      padded = np.pad(part, ((0, BATCH - len(part)), (0, 0)), mode='edge')  # Compiled once.
      with jax.transfer_guard('allow'):
        made = self._call(self.params, image[padded])
        found.append([np.asarray(x)[:, :len(part)] for x in made])
    return tuple(np.concatenate(x, 1) for x in zip(*found))

  def digest(self):
    """Return the hash of the parameters."""
    return hashlib.sha256(save({k: self.params[k] for k in sorted(self.params)})).hexdigest()

  def write(self, folder):
    """Write both files at once: `folder` is absent or complete."""
    stored.write(folder, NAMES, self.params, self.facts)


def exists(folder):
  return (pathlib.Path(folder) / FACTS).is_file()


def read(folder):
  """Return what `write` wrote; a `UserError` names what is amiss."""
  with reading(f'The inverse dynamics model in {folder}', 'delete this folder, and it is trained again'):
    return _checked(*stored.read(folder, NAMES))


def worth(facts):
  return (reached(facts) or 0) >= WORTH


def reached(facts):
  """Return the mean R2 over sources and actions, as of tasks not learned from where that is known."""
  return _mean([overall(y or x) for x, y in zip(facts['r2'], facts['r2_unseen']) if y or x])


def overall(r2):
  """Return the mean R2 over actions; one that hardly changes may be far below 0, and counts as 0."""
  return _mean([x if x is None else max(0.0, x) for x in r2])


def _mean(values):
  values = [x for x in values if x is not None]
  return float(np.mean(values)) if values else None


def around(steps, start, stop):
  """Return which images are seen for actions at `steps` `[N]`, `[N, F]`.

  The first image stands for those before it, and the last for those after; start and stop are
  numbers or `[N]`.
  """
  each = np.asarray(steps)[:, None] + np.arange(-BACK, AHEAD + 1)
  return np.clip(each, np.reshape(start, (-1, 1)), np.reshape(stop, (-1, 1)) - 1)


def compiled(facts):
  """Return the function from parameters and frames to mean and variance, both `[E, B, A]`."""
  net = network(facts)
  @jax.jit
  def fn(params, frames):
    means, logvars = jax.vmap(lambda params: apply(net, params, frames))(params)
    return means, jnp.exp(logvars)
  return fn


def network(facts):
  settings = facts['settings']
  return Network(
      facts['act_size'], channels=settings['channels'], hidden=settings['hidden'], name='inverse')


def apply(net, params, frames):
  """Return mean and log variance of one network with these parameters."""
  return nj.pure(lambda x: net(x))(params, frames)[1]


def initial(facts, seed):
  """Return parameters of all networks to begin with, `{name: [E, ...]}`."""
  net = network(facts)
  frames = jnp.zeros((1, FRAMES, *facts['image']), jnp.uint8)
  make = jax.jit(lambda key: nj.init(lambda x: net(x))({}, frames, seed=key))
  each = [make(jax.random.PRNGKey(seed + i)) for i in range(facts['settings']['networks'])]
  return {k: jnp.stack([x[k] for x in each]) for k in each[0]}


def _checked(params, facts):
  settings, size = facts['settings'], facts['act_size']
  if not claims.sizes(*(settings[k] for k in SIZES), *facts['image'], size):
    raise ValueError('its sizes are none of a network')
  for key in ('mean', 'slope', 'scale', 'variance'):
    value = np.asarray(facts[key], np.float64)
    if value.shape != (size,) or not np.isfinite(value).all():
      raise ValueError(f'its {key} is not {size} numbers')
  return Inverse(stored.fitting(params, stored.shapes(lambda: initial(facts, 0))), facts)
