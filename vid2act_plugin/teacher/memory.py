"""States of the sources with the action taken there: what the action VAE learns from.

Axes: B batch, T time, M states, A `act_width`, D deter, S stoch groups. A
memory is `{deter [M, D] float16, stoch [M, S] uint8, action [M, A] float32,
source [M] int32}`.
"""

import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np

from ..host import internals

LEAST = 0.05  # Confidence that counts: some action is always learned from.
FAR = 10 ** 9  # Counters of batches from here on are none of training's.


def usable(is_last):
  """Return which steps of windows `[..., T]` can serve, `[..., T]` bool.

  The first quarter of a window lacks history, and at is_last no action is taken.
  """
  T = is_last.shape[-1]
  return ~is_last & (np.arange(T) >= T // 4)


def pick(feat, action, source, keep):
  """Return the memory of the steps `keep` of windows; feat: packed, all `[..., T, ...]`."""
  return {
      'deter': feat['deter'][keep].astype(np.float16), 'stoch': feat['stoch'][keep],
      'action': action[keep], 'source': source[keep]}


def join(parts, limit=None):
  """Join memories, the first `limit` states of them."""
  return {k: np.concatenate([x[k] for x in parts])[:limit] for k in parts[0]}


def flatten(windows, sources):
  """Return windows `[B, T, ...]` inside a traced function as a memory, and weights of its states `[M]`.

  They are 0 of a state that cannot serve, otherwise as the confidence of its action. Each of the
  `sources` (their number) has as much of them as the others, however sure its actions are.
  """
  sure = jnp.maximum(windows.get('confidence', jnp.float32(1)), LEAST)
  weights, source = (usable(windows['is_last']) * sure).reshape(-1), windows['source'].reshape(-1)
  total = jnp.zeros(sources).at[source].add(weights)
  weights = weights / jnp.maximum(total, LEAST)[source]
  windows = {**windows, 'deter': windows['deter'].astype(jnp.float16)}
  flat = lambda x: x.reshape((-1, *x.shape[2:]))
  return {k: flat(windows[k]) for k in ('deter', 'stoch', 'action', 'source')}, weights


def collect(agent, data, options):
  """Return `options.memory` states of every source of `data` as a pretrained agent sees them.

  A state with an inferred action is kept the more likely, the surer that is.
  options: `vid2act.pretrain`.
  """
  states = jax.jit(nj.pure(agent.model.states))
  found = [[] for _ in data.names]
  size = lambda x: sum(len(y['source']) for y in x)
  put = lambda x: internals.put(x, agent.train_mirrored)
  i = 0
  while min(map(size, found)) < options.memory:
    batch = data.sample(
        FAR + i, options.batch_size, options.batch_length, more=['confidence'])
    sure = np.maximum(batch.pop('confidence'), LEAST) > np.random.default_rng(
        [FAR, i]).random(batch['source'].shape)
    seed = put(np.array([agent.config.seed, i], np.uint32))
    _, feat = states(agent.params, put(batch), seed=seed)
    feat = jax.device_get(feat)
    for k, source in enumerate(found):
      if size(source) >= options.memory:
        continue  # Of the others it takes longer, the less sure their actions are.
      keep = (batch['source'] == k) & usable(batch['is_last']) & sure
      source.append(pick(feat, batch['action'], batch['source'], keep))
    i += 1
  return join([join(x, options.memory) for x in found])
