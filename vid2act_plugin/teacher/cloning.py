"""Learn the sources' behaviours from the steps of their demonstrations.

Axes: B batch, F frames, H W image, A `act_width`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from . import behaviours

f32 = jnp.float32
RATE = 1e-3  # Of learning, at the start; it falls to 0 as a cosine.
DECAY = 1e-4  # Of weights.
SHOWN = 512  # Held-out steps of each source that its error is measured on.


class Training:
  """Trains the network on the demonstrations among the recordings `data`, a `dataset.Sources`.

  settings: `vid2act.behaviours`. Call it for one update.
  """

  def __init__(self, data, settings):
    self.settings, self.seed, self.holdout = settings, data.seed, data.holdout
    self.facts = dict(
        sources=list(data.names), act_sizes=[int(x) for x in data.act_sizes],
        act_width=data.act_width, image=[int(x) for x in data.image], settings=dict(settings),
        env=data.envs[0], recordings=data.key)
    self.steps = {x: _Steps(data, x, settings['frames']) for x in ('train', 'holdout')}
    net, sizes = behaviours.network(self.facts), np.array(data.act_sizes)
    optimizer = optax.adamw(
        optax.cosine_decay_schedule(RATE, settings['updates']), weight_decay=DECAY)

    def errors(params, frames, action, source):
      mask = f32(jnp.arange(action.shape[-1]) < jnp.asarray(sizes)[source][:, None])
      guess = behaviours.apply(net, params, frames, source)
      return (mask * jnp.square(guess - action)).sum(-1) / mask.sum(-1)

    def update(params, state, seed, *batch):
      frames = shift(batch[0], settings['shift'], jax.random.PRNGKey(seed))
      mean = lambda params: errors(params, frames, *batch[1:]).mean()
      loss, grads = jax.value_and_grad(mean)(params)
      change, state = optimizer.update(grads, state, params)
      return optax.apply_updates(params, change), state, loss

    self._update, self._errors = jax.jit(update, donate_argnums=(0, 1)), jax.jit(errors)
    with jax.transfer_guard('allow'):
      self.params = behaviours.initial(self.facts, self.seed)
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
    """Return the `Behaviours`, with each source's held-out error; None where nothing worth repeating is held out."""
    held, error = self.steps['holdout'], []
    for source in range(len(self.facts['sources'])):
      if not len(held.steps[source]):
        error.append(None)
        continue
      with jax.transfer_guard('allow'):
        batch = held.first(source, SHOWN)
        error.append(round(float(self._errors(self.params, *batch).mean()), 4))
    with jax.transfer_guard('allow'):
      params = jax.device_get(self.params)
    return behaviours.Behaviours(
        params, {**self.facts, 'seed': self.seed, 'holdout': self.holdout, 'error': error,
                 'success': [None] * len(error)})


class _Steps:
  """The steps of all demonstrations: the last F images of each, and the action taken there."""

  def __init__(self, data, split, frames):
    self.streams, self.back = data.streams[split], np.arange(frames)[::-1]
    self.starts, self.steps, self.sure = [], [], []
    for episodes in data.demonstrations(split):
      each = [np.arange(start, stop - 1) for start, stop in episodes]  # None is taken at the last.
      self.steps.append(np.concatenate([np.zeros(0, int), *each]))
      self.starts.append(np.repeat(np.array([x for x, _ in episodes], int), list(map(len, each))))
    for stream, steps in zip(self.streams, self.steps):
      sure = np.cumsum(stream['confidence'][steps].astype(np.float64))
      self.sure.append(sure if sure[-1:].any() else np.arange(1, len(steps) + 1.0))

  def draw(self, rng, count):
    """Return frames, actions and sources of `count` steps, from every source as often.

    Within a source, steps are drawn by the confidence of their actions.
    """
    source = rng.integers(0, len(self.steps), count)
    place = rng.random(count)
    parts = [
        self._take(k, np.searchsorted(self.sure[k], place[source == k] * self.sure[k][-1], 'right'))
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
