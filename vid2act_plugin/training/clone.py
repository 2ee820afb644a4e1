"""Run script `clone`: the sources' behaviours, learned from their recordings."""

import pathlib

import jax.numpy as jnp
import numpy as np

from ..common import lock, progress
from ..common.errors import UserError, differences, reason
from ..common.output import say
from ..envs import suites
from ..host import internals
from ..sources import dataset, locate
from ..teacher import behaviours, cloning
from . import partial, resume
from .trials import Trials

NOISES = (0.0, 0.1)


def run(config, args):
  """Learn `vid2act.behaviours.updates` times and write `LOGDIR/behaviours`, unless it is there."""
  folder = pathlib.Path(config.logdir).expanduser() / 'behaviours'
  with lock.locked(config.logdir):
    data = recordings(config)
    if behaviours.exists(folder):
      check(behaviours.read(folder, behaviours.MADE).facts, config, data, folder)
      say(f'Behaviours: reused {folder}')
      return
    learned(config, data).write(folder)
    partial.discard(kept(config))
  say(f'Behaviours: {folder}')


def check(facts, config, data, where):
  """Raise a `UserError` unless behaviours with these `facts` are those that `learned` would return.

  What they do not tell, as those of earlier versions, is taken for the same.
  """
  before, now = _keys(facts), _keys(dict(
      sources=list(data.names), recordings=data.key, seed=data.seed, act_width=data.act_width,
      holdout=data.holdout, settings=config.vid2act.behaviours))
  other = [k for k in now if k in before and before[k] != now[k]]
  if other:
    raise UserError(
        f"The behaviours in {where} were learned with {differences(other, before, 'now', now)}; repeat the "
        'command with these, or learn others by --script clone with another --logdir.')


def _keys(facts):
  """Return what decided what was learned, under the names of the keys that set it."""
  names = dict(sources='sources', recordings='recordings', seed='seed', act_width='vid2act.act_width',
               holdout='vid2act.pretrain.holdout')
  return {**{v: facts[k] for k, v in names.items() if k in facts},
          **{f'vid2act.behaviours.{k}': v for k, v in facts['settings'].items()}}


def learned(config, data):
  """Return what `learn` does, or end with the status of the signal that stopped it."""
  with resume.Stop() as stop:
    try:
      return learn(config, data, stop.check)
    except resume.Stopped:
      say('Stopped; repeat the command to continue to learn the behaviours.')
      raise SystemExit(128 + stop.signal) from None


def recordings(config):
  """Return the sources that teacher and behaviours are learned from."""
  return dataset.Sources(
      [x.folder for x in locate.locate(config)], holdout=config.vid2act.pretrain.holdout,
      act_width=config.vid2act.act_width, seed=config.seed)


def learn(config, data, check):
  """Return the `Behaviours` of the recordings `data`, tried on the sources' own tasks.

  What is learned is in `kept(config)` meanwhile, and stays there.

  check: is called after every update and episode, and may raise.
  """
  internals.compute_in(jnp.float32)
  settings = dict(config.vid2act.behaviours)
  training = cloning.Training(data, settings)
  made = partial.updated(training, 'clone', kept(config), check)
  envs = [{**x, 'size': list(data.image[:2])} for x in data.envs]
  made.facts['success'] = _own(made, locate.locate(config), envs, settings['episodes'], check)
  return made


def kept(config):
  """Return where behaviours are kept while they are learned."""
  return pathlib.Path(config.logdir).expanduser() / 'partial'


def _own(made, found, envs, episodes, check):
  """Return each source's success on its own task `[without noise, with it]`, None where unknown.

  envs: of each source, the settings of its recording.
  """
  act, result = made.actor(), []
  knows = lambda task: (suite := task.split('_')[0]) in suites.SUITES and suites.SUITES[suite].success
  tasks = [x if knows(x) else '' for x in map(locate.task, found)]
  with progress.bar('try behaviours', sum(map(bool, tasks)) * episodes * len(NOISES), 'episodes') as bar:
    for source, (task, env) in enumerate(zip(tasks, envs)):
      result.append(None)
      trials = _trials(task, env) if task and episodes else None
      if trials and trials.success:
        result[-1] = [
            round(float(np.mean([
                _played(trials, act, source, made, noise, i, bar, check)
                for i in range(episodes)])), 3)
            for noise in NOISES]
      elif task:
        bar.advance(episodes * len(NOISES))
      if trials:
        trials.close()
  return result


def _trials(task, env):
  """Return trials in a source's task; None where it cannot be made here."""
  try:
    return Trials(task, env)
  except Exception as e:  # Recordings may be of a machine that draws, and learned from on another.
    say(f'Note: the behaviour of {task} was not tried, as the task cannot be made: {reason(e)}')
    return None


def _played(trials, act, source, made, noise, episode, bar, check):
  check()
  bar.advance()
  return trials.play(act, source, made.facts['settings']['frames'], noise, episode)[1]
