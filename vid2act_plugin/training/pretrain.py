"""Run script `pretrain`: one world model over all sources, written as a teacher bundle."""

import json

import elements
import embodied
import embodied.jax
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
from dreamerv3 import agent as host
from dreamerv3 import main as hostmain

from .. import prepare
from ..common import images, lock, progress
from ..host import optimizer, tree
from ..sources import dataset
from ..teacher import bundle as bundles
from ..teacher.bundle import MODEL, Bundle
from ..teacher.model import SourceModel
from . import finite, resume

f32 = jnp.float32
PARAMS = ('enc/', 'src/', 'dyn/', 'dec/', 'rew/', 'con/')


class Pretrain(embodied.jax.Agent):
  """The source model under the host's losses for world models, and nothing else."""

  def __init__(self, obs_space, act_space, config):
    self.config = config
    self.scales = config.loss_scales
    self.world = SourceModel(
        config, obs_space['image'], act_space['action'].shape[0], config.act_sizes)
    self.opt = optimizer.optimizer(
        self.world.modules, host.Agent._make_opt(None, **config.opt), summary_depth=1, name='opt')

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


def run(config, args):
  """Pretrain for `vid2act.pretrain.updates` and write `LOGDIR/teacher`, unless it is there."""
  with lock.locked(config.logdir):  # Another run may be making the same one.
    data, path = recordings(config), elements.Path(config.logdir) / 'teacher'
    if _made(path, data, config):
      print(f'Teacher bundle: reused {path}')
    else:
      _run(config, data)


def _made(path, data, config):
  """Return whether there is a bundle of this model and these recordings after as many updates."""
  if not bundles.exists(path):
    return False
  made, options = bundles.verify(path), config.vid2act.pretrain
  wanted = dict(
      updates=options.updates, actions=options.actions, recordings=data.key,
      agent={k: config.agent[k] for k in MODEL})
  return json.loads(json.dumps(wanted)) == {k: made.get(k) for k in wanted}


def _run(config, data):
  options = config.vid2act.pretrain
  agent = finite.Watched(build(config, data), config)
  logdir, step = elements.Path(config.logdir), elements.Counter()
  logger = hostmain.make_logger(config)
  logger.step, logger.multiplier = step, 1
  cp = elements.Checkpoint(logdir / 'ckpt')
  cp.agent, cp.step = agent, step
  resume.load_or_save(cp, logdir, ('step', 'agent'))
  stream = iter(agent.stream(embodied.streams.Stateless(
      _batches(data, options, step.value).__next__)))
  with resume.Stop() as stop:
    try:
      _learn(agent, stream, data, options, logger, cp, logdir, stop)
    except resume.Stopped:
      logger.close()
      stop.save(cp, f'update {step.value} of {options.updates}')
  with progress.waiting('writing the teacher bundle'):
    bundle(agent, data, config).save(str(logdir / 'teacher'))
  logger.close()
  print(f'Teacher bundle: {logdir / "teacher"} (use it with --vid2act.teacher)')


def recordings(config):
  """Return the sources that the teacher is pretrained on."""
  return dataset.Sources(
      prepare.folders(config), holdout=config.vid2act.pretrain.holdout,
      act_width=config.vid2act.act_width, seed=config.seed)


def build(config, data):
  """Build the pretraining agent for the recordings `data`."""
  options = config.vid2act.pretrain
  scalar, flag = elements.Space(np.float32), elements.Space(bool)
  obs = {
      'image': elements.Space(np.uint8, data.image), 'reward': scalar,
      'is_first': flag, 'is_last': flag, 'is_terminal': flag}
  act = {'action': elements.Space(np.float32, config.vid2act.act_width, -1, 1)}
  settings = {**config.jax, 'enable_policy': False}
  with progress.waiting('compiling the pretraining step'):
    return Pretrain(obs, act, elements.Config(
        {k: v for k, v in config.agent.items() if k in (*MODEL, 'opt', 'loss_scales')},
        jax=settings, logdir=config.logdir, seed=config.seed, act_sizes=data.act_sizes,
        batch_size=options.batch_size, batch_length=options.batch_length,
        report_length=options.batch_length, replay_context=0, actions=options.actions))


def _learn(agent, stream, data, options, logger, cp, logdir, stop):
  """Update until `options.updates`; report held-out sequences at every log."""
  agg, step = elements.Agg(), logger.step
  carry = agent.init_train(options.batch_size)
  with progress.bar('pretrain', options.updates, 'updates') as bar:
    bar.set(step.value)
    while step < options.updates:
      carry, _, mets = agent.train(carry, next(stream))
      step.increment()
      agg.add(mets, prefix='train')
      bar.advance()
      last = step.value == options.updates
      if step.value % options.log_every == 0 or last:
        logger.add(agg.result())
        mets = _report(agent, data, options, step.value)
        video = mets.pop('openloop')
        logger.add({**mets, 'openloop': video}, prefix='report')
        logger.write()
        images.gif(logdir / 'openloop.gif', video)
        bar.text(f"held-out image loss {mets['loss/rec']:.1f}")
      if step.value % options.save_every == 0 or last:
        cp.save()
      stop.check()


def _report(agent, data, options, counter):
  # Not through `agent.stream`: its thread would go on, and its counter decides the seeds of training.
  batch = data.sample(counter, options.batch_size, options.batch_length, 'holdout')
  batch = embodied.jax.internal.device_put(batch, agent.train_sharded)
  batch['seed'] = agent._seeds(counter, agent.train_mirrored)
  return agent.report(agent.init_report(options.batch_size), batch)[1]


def _batches(data, options, step):
  while True:
    yield data.sample(step, options.batch_size, options.batch_length)
    step += 1


def bundle(agent, data, config):
  """Return the bundle of a trained agent; rows of actions that it never saw become zero."""
  params = {
      k: v for k, v in agent.save()['params'].items() if k.startswith(PARAMS)}
  kernel = params['dyn/dynin2/kernel'].copy()
  seen = max(data.act_sizes) if config.vid2act.pretrain.actions else 0
  kernel[seen: config.vid2act.act_width] = 0
  params['dyn/dynin2/kernel'] = kernel
  return Bundle(params, _memory(agent, data, config.vid2act), dict(
      sources=list(data.names), act_sizes=[int(x) for x in data.act_sizes],
      actions=config.vid2act.pretrain.actions, act_width=config.vid2act.act_width,
      image=[int(x) for x in data.image],
      agent={k: config.agent[k] for k in MODEL}, env=data.env, recordings=data.key,
      updates=config.vid2act.pretrain.updates, host=tree.title(), jax=jax.__version__))


def _memory(agent, data, options):
  """Return states of every source with the action taken there: what the action VAE learns from."""
  states = jax.jit(nj.pure(agent.model.states))
  found = [[] for _ in data.names]
  size = lambda x: sum(len(y['source']) for y in x)
  B, T = options.pretrain.batch_size, options.pretrain.batch_length
  for i in range(10 ** 6):
    if min(map(size, found)) >= options.pretrain.memory:
      break
    batch = data.sample(10 ** 9 + i, B, T)  # Far from the counters of training.
    put = lambda x: embodied.jax.internal.device_put(x, agent.train_mirrored)
    seed = put(np.array([agent.config.seed, i], np.uint32))
    _, feat = states(agent.params, put(batch), seed=seed)
    feat = jax.device_get(feat)
    for k, source in enumerate(found):
      # The first states of a window lack history, and at is_last no action is taken.
      keep = (batch['source'] == k) & ~batch['is_last'] & (np.arange(T) >= T // 4)
      source.append({
          'deter': feat['deter'][keep].astype(np.float16), 'stoch': feat['stoch'][keep],
          'action': batch['action'][keep], 'source': batch['source'][keep]})
  return _join([_join(x, options.pretrain.memory) for x in found])


def _join(parts, limit=None):
  return {k: np.concatenate([x[k] for x in parts])[:limit] for k in parts[0]}


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
