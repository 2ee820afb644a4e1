"""Run scripts `train`, `train_eval` and `eval_only` that count env steps and keep what they made.

They differ from the host's scripts of the same names in five ways: evaluation
comes after a number of env steps and has exactly `run.eval_eps` episodes, which
are the same every time and not those of training; batches are drawn at fixed
points, so that a seed repeats a run; and at the end the run evaluates, logs, draws
and saves.
"""

import time
import types
from functools import partial as bind

import elements
import jax
from dreamerv3 import main as hostmain

from ..common import images, lock, progress, resources
from ..common.errors import UserError, reading
from ..common.output import say
from ..host import checkpoints, loading, processes, tree
from ..teacher import bundle
from . import chunks, curves, environments, finite, notes, resume, scores, summary, together
from .evaluation import Episodes, Evaluation
from .learner import Learner

CODE = resources.code()  # Now, as another version may be there when the run ends.


def train(config, args):
  """Train without evaluation."""
  with lock.locked(config.logdir, wait=False):
    _train(config, args, evaluate=False)


def train_eval(config, args):
  """Train, and evaluate every `run.eval_every` env steps, at the start and at the end."""
  with lock.locked(config.logdir, wait=False):
    _train(config, args, evaluate=True)


def eval_only(config, args):
  """Evaluate the checkpoint `run.from_checkpoint` on `run.eval_eps` episodes.

  It leaves no scores: a single evaluation is no run that could be compared over training.
  """
  folder = loading.checkpoint(args.from_checkpoint)
  resume.compare(config, folder)
  agent = _agent(config)
  logger = _logger(config)
  acting = '(enc|dyn|pol|vae|relevance|amortised)/' if config.agent.vid2act.guide else '(enc|dyn|pol)/'
  loading.load(agent, args.from_checkpoint, args.from_checkpoint_regex, needed=acting)
  notes.keep(config.logdir)
  logger.step.load(checkpoints.step(folder))
  if _chooses(config, agent):  # By what its training episodes have earned.
    with reading(f"The file {folder / 'agent.pkl'}", checkpoints.CURE, 'does not fit this run'):
      agent.recall(checkpoints.content(folder, 'agent'))
  evaluation = Evaluation(config, args, agent)
  try:
    means = _evaluate(config, agent, evaluation, logger)
  finally:
    evaluation.close()
    logger.close()
  say(f'Evaluation at {int(logger.step) * logger.multiplier} env steps: {summary.describe(means)}')
  evaluation.video(config)
  summary.write(config.logdir, dict(eval=means, task=config.task, seed=config.seed, **_versions()))


def _train(config, args, evaluate):
  start = time.time()
  named = config.vid2act.teacher if config.agent.typ == 'vid2act' else ''  # Stock takes nothing from one.
  teacher = bundle.verify(named) if named else {}
  with processes.linked(config):
    agent = finite.Watched(_agent(config), config)
    if not processes.alone(config):
      processes.agree(config, **{'vid2act.teacher': teacher.get('hash', '')})
    if not processes.writes(config):
      raise SystemExit(together.follow(agent, config))
    with together.led(agent, config) as agent, resume.Stop(lambda: getattr(agent, 'signal', None)) as stop:
      _run(config, args, evaluate, agent, teacher, start, stop)


def _run(config, args, evaluate, agent, teacher, start, stop):
  logdir = elements.Path(config.logdir)
  replay = hostmain.make_replay(config, 'replay')
  replay.save_wait = True  # A checkpoint that is complete names no chunk still to be written.
  logger = _logger(config)
  learner = Learner(config, args, agent, replay, logger.step)
  place = resume.Place(learner.ratio, start, config.vid2act.seconds)
  cp = checkpoints.Checkpoint(logdir / 'ckpt')
  cp.agent, cp.step, cp.replay, cp.place = agent, logger.step, chunks.Chunks(replay), place
  if args.from_checkpoint and not cp.exists():
    loading.load(agent, args.from_checkpoint, args.from_checkpoint_regex)
  catch_up(place, args, logger, resume.load_or_save(cp, logdir))
  notes.keep(logdir)
  envs = [bind(environments.make, config, i, place.begun[i]) for i in range(args.envs)]
  driver = environments.driver(envs, parallel=not args.debug)
  evaluation = Evaluation(config, args, _interruptible(agent, stop)) if evaluate else None
  episodes = Episodes()
  driver.on_step(lambda tran, worker: logger.step.increment())
  driver.on_step(replay.add)
  driver.on_step(place.add)
  driver.on_step(lambda tran, worker: _log_episode(logger, episodes.add(tran, worker)))
  if hasattr(agent, 'told'):
    driver.on_step(agent.told)
  driver.on_step(lambda tran, worker: learner())
  driver.on_step(lambda tran, worker: worker == args.envs - 1 and stop.check())  # Then the step is whole.
  try:
    _steps(args, agent, learner, driver, evaluation, logger, cp, place)
    _finish(config, agent, teacher, learner, evaluation, logger, place)
  except Exception as e:
    # The signal may have ended an environment's process as well, which is another error here.
    if isinstance(e, UserError) or not stop.soon():
      raise
    stop.save(cp, f'step {int(logger.step)} of {int(args.steps)}')
  finally:
    environments.close(driver)
    if evaluation:
      evaluation.close()
    logger.close()


def _steps(args, agent, learner, driver, evaluation, logger, cp, place):
  """Act and learn until `run.steps`, with logs, reports, evaluations and checkpoints."""
  step = logger.step
  should_log = elements.when.Clock(args.log_every, first=False)
  should_report = elements.when.Clock(args.report_every, first=False)
  should_save = elements.when.Clock(args.save_every, first=False)
  policy = lambda *xs: agent.policy(*xs, mode='train')
  def evaluate():
    means, place.evaluated = _evaluate(learner.config, agent, evaluation, logger), _due(args, logger)
    return means
  driver.reset(agent.init_policy)
  with progress.bar('train', int(args.steps), 'steps') as bar:
    bar.set(int(step))
    while step < args.steps:
      if evaluation and _due(args, logger) > place.evaluated:
        bar.text(summary.describe(evaluate()))
      driver(policy, steps=10)
      bar.set(int(step))
      if should_report(step):
        learner.report(logger)
      if should_log(step):
        learner.log(logger)
      if should_save(step):
        cp.save()
  if evaluation:
    learner.scores = evaluate()
    say(f'Evaluation at {int(step) * logger.multiplier} env steps: {summary.describe(learner.scores)}')
  learner.report(logger)
  learner.log(logger)
  cp.save()


def _evaluate(config, agent, evaluation, logger):
  """Evaluate the agent and return its means; before that the policy alone, where that is another."""
  if _chooses(config, agent):
    evaluation(logger, 'policy')
  return evaluation(logger)


def _chooses(config, agent):
  """Whether evaluations are of whoever has earned most."""
  return config.agent.vid2act.execute.evaluate == 'best' and bool(getattr(agent, 'candidates', None))


def _due(args, logger):
  """Return how many evaluations after the first one were due until now."""
  return int(logger.step) // max(1, args.eval_every // logger.multiplier)


def catch_up(place, args, logger, known):
  """Let as many evaluations have been made as are due, or fewer where that is known.

  They are counted, and `run.eval_every` may be greater than it was then.
  """
  due = _due(args, logger)
  place.evaluated = min(place.evaluated, due) if known else due


def _interruptible(agent, stop):
  """Return what acts in evaluations, which take minutes: they end when a signal came."""
  def policy(*args, **kwargs):
    stop.check()
    return agent.policy(*args, **kwargs)
  return types.SimpleNamespace(init_policy=agent.init_policy, policy=policy)


def _agent(config):
  with progress.waiting(f'compiling the agent ({config.agent.typ})'):
    return hostmain.make_agent(together.lazily(config))


def _logger(config):
  """Return the host's logger with the output jsonl, named or not: scores, curves and report are made of it."""
  outputs = config.logger.outputs
  return hostmain.make_logger(
      config if 'jsonl' in outputs else config.update({'logger.outputs': ('jsonl', *outputs)}))


def _log_episode(logger, episode):
  if episode:
    logger.add(episode, prefix='episode')


def _finish(config, agent, teacher, learner, evaluation, logger, place):
  """Write scores, pictures and `summary.json`; teacher: the manifest as it was, as it may be gone by now."""
  logger.close()
  logdir = elements.Path(config.logdir)
  drawn = images.drawing()
  drawn and curves.curves(str(logdir))
  scores.write(config)
  if evaluation:
    evaluation.video(config)
  for key, value in learner.pictures.items():
    name = key.replace('/', '_')
    if value.ndim == 4:
      images.gif(logdir / f'{name}.gif', value)
    else:
      images.png(logdir / f'{name}.png', value)
  rows = curves.metrics(str(logdir))
  path = summary.write(logdir, dict(
      stages=place.spent(),
      env_steps=int(logger.step) * logger.multiplier, updates=int(getattr(agent, 'n_updates', 0)),
      teacher=teacher.get('hash', ''), pretrain_updates=teacher.get('updates', 0), sources=teacher.get('sources', []),
      behaviours=_behaviours(agent),
      final_relevance=learner.relevance or summary.relevance(rows), execution=learner.execution, eval=learner.scores,
      task=config.task, seed=config.seed, **_versions()))
  say(*summary.learned(rows), *summary.useful(learner.execution),
      f'Summary: {path}' + f', curves: {logdir / "curves.png"}' * drawn)


def _behaviours(agent):
  """Return of each behaviour that acts the held-out error, and success on its own task without noise and with it."""
  known = getattr(agent, 'cloned', dict(sources=[], error=[], success=[]))
  return {name: dict(error=error, success=success) for name, error, success in zip(
      *(known[k] for k in ('sources', 'error', 'success')))}


def _versions():
  return dict(host=tree.title(), jax=jax.__version__, code=CODE)
