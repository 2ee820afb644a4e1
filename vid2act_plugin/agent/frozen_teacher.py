"""The frozen teacher beside an agent: its features go with every batch, and nothing trains it.

Axes: B batch, T time, N sources, D deter, S stoch groups.
"""

import elements
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np

from ..host import internals
from ..teacher.memory import flatten
from .options import from_start, rows, seen
from .relevance import named


class Taught:
  """The host's agent, with the frozen teacher's features added to every batch.

  The teacher lives here and not among the agent's parameters, so that no
  checkpoint holds it, no update donates it and no policy sync copies it.
  """

  def __init__(self, agent, bundle, windows=None):
    self.agent, self.names = agent, bundle.manifest['sources']
    self.acting = from_start(agent.config.vid2act)
    self.teacher = FrozenTeacher(
        bundle, agent.train_mesh, rows(agent.config), agent.config.seed, windows,
        seen(agent.config.vid2act, agent.config.batch_size), agent.config.vid2act.folded)

  def __getattr__(self, name):
    return getattr(self.agent, name)

  def train(self, carry, data):
    carry, outs, metrics = self.agent.train(carry, self._teach(data))
    return carry, outs, named(metrics, self.names)

  def report(self, carry, data):
    carry, metrics = self.agent.report(carry, self._teach(data))
    return carry, named(metrics, self.names)

  def init_policy(self, batch_size):
    carry = self.agent.init_policy(batch_size)
    if not self.acting:
      return carry
    action = np.zeros((batch_size, *self.agent.act_space['action'].shape), np.float32)
    return carry, self.teacher.start(batch_size), action

  def policy(self, carry, obs, mode='train'):
    """Act; where relevance comes from the teachers, they take the same step before."""
    if not self.acting:
      carry, act, out = self.agent.policy(carry, obs, mode=mode)
      return carry, act, named(out, self.names)
    carry, state, prevact = carry
    state, feat = self.teacher.act(state, obs, prevact, int(self.agent.n_actions))
    # The teacher may be on other devices than the policy.
    carry = *carry[:-1], internals.split(self.agent, internals.put(feat, self.agent.policy_sharded))
    carry, act, out = self.agent.policy(carry, obs, mode=mode)
    return (carry, state, act['action']), act, named(out, self.names)

  def _teach(self, data):
    return {**data, **self.teacher(data, int(self.agent.n_updates))}


class FrozenTeacher:
  """The frozen source model beside an agent: never saved, trained or synced with it.

  Each call returns the extra inputs of one training batch: the packed teacher
  features of the batch and, per step, `rows` states with actions from the
  sources' own recordings, for the action VAE. These come from the bundle or,
  where `windows(counter)` gives batches of the recordings, are encoded anew.
  `seen` of the B sequences are looked at: their features come first, the rest
  is zero, and `teacher/row` says which they are.
  """

  def __init__(self, bundle, mesh, rows, seed=0, windows=None, seen=None, folded=True):
    model = self.model = bundle.model(folded)
    self.windows = windows
    replicate, shard = internals.replicated(mesh), internals.batch_sharding(mesh)
    self.put = lambda x: internals.put(x, replicate)
    self.params = self.put(bundle.params)
    self.memory = self.put(bundle.memory)
    self.seed = seed
    self.width = bundle.act_width

    def call(params, memory, seed, data):
      key, pick, encode, choose = jax.random.split(seed, 4)
      shape = (*data['is_first'].shape, rows)
      row = jnp.arange(shape[0]) if seen in (None, shape[0]) else (
          jax.random.permutation(choose, shape[0])[:seen])
      data = {k: v[row] for k, v in data.items()}
      _, feat = nj.pure(model.features)(
          params, data['image'], self._pad(data['action']), data['is_first'], seed=key)
      feat['row'] = jnp.repeat(row[:, None], shape[1], 1)
      feat = jax.tree.map(
          lambda x: jnp.pad(x, [(0, shape[0] - len(x))] + [(0, 0)] * (x.ndim - 1)), feat)
      if windows:
        _, states = nj.pure(model.states)(params, memory, seed=encode)
        memory, weights = flatten({**states, **memory}, bundle.sources)
        index = jax.random.choice(pick, len(weights), shape, p=weights / weights.sum())
      else:
        index = jax.random.randint(pick, shape, 0, len(memory['source']))
      states = jax.tree.map(lambda x: x[index], memory)
      return {
          **{f'teacher/{k}': v for k, v in feat.items()},
          **{f'memory/{k}': v for k, v in states.items()}}

    self.call = jax.jit(
        call, in_shardings=(replicate, replicate, replicate, shard), out_shardings=shard)

    def step(params, carry, image, prevact, is_first, seed):
      _, out = nj.pure(model.step)(
          params, carry, image, self._pad(prevact), is_first, seed=seed)
      return out

    self.step = jax.jit(step)

  def __call__(self, data, counter):
    data = {k: data[k] for k in ('image', 'action', 'is_first')}
    memory = self.put(self.windows(counter)) if self.windows else self.memory
    return self.call(self.params, memory, self._key(counter), data)

  def start(self, envs):
    """Return the state of the teacher before the first step of `envs` environments."""
    zeros = jax.eval_shape(lambda: self.model.initial(envs))
    return self.put(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), zeros))

  def act(self, carry, obs, prevact, counter):
    """Advance by one step of acting; see `SourceModel.step`. obs, prevact: of the environments."""
    image, prevact, first = self.put((obs['image'], prevact, obs['is_first']))
    return self.step(self.params, carry, image, prevact, first, self._key(counter))

  def _key(self, counter):
    rng = np.random.default_rng([self.seed, counter])
    return self.put(rng.integers(0, 2 ** 32, 2, np.uint32))

  def _pad(self, action):
    action = jnp.clip(action, -1, 1)
    return jnp.pad(action, [(0, 0)] * (action.ndim - 1) + [(0, self.width - action.shape[-1])])


def spaces(bundle, rows):
  """Return the spaces of what `FrozenTeacher` adds to each step of a batch, `rows` states among it."""
  rssm_ = bundle.config.dyn.rssm
  space = lambda dtype, *shape: elements.Space(dtype, shape)
  return {
      'teacher/row': space(np.int32),
      'teacher/deter': space(np.float32, bundle.sources, rssm_.deter),
      'teacher/stoch': space(np.uint8, bundle.sources, rssm_.stoch),
      'memory/deter': space(np.float16, rows, rssm_.deter),
      'memory/stoch': space(np.uint8, rows, rssm_.stoch),
      'memory/action': space(np.float32, rows, bundle.act_width),
      'memory/source': space(np.int32, rows)}
