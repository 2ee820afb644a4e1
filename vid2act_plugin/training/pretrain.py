"""Run script `pretrain`: one world model over all sources, written as a teacher bundle."""

import json

import elements
import embodied
import embodied.jax
import jax
import numpy as np
from dreamerv3 import main as hostmain

from ..common import images, lock, progress
from ..common.errors import UserError
from ..common.output import say
from ..host import checkpoints, internals, processes, tree
from ..sources import locate
from ..teacher import bundle as bundles
from ..teacher import faults, memory
from ..teacher.bundle import MODEL, Bundle
from ..teacher.pretraining import Pretrain
from . import clone, finite, partial, resume

KERNEL = f'{internals.ACTIONS}/kernel'
PARAMS = ('enc/', 'src/', 'dyn/', 'dec/', 'rew/', 'con/')


def run(config, args):
  """Pretrain for `vid2act.pretrain.updates` and write `LOGDIR/teacher`, unless it is there.

  A bundle without behaviours gets them. Raises a `UserError` where it has others than are asked for.
  """
  faults.classes(config.agent, 'The teacher to be made')
  with lock.locked(config.logdir):  # Another run may be making the same one.
    data, path = clone.recordings(config), processes.home(config) / 'teacher'
    if not _made(path, data, config):
      with processes.linked(config):
        _run(config, data, path)
      return
    # Runs share what is in the cache and are tied to its hash; those that want others have them beside it.
    if processes.writes(config) and locate.cache(config) not in path.parents:
      _complete(path, data, config)
    say(f'Teacher bundle: reused {path}')


def _made(path, data, config):
  """Return whether there is a bundle of this model after as many updates; a `UserError` if it is of other recordings."""
  if not bundles.exists(path):
    return False
  made, options = bundles.verify(path), config.vid2act.pretrain
  if made['recordings'] != data.key:  # Its checkpoint, which would be continued, is of these as well.
    raise UserError(
        f"The teacher bundle {path} was made of the recordings {made['recordings']} of {made['sources']}, not of "
        f'{data.key} of {list(data.names)}; go back to these, or name another --logdir.')
  wanted = dict(
      updates=options.updates, actions=options.actions,
      agent={k: config.agent[k] for k in MODEL})
  return json.loads(json.dumps(wanted)) == {k: made.get(k) for k in wanted}


def _complete(path, data, config):
  """Let a bundle have the behaviours that the run's settings ask for, or raise a `UserError`."""
  made = bundles.load(path)
  if 'behaviours' in made.manifest:
    clone.check(made.manifest['behaviours'], config, data, path)
    return
  made.manifest['before'] = made.hash
  _adopt(made, clone.learned(config, data))
  made.save(path)
  partial.discard(clone.kept(config))


def _adopt(made, learned):
  made.clones, made.manifest['behaviours'] = learned.params, learned.facts


def _run(config, data, path):
  options, writes = config.vid2act.pretrain, processes.writes(config)
  data.check_windows(options.batch_length)
  agent = finite.Watched(build(config, data), config)
  processes.agree(config, **{'vid2act.sources': data.key})
  logdir, step = elements.Path(str(path.parent)), elements.Counter()
  logger = hostmain.make_logger(config) if writes else elements.Logger(step, [lambda summaries: None])
  logger.step, logger.multiplier = step, 1
  cp = (checkpoints.Checkpoint if writes else processes.Reader)(logdir / 'ckpt')
  cp.agent, cp.step = agent, step
  resume.load_or_save(cp, logdir, ('step', 'agent'), processes.most)
  stream = iter(agent.stream(embodied.streams.Stateless(
      _batches(data, config, step.value).__next__)))
  with resume.Stop() as stop:
    try:
      _learn(agent, stream, data, config, logger, cp, stop)
      with progress.waiting('collecting states of the sources'):
        made = bundle(agent, data, config)
      # There is nothing left to save, for which all would have to stop together.
      _adopt(made, clone.learn(config, data, stop.check if processes.alone(config) else lambda: None))
    except resume.Stopped:
      logger.close()
      stop.save(cp, f'update {step.value} of {options.updates}')
  logger.close()
  if writes:
    made.save(str(path))
    say(f'Teacher bundle: {path} (use it with --vid2act.teacher)')
  partial.discard(clone.kept(config))


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
        batch_size=processes.size(config, options.batch_size), batch_length=options.batch_length,
        report_length=options.batch_length, replay_context=0, actions=options.actions, folded=config.agent.vid2act.folded))


def _learn(agent, stream, data, config, logger, cp, stop):
  """Update until `pretrain.updates`; report held-out sequences at every log."""
  agg, step, options = elements.Agg(), logger.step, config.vid2act.pretrain
  carry = agent.init_train(processes.size(config, options.batch_size))
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
        mets = _report(agent, data, config, step.value)
        video = mets.pop('openloop')
        logger.add({**mets, 'openloop': video}, prefix='report')
        logger.write()
        if processes.writes(config):
          images.gif(elements.Path(config.logdir) / 'openloop.gif', video)
        bar.text(f"held-out image loss {mets['loss/rec']:.1f}")
      if step.value % options.save_every == 0 or last:
        cp.save()
      signal = processes.most(stop.signal or 0)  # All stop after the same update.
      if signal:
        stop.signal = signal
        stop.check()


def _report(agent, data, config, counter):
  # Not through `agent.stream`: its thread would go on, and its counter decides the seeds of training.
  options = config.vid2act.pretrain
  batch = data.sample(counter, options.batch_size, options.batch_length, 'holdout')
  batch = internals.put(processes.share(batch, config), agent.train_sharded)
  batch['seed'] = internals.seed(agent, counter)
  return agent.report(agent.init_report(processes.size(config, options.batch_size)), batch)[1]


def _batches(data, config, step):
  options = config.vid2act.pretrain
  while True:
    yield processes.share(data.sample(step, options.batch_size, options.batch_length), config)
    step += 1


def bundle(agent, data, config):
  """Return the bundle of a trained agent; rows of actions that it never saw become zero."""
  params = {
      k: v for k, v in agent.save()['params'].items() if k.startswith(PARAMS)}
  kernel = params[KERNEL].copy()
  seen = max(data.act_sizes) if config.vid2act.pretrain.actions else 0
  kernel[seen: config.vid2act.act_width] = 0
  params[KERNEL] = kernel
  return Bundle(params, memory.collect(agent, data, config.vid2act.pretrain), dict(
      sources=list(data.names), act_sizes=[int(x) for x in data.act_sizes],
      actions=config.vid2act.pretrain.actions, act_width=config.vid2act.act_width,
      image=[int(x) for x in data.image],
      agent={k: config.agent[k] for k in MODEL}, env=data.envs[0], recordings=data.key,
      updates=config.vid2act.pretrain.updates, host=tree.title(), jax=jax.__version__))
