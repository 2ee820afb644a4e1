"""How much each loss shapes the student: a report, switched on by `agent.vid2act.gradshare`."""

import jax
import jax.numpy as jnp
import ninjax as nj
import optax

from ..host import internals

INSIDE = ('dyn', 'rep')  # They act on the logits inside the RSSM, not at the features.


def gradshare(agent, carry, data):
  """Return each loss's share of the gradient norm at the student's features `[B, T, ...]`.

  A shift of zero is added to the features and each scaled loss differentiated by
  it: one pass forward, and one back for each loss, compiled once.
  """
  carry, obs, prevact = internals.replay_context(agent, carry, data)
  B, T = obs['is_first'].shape
  zero = {'deter': jnp.zeros((B, T, agent.dyn.deter)),
          'stoch': jnp.zeros((B, T, agent.dyn.stoch, agent.dyn.classes))}
  scales = {k: v for k, v in {**agent.scales, **agent.options.scales}.items() if k not in INSIDE}

  def losses(shift):
    agent.trace.shift = shift
    found = agent.loss(carry, obs, prevact, training=False)[1][2]['losses']
    return jnp.stack([
        scales[k] * found[k].mean() if k in found else jnp.zeros(()) for k in scales])

  state, seed = dict(nj.context()), nj.seed()
  pure = lambda shift: nj.pure(losses, nested=True)(state, shift, ignore=True, seed=seed)[1]
  _, pull = jax.vjp(pure, zero)
  norms = jax.lax.map(lambda row: optax.global_norm(pull(row)[0]), jnp.eye(len(scales)))
  agent.trace.shift = None
  return {f'gradshare/{k}': x / (norms.sum() + 1e-12) for k, x in zip(scales, norms)}
