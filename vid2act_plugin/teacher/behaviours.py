"""What each source would do: one network that imitates the sources' recordings from images.

Axes: B batch, F frames, H W image, N sources, A `act_width`.
"""

import dataclasses
import hashlib
import pathlib

import embodied.jax.nets as nn
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np

from ..common.errors import reading
from . import claims, faults, stored
from .bundle import CLONES, FACTS

f32 = jnp.float32
TENSORS = CLONES
SIZES = 'frames', 'channels', 'hidden'
SIDE = 7  # Patches.
NAMED = 'name one that --script clone has written, LOGDIR/behaviours'  # The cure where the user named a folder,
MADE = 'delete this folder, and they are learned again'  # and where a stage did.


class Network(nj.Module):
  """Map the last F images and a source to the action that the source would take."""

  channels: int = 32
  hidden: int = 256

  def __init__(self, sources, actions):
    self.sources, self.actions = sources, actions

  def __call__(self, frames, source):
    """Map frames `[B, F, H, W, 3]` uint8 and source `[B]` to actions `[B, A]` in [-1, 1]."""
    B, F, H, W, C = frames.shape
    x = nn.cast(frames.transpose(0, 2, 3, 1, 4).reshape((B, H, W, F * C)), force=True) / 255 - 0.5
    x = patched(self, x)
    onehot = jnp.eye(self.sources, dtype=x.dtype)[source]
    for i, units in enumerate((self.hidden, self.hidden // 2)):
      x = jnp.concatenate([x, onehot], -1)
      x = jax.nn.relu(self.sub(f'layer{i}', nn.Linear, units)(x))
    return jnp.tanh(f32(self.sub('action', nn.Linear, self.actions, outscale=0.01)(x)))


def patched(module, x):
  """Map an image `[B, H, W, C]` to a vector of each, `[B, ...]`, by layers of `module`.

  Linear ones on patches of 4 x 4 pixels, then on 2 x 2 of what these make of them, until a
  side has at most 7: on a CPU a fifth of the time of convolutions.
  """
  level = 0
  while not level or max(x.shape[1:3]) > SIDE:
    patches = merge(x, 2 if level else 4)
    units = module.channels * 2 ** level
    x = jax.nn.relu(module.sub(f'patch{level}', nn.Linear, units)(patches))
    level += 1
  return x.reshape((len(x), -1))


def merge(x, n):
  """Make patches of n x n pixels the channels of one: `[B, H, W, C]` -> `[B, H/n, W/n, n*n*C]`.

  At the edges, pixels are repeated where H or W is no multiple.
  """
  B, H, W, C = x.shape
  x = jnp.pad(x, ((0, 0), (0, -H % n), (0, -W % n), (0, 0)), mode='edge')
  h, w = x.shape[1] // n, x.shape[2] // n
  return x.reshape((B, h, n, w, n, C)).transpose((0, 1, 3, 2, 4, 5)).reshape((B, h, w, n * n * C))


@dataclasses.dataclass
class Behaviours:
  """The network and what is known of it.

  params: `{name: array}`. facts: `sources` in order, `act_sizes`, `act_width`,
  `image`, `env` (settings of the first source's environment), `settings` (those of
  `vid2act.behaviours`), `recordings` (hash of their content), `seed` and `holdout` (which earlier versions
  did not note), and per source `error`, the mean squared error on episodes that it was not trained on, None
  where none of these is worth repeating, and `success`, its share of episodes of the source's own task that
  succeed without noise and with it, or None where that is not known.
  """

  params: dict
  facts: dict

  def actor(self, wait=True):
    """Return a function from frames `[B, F, H, W, 3]` and sources `[B]` to actions `[B, A]`.

    wait: until they are there, as a NumPy array; otherwise they are JAX's.
    """
    net = network(self.facts)
    with jax.transfer_guard('allow'):
      params = jax.device_put(self.params)
    call = jax.jit(lambda params, *xs: apply(net, params, *xs))
    def act(frames, source):
      with jax.transfer_guard('allow'):
        found = call(params, frames, np.asarray(source, np.int32))
        return np.asarray(found) if wait else found
    return act

  def identity(self):
    """Return what tells them from others of the same sources: settings, `recordings` and a `hash` of `params`."""
    digest = hashlib.sha256(stored.content(self.params)).hexdigest()
    return {**self.facts['settings'], 'recordings': self.facts['recordings'], 'hash': digest[:16]}

  def write(self, folder):
    """Write both files at once: `folder` is absent or complete."""
    stored.write(folder, (TENSORS, FACTS), self.params, self.facts)


def exists(folder):
  return (pathlib.Path(folder).expanduser() / FACTS).is_file()


def read(folder, cure=NAMED):
  """Return what `write` wrote; a `UserError` names what is amiss, and the cure."""
  with reading(f'The behaviours in {folder}', cure):
    return checked(*stored.read(pathlib.Path(folder).expanduser(), (TENSORS, FACTS)))


def checked(params, facts):
  """Return `Behaviours` of tensors and facts that were read; a ValueError says what is amiss."""
  fault = faults.behaviours(facts)
  if fault:
    raise ValueError(fault)
  settings = facts['settings']
  if not claims.sizes(*(settings[k] for k in SIZES), *facts['image'], facts['act_width']):
    raise ValueError('its sizes are none of a network')
  return Behaviours(stored.fitting(params, shapes(facts)), facts)


def of(bundle):
  """Return the `Behaviours` in a bundle, or None where it has none, as those of earlier versions.

  Raises a `UserError` if they are of other sources or of another network.
  """
  if 'behaviours' not in bundle.manifest:
    return None
  with reading(f'The behaviours of the teacher bundle {bundle.folder}', 'pretrain it again'):
    facts = bundle.manifest['behaviours']
    for key in ('sources', 'act_sizes', 'act_width', 'image'):
      if facts[key] != bundle.manifest[key]:
        raise ValueError(f'their {key} are not those of its manifest')
    return checked(bundle.clones, facts)


def shapes(facts):
  """Return `{name: shape}` of the parameters of a network; nothing is computed."""
  return stored.shapes(lambda: initial(facts, 0))


def network(facts):
  """Return the network that facts are of."""
  settings = facts['settings']
  return Network(
      len(facts['sources']), facts['act_width'], channels=settings['channels'],
      hidden=settings['hidden'], name='behaviours')


def apply(net, params, frames, source):
  """Return the actions of a network with these parameters."""
  return nj.pure(lambda *xs: net(*xs))(params, frames, source)[1]


def initial(facts, seed):
  """Return parameters to begin with."""
  net = network(facts)
  frames = jnp.zeros((1, facts['settings']['frames'], *facts['image']), jnp.uint8)
  return nj.init(lambda *xs: net(*xs))(
      {}, frames, jnp.zeros(1, jnp.int32), seed=jax.random.PRNGKey(seed))
