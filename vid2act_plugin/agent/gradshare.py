"""How much each loss shapes the student: a report, switched on by `agent.vid2act.gradshare`."""

import jax.numpy as jnp
import ninjax as nj
import optax

from ..host import internals

INSIDE = ('dyn', 'rep')  # They act on the logits inside the RSSM, not at the features.


def gradshare(agent, carry, data):
  """Return each loss's share of the gradient norm at the student's features `[B, T, ...]`.

  A shift of zero is added to the features and each scaled loss differentiated by it.
  """
  carry, obs, prevact = internals.replay_context(agent, carry, data)
  B, T = obs['is_first'].shape
  zero = {'deter': jnp.zeros((B, T, agent.dyn.deter)),
          'stoch': jnp.zeros((B, T, agent.dyn.stoch, agent.dyn.classes))}
  scales, norms = {**agent.scales, **agent.options.scales}, {}

  def scaled(shift, key):
    agent.trace.shift = shift
    found = agent.loss(carry, obs, prevact, training=False)[1][2]['losses']
    return scales[key] * found[key].mean() if key in found else jnp.zeros(())

  for key in scales:
    if key not in INSIDE:
      norms[key] = optax.global_norm(nj.grad(lambda x, k=key: scaled(x, k), 0)(zero)[-1])
  agent.trace.shift = None
  total = sum(norms.values()) + 1e-12
  return {f'gradshare/{k}': v / total for k, v in norms.items()}
