"""The policy is drawn to what sources did in good episodes; which ones these are, `usefulness.Ledger.merit` says.

Axes: B batch, T time.
"""

import elements
import jax
import jax.numpy as jnp
import numpy as np

EPISODE, MERIT = 'episode', 'merit'  # Of each step: the number of its episode; see `usefulness.Ledger`.
LOSS = 'imitate'  # Its name among the agent's losses.


def imitating(kind, scale):
  """Return a kind of agent whose policy is drawn to what was done in episodes of merit.

  Adds `-scale * mean(merit * log pi(action given sg(feature)))` over the batch: it moves the
  policy head alone.
  """

  class Agent(kind):

    @property
    def ext_space(self):
      return {
          **super().ext_space, EPISODE: elements.Space(np.int32), MERIT: elements.Space(np.float32)}

    def train(self, carry, data):
      self.done = data['action'], data[MERIT]  # Set while JAX traces, as in `trace`.
      return super().train(carry, data)

    def report(self, carry, data):
      self.done = data['action'], data[MERIT]
      return super().report(carry, data)

    def loss(self, carry, obs, prevact, training):
      loss, (carry, entries, outs, metrics) = super().loss(carry, obs, prevact, training)
      feat = jax.lax.stop_gradient(self.feat2tensor(outs['repfeat']))
      B, T = feat.shape[:2]
      action, merit = (x[:, -T:] for x in self.done)
      trace = getattr(self, 'trace', None)
      if trace and trace.noise is not None:
        trace.noise = trace.noise[:B]  # The guide's, one for each sequence.
      extra = imitate(self.pol(feat, 2)['action'].logp(action), merit * ~obs['is_last'])
      metrics.update({f'loss/{LOSS}': extra.mean(), 'execute/merit': merit.mean()})
      outs = {**outs, 'losses': {**outs['losses'], LOSS: extra}}
      return loss + scale * extra.mean(), (carry, entries, outs, metrics)

  return Agent


def imitate(logp, merit):
  """Return `-merit * logp`, each `[B, T]` float32: cross-entropy towards what was done, by merit."""
  return -jnp.float32(merit) * jnp.float32(logp)
