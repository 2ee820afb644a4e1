"""The finetuning agent beside its teacher: built, checked against each other, tied together."""

import json

import elements
import numpy as np
from dreamerv3 import agent as host

from .. import prepare
from ..common.errors import UserError
from ..teacher import bundle as bundles
from ..teacher.model import Teacher
from . import initialise
from .agent import Agent, from_start, rows, seen
from .rehearse import Rehearsal, Rehearsing


def make(config, obs_space, act_space, agent_config):
  """Build the agent for the whole `config`; without distillation and guide it is the host's."""
  if not config.agent.vid2act.rehearse:
    return _make(config, obs_space, act_space, agent_config)
  rehearsal = Rehearsal(config, obs_space, act_space)
  return Rehearsing(_make(config, obs_space, act_space, agent_config), rehearsal)


def _make(config, obs_space, act_space, agent_config):
  options = config.agent.vid2act
  taught = options.distill or options.guide
  if not (taught or options.init):
    return host.Agent(obs_space, act_space, agent_config)
  bundle = bundles.load(config.vid2act.teacher)
  check(bundle, config, obs_space, act_space)
  _pin(elements.Path(agent_config.logdir), bundle)
  if taught:
    bound = type('Agent', (Agent,), {'bundle': bundle})
    windows = _windows(config, bundle) if options.guide and options.vae.online else None
    agent = Taught(bound(obs_space, act_space, agent_config), bundle, windows)
  else:
    agent = host.Agent(obs_space, act_space, agent_config)
  if options.init:
    initialise.initialise(agent, bundle, config)
  return agent


class Taught:
  """The host's agent, with the frozen teacher's features added to every batch.

  The teacher lives here and not among the agent's parameters, so that no
  checkpoint holds it, no update donates it and no policy sync copies it.
  """

  def __init__(self, agent, bundle, windows=None):
    self.agent = agent
    self.acting = from_start(agent.config.vid2act)
    self.teacher = Teacher(
        bundle, agent.train_mesh, rows(agent.config), agent.config.seed, windows,
        seen(agent.config.vid2act, agent.config.batch_size))

  def __getattr__(self, name):
    return getattr(self.agent, name)

  def train(self, carry, data):
    return self.agent.train(carry, self._teach(data))

  def report(self, carry, data):
    return self.agent.report(carry, self._teach(data))

  def init_policy(self, batch_size):
    carry = self.agent.init_policy(batch_size)
    if not self.acting:
      return carry
    action = np.zeros((batch_size, *self.agent.act_space['action'].shape), np.float32)
    return carry, self.teacher.start(batch_size), action

  def policy(self, carry, obs, mode='train'):
    """Act; where relevance comes from the teachers, they take the same step before."""
    if not self.acting:
      return self.agent.policy(carry, obs, mode=mode)
    carry, state, prevact = carry
    state, seen = self.teacher.act(state, obs, prevact, int(self.agent.n_actions))
    carry, act, out = self.agent.policy((*carry[:-1], self.agent._split(seen)), obs, mode=mode)
    return (carry, state, act['action']), act, out

  def _teach(self, data):
    return {**data, **self.teacher(data, int(self.agent.n_updates))}


def _windows(config, bundle):
  """Return a function counter -> windows of the recordings of every source, for the VAE."""
  from ..sources import dataset
  data = dataset.Sources(
      prepare.folders(config), holdout=0, act_width=bundle.act_width, seed=config.seed)
  if data.names != bundle.manifest['sources']:
    raise UserError(
        f"The recordings are of {data.names}, but the teacher {config.vid2act.teacher} was made "
        f"from {bundle.manifest['sources']}, in this order; set vid2act.sources accordingly.")
  each = -(-config.agent.vid2act.vae.batch // (len(data.names) * config.batch_length))
  return lambda counter: data.sample(counter, each * len(data.names), config.batch_length)


def check(bundle, config, obs_space, act_space):
  """Raise a `UserError` where the bundle does not fit the run."""
  path, have = config.vid2act.teacher, bundle.manifest
  dataset = list(config.vid2act.sources)
  # Names of an imported teacher's sources need not be tasks.
  if dataset not in (['auto'], have['sources']) and [
      x.name for x in prepare.sources(config)] != have['sources']:
    raise UserError(
        f'The key vid2act.sources is {dataset}, but the teacher {path} was made from '
        f"{have['sources']}, in this order; name these or pretrain another teacher.")
  if 'image' not in obs_space or list(obs_space['image'].shape) != have['image']:
    shape = list(obs_space['image'].shape) if 'image' in obs_space else 'no image'
    raise UserError(
        f"The task {config.task} has images of shape {shape}, but the teacher {path} was made for "
        f"{have['image']}; set env.{config.task.split('_')[0]}.size accordingly or pretrain again.")
  if list(act_space) != ['action'] or act_space['action'].discrete:
    raise UserError(
        f'The task {config.task} has the actions {dict(act_space)}, but vid2act needs one '
        "continuous action named 'action'.")
  if act_space['action'].shape[0] > have['act_width']:
    raise UserError(
        f"The task {config.task} has {act_space['action'].shape[0]} action dimensions, more than "
        f"the teacher's {have['act_width']}; raise vid2act.act_width and pretrain again.")
  options = config.agent.vid2act
  if not 0 < options.share <= 1:
    raise UserError(
        f'The key agent.vid2act.share is {options.share}; give a number above 0, up to 1.')
  if options.share < 1 and from_start(options):
    raise UserError(
        f'The key agent.vid2act.share is {options.share}, but with guide_from start the teachers '
        'see every sequence; set it to 1.0.')
  if options.adapted < 0 or options.adapted == 1:
    raise UserError(
        f'The key agent.vid2act.adapted is {options.adapted}; give 2 or more, or 0 for all.')
  if options.guide and not options.vae.online and not have.get('guide', True):
    raise UserError(
        f'The teacher {path} was imported with --no-guide and agent.vid2act.guide is True; import '
        'it again with the replays, or add the overlay vid2act_noguide.')


def _pin(logdir, bundle):
  """Tie a run to its teacher: a run continued with another one would mix two meanings."""
  path = logdir / 'teacher.json'
  if path.exists():
    before = json.loads(path.read())
    if before['hash'] != bundle.hash:
      raise UserError(
          f"The run {logdir} was started with the teacher {before['hash'][:12]} of sources "
          f"{before['sources']}, not with {bundle.hash[:12]}; continue with that teacher or "
          'choose another --logdir.')
  path.write(json.dumps({'hash': bundle.hash, 'sources': bundle.manifest['sources']}))
