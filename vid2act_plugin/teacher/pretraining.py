"""The agent that learns the source model: its losses and its reports."""

import elements
import embodied.jax
import jax
import jax.numpy as jnp
import numpy as np

from ..host import internals, optimizer
from .model import SourceModel

f32 = jnp.float32


class Pretrain(embodied.jax.Agent):
  """The source model under the host's losses for world models, and nothing else."""

  def __init__(self, obs_space, act_space, config):
    self.config = config
    self.scales = config.loss_scales
    self.world = SourceModel(
        config, obs_space['image'], act_space['action'].shape[0], config.act_sizes,
        config.folded)
    self.opt = optimizer.optimizer(
        self.world.modules, internals.gradient_transformation(config.opt), summary_depth=1, name='opt')

  @property
  def policy_keys(self):
    return '^dyn/'

  @property
  def ext_space(self):
    return {'source': elements.Space(np.int32)}

  def init_train(self, batch_size):
    return self.world.dyn.initial(batch_size)

  def init_report(self, batch_size):
    return self.world.dyn.initial(batch_size)

  def train(self, carry, data):
    data = self._visible(data)
    metrics, (_, mets) = self.opt(self.loss, carry, data, training=True, has_aux=True)
    return carry, {}, {**metrics, **mets}

  def loss(self, carry, data, training):
    """Return the world-model loss of sequences that each begin with a reset, `[B, T]` inside."""
    model, first = self.world, data['is_first']
    tokens = model.encode(data['image'], data['source'], training)
    acts = model.prevacts(data['action'], data['source'])
    _, _, losses, feat, metrics = model.dyn.loss(carry, tokens, acts, first, training)
    _, _, recons = model.dec({}, feat, first, training)
    vector = self._vector(feat)
    losses['rec'] = recons['image'].loss(f32(data['image']) / 255)
    losses['rew'] = model.rew(vector, 2).loss(data['reward'])
    losses['con'] = model.con(vector, 2).loss(f32(~data['is_terminal']))
    metrics.update({f'loss/{k}': v.mean() for k, v in losses.items()})
    return sum(self.scales[k] * v.mean() for k, v in losses.items()), (feat, metrics)

  def report(self, carry, data):
    """Return held-out losses and, for some sequences, frames predicted without looking."""
    data = self._visible(data)
    _, (_, metrics) = self.loss(carry, data, training=False)
    half, model = data['is_first'].shape[1] // 2, self.world
    head = jax.tree.map(lambda x: x[:6, :half], data)
    acts = model.prevacts(data['action'], data['source'])
    few = jax.tree.map(lambda x: x[:6], carry)
    tokens = model.encode(head['image'], head['source'], False)
    state, _, seen = model.dyn.observe(
        few, tokens, jax.tree.map(lambda x: x[:6, :half], acts), head['is_first'], False)
    _, dreamt, _ = model.dyn.imagine(
        state, jax.tree.map(lambda x: x[:6, half:], acts), acts['action'].shape[1] - half, False)
    frames = [model.dec({}, x, jnp.zeros(x['deter'].shape[:2], bool), False)[2]['image'].pred()
              for x in (seen, dreamt)]
    true = f32(data['image'][:6]) / 255
    metrics['openloop_error'] = jnp.square(frames[1] - true[:, half:]).mean()
    metrics['openloop'] = openloop(true, jnp.concatenate(frames, 1), half)
    return carry, metrics

  def states(self, data):
    return self.world.states(self._visible(data))

  def _visible(self, data):
    """Return what the model may see of a batch; the data itself keeps its actions for the VAE."""
    return data if self.config.actions else {**data, 'action': 0 * data['action']}

  def _vector(self, feat):
    stoch = feat['stoch'].reshape((*feat['stoch'].shape[:-2], -1))
    return jnp.concatenate([feat['deter'], stoch], -1)


def openloop(true, pred, half):
  """Stack truth over prediction, with a red edge from frame `half` on, where none is shown.

  true, pred: `[B, T, H, W, 3]` float32 in [0, 1] -> video `[T, 2 * H, B * W, 3]` uint8.
  """
  red = jnp.array([1.0, 0.0, 0.0])
  pred = jnp.clip(pred, 0, 1).at[:, half:, :2].set(red)
  grid = jnp.concatenate([true, pred], 2)
  B, T, H, W, C = grid.shape
  grid = grid.transpose((1, 2, 0, 3, 4)).reshape((T, H, B * W, C))
  return (255 * grid).astype(jnp.uint8)
