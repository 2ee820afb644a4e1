"""What each source would do: one network that imitates the sources' recordings from images.

Axes: B batch, F frames, H W image, N sources, A `act_width`.
"""

import dataclasses
import json
import pathlib

import embodied.jax.nets as nn
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import optax
from safetensors.numpy import load, save

from ..common import files
from ..common.errors import reading
from . import claims
from .bundle import CLONES

f32 = jnp.float32
TENSORS, FACTS = CLONES, 'behaviours.json'
RATE = 1e-3  # Of learning, at the start; it falls to 0 as a cosine.
DECAY = 1e-4  # Of weights.
SHOWN = 512  # Held-out steps of each source that its error is measured on.
SIZES = 'frames', 'channels', 'hidden'
SIDE = 7  # Patches.


class Network(nj.Module):
  """Map the last F images and a source to the action that the source would take.

  Linear layers on patches of 4 x 4 pixels, then on 2 x 2 of what these make of them, until a
  side has at most 7: on a CPU a fifth of the time of convolutions.
  """

  channels: int = 32
  hidden: int = 256

  def __init__(self, sources, actions):
    self.sources, self.actions = sources, actions

  def __call__(self, frames, source):
    """Map frames `[B, F, H, W, 3]` uint8 and source `[B]` to actions `[B, A]` in [-1, 1]."""
    B, F, H, W, C = frames.shape
    x = nn.cast(frames.transpose(0, 2, 3, 1, 4).reshape((B, H, W, F * C)), force=True) / 255 - 0.5
    level = 0
    while not level or max(x.shape[1:3]) > SIDE:
      patches = merge(x, 2 if level else 4)
      x = jax.nn.relu(
          self.sub(f'patch{level}', nn.Linear, self.channels * 2 ** level)(patches))
      level += 1
    x = x.reshape((B, -1))
    onehot = jnp.eye(self.sources, dtype=x.dtype)[source]
    for i, units in enumerate((self.hidden, self.hidden // 2)):
      x = jnp.concatenate([x, onehot], -1)
      x = jax.nn.relu(self.sub(f'layer{i}', nn.Linear, units)(x))
    return jnp.tanh(f32(self.sub('action', nn.Linear, self.actions, outscale=0.01)(x)))


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
  `image`, `env` (settings of the recordings' environments), `settings` (those of
  `vid2act.behaviours`), `recordings` (hash of their content), and per source `error`, the mean squared error on episodes that
  it was not trained on, and `success`, its share of episodes of the source's own
  task that succeed without noise and with it, or None where that is not known.
  """

  params: dict
  facts: dict

  def actor(self):
    """Return a function from frames `[B, F, H, W, 3]` and sources `[B]` to actions `[B, A]`."""
    net = _network(self.facts)
    with jax.transfer_guard('allow'):
      params = jax.device_put(self.params)
    call = jax.jit(lambda params, *xs: _apply(net, params, *xs))
    def act(frames, source):
      with jax.transfer_guard('allow'):
        return np.asarray(call(params, frames, np.asarray(source, np.int32)))
    return act

  def write(self, folder):
    """Write both files at once: `folder` is absent or complete."""
    with files.atomic_folder(pathlib.Path(folder), replace=True) as made:
      content = save({k: np.ascontiguousarray(v) for k, v in self.params.items()})
      (made / TENSORS).write_bytes(content)
      (made / FACTS).write_text(json.dumps(
          {**self.facts, 'hash': files.sha256(made / TENSORS)}, indent=1))


def exists(folder):
  return (pathlib.Path(folder) / FACTS).is_file()


def read(folder):
  """Return what `write` wrote; a `UserError` names what is amiss."""
  with reading(f'The behaviours in {folder}', 'delete this folder, and they are trained again'):
    facts = files.parse(pathlib.Path(folder), FACTS)
    path = files.regular_file(pathlib.Path(folder), TENSORS)
    if facts.pop('hash') != files.sha256(path):
      raise ValueError(f'{TENSORS} is not as it was written')
    return checked(load(path.read_bytes()), facts)


def checked(params, facts):
  """Return `Behaviours` of tensors and facts that were read; a ValueError says what is amiss."""
  settings = facts['settings']
  if not claims.sizes(*(settings[k] for k in SIZES), *facts['image'], facts['act_width']):
    raise ValueError('its sizes are none of a network')
  wanted = shapes(facts)
  for name, shape in wanted.items():
    have = params.get(name)
    if have is None or have.shape != shape or have.dtype != np.float32 or not (
        np.isfinite(have).all()):
      raise ValueError(f'its tensor {name} is not finite float32 of shape {list(shape)}')
  return Behaviours({k: params[k] for k in wanted}, facts)


def shapes(facts):
  """Return `{name: shape}` of the parameters of a network; nothing is computed."""
  made = jax.eval_shape(lambda: _initial(facts, 0))
  return {k: tuple(v.shape) for k, v in made.items()}


class Training:
  """Trains the network on the demonstrations among the recordings `data`, a `sources.Sources`.

  settings: `vid2act.behaviours`. Call it for one update.
  """

  def __init__(self, data, settings):
    self.settings, self.seed = settings, data.seed
    self.facts = dict(
        sources=list(data.names), act_sizes=[int(x) for x in data.act_sizes],
        act_width=data.act_width, image=[int(x) for x in data.image], settings=dict(settings),
        env=data.env, recordings=data.key)
    self.steps = {x: _Steps(data, x, settings['frames']) for x in ('train', 'holdout')}
    net, sizes = _network(self.facts), np.array(data.act_sizes)
    optimizer = optax.adamw(
        optax.cosine_decay_schedule(RATE, settings['updates']), weight_decay=DECAY)

    def errors(params, frames, action, source):
      mask = f32(jnp.arange(action.shape[-1]) < jnp.asarray(sizes)[source][:, None])
      guess = _apply(net, params, frames, source)
      return (mask * jnp.square(guess - action)).sum(-1) / mask.sum(-1)

    def update(params, state, seed, *batch):
      frames = shift(batch[0], settings['shift'], jax.random.PRNGKey(seed))
      mean = lambda params: errors(params, frames, *batch[1:]).mean()
      loss, grads = jax.value_and_grad(mean)(params)
      change, state = optimizer.update(grads, state, params)
      return optax.apply_updates(params, change), state, loss

    self._update, self._errors = jax.jit(update, donate_argnums=(0, 1)), jax.jit(errors)
    with jax.transfer_guard('allow'):
      self.params = _initial(self.facts, self.seed)
      self.state = jax.jit(optimizer.init)(self.params)

  def __call__(self, number):
    """Make update `number` and return its loss, still on the device."""
    rng = np.random.default_rng([self.seed, number])
    batch = self.steps['train'].draw(rng, self.settings['batch_size'])
    with jax.transfer_guard('allow'):
      self.params, self.state, loss = self._update(
          self.params, self.state, np.uint32(number), *batch)
    return loss

  def result(self):
    """Return the `Behaviours`, with each source's held-out error."""
    held, error = self.steps['holdout'], []
    for source in range(len(self.facts['sources'])):
      with jax.transfer_guard('allow'):
        batch = held.first(source, SHOWN)
        error.append(round(float(self._errors(self.params, *batch).mean()), 4))
        params = jax.device_get(self.params)
    return Behaviours(params, {**self.facts, 'error': error})


class _Steps:
  """The steps of all demonstrations: the last F images of each, and the action taken there."""

  def __init__(self, data, split, frames):
    self.streams, self.back = data.streams[split], np.arange(frames)[::-1]
    self.starts, self.steps = [], []
    for episodes in data.demonstrations(split):
      each = [np.arange(start, stop - 1) for start, stop in episodes]  # None is taken at the last.
      self.steps.append(np.concatenate(each))
      self.starts.append(np.repeat([x for x, _ in episodes], list(map(len, each))))

  def draw(self, rng, count):
    """Return frames, actions and sources of `count` steps, from every source as often."""
    source = rng.integers(0, len(self.steps), count)
    place = rng.random(count)
    parts = [
        self._take(k, (place[source == k] * len(self.steps[k])).astype(int))
        for k in np.unique(source)]
    return tuple(np.concatenate(x) for x in zip(*parts))

  def first(self, source, count):
    """Return the same of up to `count` steps of one source, spread evenly over them."""
    have = len(self.steps[source])
    return self._take(source, np.linspace(0, have - 1, min(count, have)).astype(int))

  def _take(self, source, places):
    stream, step = self.streams[source], self.steps[source][places]
    # At the start of an episode its first image stands for those before.
    index = np.maximum(step[:, None] - self.back, self.starts[source][places][:, None])
    return stream['image'][index], stream['action'][step], np.full(len(step), source, np.int32)


def shift(frames, by, seed):
  """Move the frames `[B, F, H, W, 3]` of each step by up to `by` pixels, edges repeated."""
  if not by:
    return frames
  B, _, H, W, _ = frames.shape
  wide = jnp.pad(frames, ((0, 0), (0, 0), (by, by), (by, by), (0, 0)), mode='edge')
  offset = jax.random.randint(seed, (B, 2), 0, 2 * by + 1)
  cut = lambda x, o: jax.lax.dynamic_slice(x, (0, o[0], o[1], 0), (x.shape[0], H, W, x.shape[3]))
  return jax.vmap(cut)(wide, offset)



def _network(facts):
  settings = facts['settings']
  return Network(
      len(facts['sources']), facts['act_width'], channels=settings['channels'],
      hidden=settings['hidden'], name='behaviours')


def _apply(net, params, frames, source):
  return nj.pure(lambda *xs: net(*xs))(params, frames, source)[1]


def _initial(facts, seed):
  net = _network(facts)
  frames = jnp.zeros((1, facts['settings']['frames'], *facts['image']), jnp.uint8)
  return nj.init(lambda *xs: net(*xs))(
      {}, frames, jnp.zeros(1, jnp.int32), seed=jax.random.PRNGKey(seed))
