"""Learn which action leads from one image to the next, from recordings that have both.

Axes: B batch, F frames, H W image, E networks, A actions.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import inverse
from .cloning import shift

RATE = 1e-3  # Of learning, at the start; it falls to 0 as a cosine.
DECAY = 1e-4  # Of weights.
SHOWN = 2048  # Held-out steps of each source that errors are measured on.
ENOUGH = 3000  # Steps of random actions that suffice to learn from.
STILL = 1e-6  # Variance of an action that hardly changes; it has no R2.


class Training:
  """Trains the networks on steps of the recordings `data`, a `dataset.Sources`.

  They are those of random episodes, where these have `ENOUGH`, and else all: what an expert does
  can be told from where it is, and who learned that is wrong in a task where another is at work.
  Of as many sources as networks or more, each network learns from all but some, every source
  being left out by one: what that one makes of it, of experts where there are any, tells how well
  a task that nobody learned from is labelled. settings: see `inverse.Inverse`. facts: more of
  them. Call it for one update.
  """

  def __init__(self, data, settings, facts):
    self.settings, self.seed, self.holdout = settings, data.seed, data.holdout
    self.facts = dict(
        facts, sources=list(data.names), act_size=int(data.act_width), settings=dict(settings),
        image=[int(x) for x in data.image], recordings=data.key)
    played, held = Steps(data, 'train', data.random['train']), _held(data, data.random['holdout'])
    alone = all(all(x) for x in data.random['train'])
    self.facts['random'] = alone or sum(played.counts + held.counts) >= ENOUGH and any(played.counts)
    chosen = {k: [[y or not self.facts['random'] for y in x] for x in v] for k, v in data.random.items()}
    self.steps, self.held = Steps(data, 'train', chosen['train']), _held(data, chosen['holdout'])
    experts = Steps(data, 'holdout', [[not y for y in x] for x in data.random['holdout']])
    self.facts['experts'] = self.facts['random'] and any(experts.counts)
    # If there are none, a single episode too: networks that did not learn from it judge it.
    self.new = experts if self.facts['experts'] else Steps(data, 'holdout', chosen['holdout'])
    self.facts.update(self.steps.spread())
    E = settings['networks']
    known = [k for k, count in enumerate(self.steps.counts) if count]
    # Which networks do not learn from a source: all, one, or none.
    self.apart = [range(E)] * len(data.names)
    for i, k in enumerate(known):
      self.apart[k] = [i % E] if len(known) >= E > 1 else []
    self.seen = [[k for k in known if e not in self.apart[k]] for e in range(E)]
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
    each = [self.steps.draw(rng, self.settings['batch_size'], x) for x in self.seen]
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
    guessed = lambda steps: [steps.guessed(made, k, SHOWN) for k in range(len(self.apart))]
    held, new = guessed(self.held), guessed(self.new)
    alone = [x and e and (x[0][list(e)], x[2]) for x, e in zip(new, self.apart)]
    # What is said of sources that nobody learned from decides; if there are none, what is of all.
    judged = [(x, *y) for x, y in zip(new, alone) if y] or [
        (x, x[0], x[2]) for x in (*held, *(new if self.facts['experts'] else ())) if x]
    if judged:
      made.facts['slope'] = slope(
          [x.mean(0) for _, x, _ in judged], [x for *_, x in judged], np.asarray(self.facts['mean'])).tolist()
      left = [np.square(made.label(x) - a).mean(0) for _, x, a in judged]
      doubt = [(v.mean(0) + m.var(0)).mean(0) for (m, v, _), *_ in judged]
      made.facts['scale'] = (np.mean(left, 0) / np.maximum(np.mean(doubt, 0), 1e-12)).tolist()
    made.facts.update(
        r2=[x and explained(made.label(x[0]), x[2]) for x in held],
        r2_unseen=[explained(made.label(x[0]), x[1]) if x else None for x in alone],
        r2_mean=[y and explained(np.asarray(self.facts['mean']), y[2]) for x in zip(new, held) for y in [x[0] or x[1]]])
    return made


class Steps:
  """The steps of episodes at which an action is taken; chosen: of which episodes, per source."""

  def __init__(self, data, split, chosen):
    self.streams, self.places = data.streams[split], []
    for k, stream in enumerate(self.streams):
      first = np.flatnonzero(stream['is_first'])
      last = np.append(first[1:], len(stream['is_first']))
      steps = np.flatnonzero(~stream['is_last'])
      episode = np.searchsorted(first, steps, 'right') - 1
      kept = np.asarray(chosen[k], bool)[episode]
      self.places.append((steps[kept], first[episode[kept]], last[episode[kept]]))
    self.counts = [len(x) for x, *_ in self.places]

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
    """Return predictions `[E, N, A]` and actions `[N, A]` of up to `count` steps, spread evenly.

    None of a source without steps.
    """
    have = self.counts[source]
    if not have:
      return None
    chosen = np.linspace(0, have - 1, min(count, have)).astype(int)
    steps, start, stop = (x[chosen] for x in self.places[source])
    stream = self.streams[source]
    return *made.each(stream['image'], steps, start, stop), stream['action'][steps]

  def spread(self):
    """Return `mean` and `variance` of the actions over all sources, each `[A]`, as lists."""
    each = [x['action'][steps] for x, (steps, *_) in zip(self.streams, self.places)]
    action = np.concatenate(each).astype(np.float64)
    return dict(mean=action.mean(0).tolist(), variance=np.maximum(action.var(0), STILL).tolist())


def _held(data, chosen):
  """Return steps that are held out, among `chosen` episodes; none of a source of a single one, which is learned from."""
  return Steps(data, 'holdout', [[y and held for y in x] for x, held in zip(chosen, data.held)])


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
