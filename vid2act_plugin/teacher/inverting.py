"""Learn which action leads from one image to the next, from recordings that have both.

Axes: B batch, F frames, H W image, E networks, A actions.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import inverse
from .cloning import shift

f32 = jnp.float32
RATE = 1e-3  # Of learning, at the start; it falls to 0 as a cosine.
DECAY = 1e-4  # Of weights.
SHOWN = 2048  # Held-out steps of each source that errors are measured on.
STILL = 1e-6  # Variance of an action that hardly changes; it has no R2.


class Training:
  """Trains the networks on all steps of the recordings `data`, a `sources.Sources`.

  Of as many sources as networks or more, each network learns from all but some, every source
  being left out by one: what that one makes of it tells how well a task that nobody learned
  from is labelled. settings: see `inverse.Inverse`. facts: more of them. Call it for one update.
  """

  def __init__(self, data, settings, facts):
    self.settings, self.seed = settings, data.seed
    self.facts = dict(
        facts, sources=list(data.names), act_size=int(data.act_width), settings=dict(settings),
        image=[int(x) for x in data.image], recordings=data.key)
    self.steps = {x: _Steps(data, x) for x in ('train', 'holdout')}
    self.facts.update(self.steps['train'].spread())
    N, E = len(data.names), settings['networks']
    self.apart = [k % E if N >= E > 1 else None for k in range(N)]  # By which network.
    self.seen = [[k for k in range(N) if self.apart[k] != e] for e in range(E)]
    net = inverse.network(self.facts)
    optimizer = optax.adamw(
        optax.cosine_decay_schedule(RATE, settings['updates']), weight_decay=DECAY)

    def loss(params, seed, frames, action):
      mean, logvar = inverse.apply(net, params, shift(frames, settings['shift'], seed))
      error = jnp.square(mean - action)
      # The mean learns from its error alone: where it is unsure, it is to learn as much.
      doubt = jax.lax.stop_gradient(error) * jnp.exp(-logvar) + logvar
      return (error + doubt).mean(), error.mean()

    def update(params, state, seed, frames, action):
      seeds = jax.random.split(jax.random.PRNGKey(seed), E)
      each = jax.vmap(jax.value_and_grad(loss, has_aux=True))
      (_, errors), grads = each(params, seeds, frames, action)
      change, state = optimizer.update(grads, state, params)
      return optax.apply_updates(params, change), state, errors.mean()

    self._update = jax.jit(update, donate_argnums=(0, 1))
    with jax.transfer_guard('allow'):
      self.params = inverse.initial(self.facts, self.seed)
      self.state = jax.jit(optimizer.init)(self.params)

  def __call__(self, number):
    """Make update `number` and return the mean squared error before it, still on the device."""
    rng = np.random.default_rng([self.seed, number])
    each = [self.steps['train'].draw(rng, self.settings['batch_size'], x) for x in self.seen]
    with jax.transfer_guard('allow'):
      self.params, self.state, loss = self._update(
          self.params, self.state, np.uint32(number), *map(np.stack, zip(*each)))
    return loss

  def result(self):
    """Return the `Inverse`, with its errors on held-out episodes and variances that fit these."""
    with jax.transfer_guard('allow'):
      params = jax.device_get(self.params)
    size = self.facts['act_size']
    made = inverse.Inverse(params, {**self.facts, 'scale': [1.0] * size, 'slope': [1.0] * size})
    found = [self.steps['holdout'].guessed(made, k, SHOWN) for k in range(len(self.apart))]
    # Of a source, what the network says that did not learn from it; of too few sources, all say.
    alone = [x if e is None else x[e: e + 1] for (x, _, _), e in zip(found, self.apart)]
    made.facts['slope'] = slope(
        [x.mean(0) for x in alone], [x[2] for x in found], np.asarray(self.facts['mean'])).tolist()
    left = [np.square(made.label(x) - a).mean(0) for x, (_, _, a) in zip(alone, found)]
    doubt = [(v.mean(0) + m.var(0)).mean(0) for m, v, _ in found]
    made.facts.update(
        scale=(np.mean(left, 0) / np.maximum(np.mean(doubt, 0), 1e-12)).tolist(),
        r2=[explained(made.label(m), a) for m, _, a in found],
        r2_unseen=[None if e is None else explained(made.label(x), a)
                   for x, (_, _, a), e in zip(alone, found, self.apart)],
        r2_mean=[explained(np.asarray(self.facts['mean']), a) for _, _, a in found])
    return made


class _Steps:
  """All steps of all episodes at which an action is taken."""

  def __init__(self, data, split):
    self.streams, self.places = data.streams[split], []
    for stream in self.streams:
      first = np.flatnonzero(stream['is_first'])
      last = np.append(first[1:], len(stream['is_first']))
      steps = np.flatnonzero(~stream['is_last'])
      episode = np.searchsorted(first, steps, 'right') - 1
      self.places.append((steps, first[episode], last[episode]))

  def draw(self, rng, count, among):
    """Return frames `[B, F, H, W, 3]` and actions `[B, A]`, from each of the sources as often."""
    source = rng.choice(among, count)
    place = rng.random(count)
    parts = []
    for k in np.unique(source):
      chosen = (place[source == k] * len(self.places[k][0])).astype(int)
      steps, start, stop = (x[chosen] for x in self.places[k])
      stream = self.streams[k]
      parts.append((stream['image'][inverse.around(steps, start, stop)], stream['action'][steps]))
    return tuple(np.concatenate(x) for x in zip(*parts))

  def guessed(self, made, source, count):
    """Return predictions `[E, N, A]` and actions `[N, A]` of up to `count` steps, spread evenly."""
    have = len(self.places[source][0])
    chosen = np.linspace(0, have - 1, min(count, have)).astype(int)
    steps, start, stop = (x[chosen] for x in self.places[source])
    stream = self.streams[source]
    return *made.each(stream['image'], steps, start, stop), stream['action'][steps]

  def spread(self):
    """Return `mean` and `variance` of the actions over all sources, each `[A]`, as lists."""
    each = [x['action'][steps] for x, (steps, *_) in zip(self.streams, self.places)]
    action = np.concatenate(each).astype(np.float64)
    return dict(mean=action.mean(0).tolist(), variance=np.maximum(action.var(0), STILL).tolist())


def slope(guesses, actions, mean):
  """Return by how much deviations of guesses from the mean are to be taken, `[A]` from 0 to 1.

  guesses, actions: of each source `[N, A]`. What is guessed beyond what it explains does harm
  in a task that nobody learned from, such as where a gripper is closed there and cannot be seen.
  """
  x, y = (np.concatenate(z).astype(np.float64) - mean for z in (guesses, actions))
  return np.clip((x * y).sum(0) / np.maximum(np.square(x).sum(0), 1e-12), 0, 1)


def explained(guess, action):
  """Return the share of the variance of actions `[N, A]` that guesses explain, `[A]`.

  That is R2: 1 of the actions themselves, 0 of their mean; None of an action that never changes.
  """
  action = action.astype(np.float64)
  spread = action.var(0)
  left = np.square(action - guess).mean(0)
  return [round(float(1 - x / y), 4) if y > STILL else None for x, y in zip(left, spread)]
