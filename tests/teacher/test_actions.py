"""Sources with 4, 6 and 12 actions in one teacher: padding changes nothing; and what the teacher learns by."""

import types

import elements
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import pytest

from vid2act_plugin.agent import losses
from vid2act_plugin.teacher.model import SourceModel
from vid2act_plugin.training.pretrain import Pretrain

SIZES, B, T = [4, 6, 12], 3, 5
IMAGE = elements.Space(np.uint8, (16, 16, 3))
pytestmark = pytest.mark.usefixtures('plain')


class Alone(Pretrain):
  """The pretraining agent's loss without the machinery around it."""

  def __new__(cls, *args):
    return object.__new__(cls)

  def __init__(self, config, width):
    self.scales = config.agent.loss_scales
    self.world = SourceModel(config.agent, IMAGE, width, SIZES)


def data(width, seed=0):
  rng = np.random.default_rng(seed)
  action = np.zeros((B, T, width), np.float32)
  for row, size in enumerate(SIZES):
    action[row, :, :size] = rng.uniform(-1, 1, (T, size))
  first = np.arange(T) == 0
  return dict(
      image=rng.integers(0, 256, (B, T, 16, 16, 3), np.uint8), action=action,
      source=np.tile(np.arange(3, dtype=np.int32)[:, None], (1, T)),
      reward=rng.normal(size=(B, T)).astype(np.float32), is_first=np.tile(first, (B, 1)),
      is_last=np.zeros((B, T), bool), is_terminal=np.zeros((B, T), bool))


@pytest.fixture(scope='module')
def config(configure):
  return configure()


def value_and_grad(config, width):
  agent = Alone(config, width)
  loss = lambda batch: agent.loss(agent.world.dyn.initial(B), batch, True)[0]
  pure = lambda params, batch: nj.pure(loss)(params, batch, seed=jax.random.PRNGKey(1))[1]
  return loss, jax.jit(jax.value_and_grad(pure))


def test_padding_changes_no_loss_and_no_gradient(config):
  """Width 16 against width 12, which is no padding for the largest source."""
  (init, narrow), (_, wide) = (value_and_grad(config, x) for x in (12, 16))
  params = jax.jit(nj.init(init))({}, data(12), seed=jax.random.PRNGKey(0))
  name = 'dyn/dynin2/kernel'
  # What stands in the rows of the padding is of no consequence.
  rows = np.full((4, params[name].shape[1]), 7, np.float32)
  padded = {**params, name: jnp.concatenate([params[name][:12], rows, params[name][12:]])}
  (loss, grad), (other, grown) = narrow(params, data(12)), wide(padded, data(16))
  np.testing.assert_allclose(loss, other, rtol=1e-6)
  assert (np.array(grown[name][12:16]) == 0).all()
  grown = {**grown, name: jnp.concatenate([grown[name][:12], grown[name][16:]])}
  assert np.abs(grad[name][:12]).max() > 1e-4
  for key in grad:
    np.testing.assert_allclose(grad[key], grown[key], rtol=1e-4, atol=1e-5, err_msg=key)


def test_a_source_sees_no_actions_but_its_own(config):
  """What another body does with dimensions that a source lacks changes no feature of it."""
  model = SourceModel(config.agent, IMAGE, 16, SIZES)
  batch = data(16)
  args = batch['image'], batch['action'], batch['is_first']
  key = jax.random.PRNGKey(0)
  params = jax.jit(nj.init(model.features))({}, *args, seed=key)
  features = jax.jit(nj.pure(model.features))
  one = features(params, *args, seed=key)[1]
  for first, same in ((4, [0]), (6, [0, 1]), (12, [0, 1, 2])):
    other = batch['action'].copy()
    other[..., first:] = np.random.default_rng(1).uniform(-1, 1, other[..., first:].shape)
    two = features(params, batch['image'], other, batch['is_first'], seed=key)[1]
    for k in range(3):
      equal = np.array_equal(one['deter'][:, :, k], two['deter'][:, :, k])
      assert equal == (k in same), (first, k)


def test_the_losses_are_those_of_the_host(config):
  """Each head predicts what stands at the same step, and the model goes on where an episode was cut off."""
  agent, batch = Alone(config, 12), data(12)
  batch['is_last'][:, -1] = batch['is_terminal'][1, 2] = True
  loss = lambda batch: agent.loss(agent.world.dyn.initial(B), batch, False)
  key = jax.random.PRNGKey(0)
  params = jax.jit(nj.init(loss))({}, batch, seed=key)
  # Heads begin at zero, where every step has the same prediction.
  rng = np.random.default_rng(0)
  params = {k: v + rng.normal(size=v.shape).astype(v.dtype) if k[:4] in ('rew/', 'con/') else v for k, v in params.items()}
  _, (total, (feat, metrics)) = jax.jit(nj.pure(loss))(params, batch, seed=key)
  def heads(feat):
    vector = jnp.concatenate([feat['deter'], feat['stoch'].reshape((B, T, -1))], -1)
    world, first = agent.world, jnp.zeros((B, T), bool)
    going = jax.nn.sigmoid(world.con(vector, 2).logit)
    return going, world.rew(vector, 2).loss(batch['reward']), world.dec({}, feat, first, False)[2]['image'].pred()
  going, rewards, images = nj.pure(heads)(params, feat, seed=key)[1]
  ended = np.zeros((B, T), bool)
  ended[1, 2] = True
  want = dict(
      con=-np.log(np.where(ended, 1 - going, going)).mean(), rew=rewards.mean(),
      rec=np.square(images - np.float32(batch['image']) / 255).sum((-1, -2, -3)).mean())
  for name, value in want.items():
    np.testing.assert_allclose(metrics[f'loss/{name}'], value, rtol=1e-4, err_msg=name)
  scales = config.agent.loss_scales
  found = sum(scales[x] * metrics[f'loss/{x}'] for x in ('dyn', 'rep', 'rec', 'rew', 'con'))
  np.testing.assert_allclose(total, found, rtol=1e-5)


def test_what_is_predicted_follows_the_actions(config):
  """In reports, an action decides about the images after it: those of the last step, which has none, about nothing."""
  agent, batch = Alone(config, 12), data(12)
  agent.config = types.SimpleNamespace(actions=True)
  report = lambda batch: agent.report(agent.world.dyn.initial(B), batch)[1]['openloop_error']
  key = jax.random.PRNGKey(0)
  params = jax.jit(nj.init(report))({}, batch, seed=key)
  score = jax.jit(lambda batch: nj.pure(report)(params, batch, seed=key)[1])
  def changed(step):
    action = batch['action'].copy()
    action[:, step] *= -1
    return score({**batch, 'action': action}) != score(batch)
  assert [bool(changed(t)) for t in range(T)] == [True] * (T - 1) + [False]


def test_the_vae_loses_nothing_by_dimensions_that_a_source_lacks():
  rng = np.random.default_rng(0)
  recon, action = rng.uniform(-1, 1, (2, 3, 12)).astype(np.float32)
  mask = np.arange(12) < np.array(SIZES)[:, None]
  zeros = np.zeros((3, 5), np.float32)
  loss = lambda x: losses.vae(x, action, np.float32(mask), zeros, zeros)[0].sum()
  value, grad = jax.value_and_grad(loss)(recon)
  by_hand = [np.square(recon[k, :n] - action[k, :n]).mean() for k, n in enumerate(SIZES)]
  np.testing.assert_allclose(value, sum(by_hand), rtol=1e-6)
  assert ((np.array(grad) != 0) == mask).all()
