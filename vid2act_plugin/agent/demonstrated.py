"""The policy starts as one of the sources: before the first step, it learns to do what was done there.

Behavioural cloning of the policy head, on the world model's own features of a source's recordings.

Axes: B batch, T time, A actions.
"""

import jax
import jax.numpy as jnp
import ninjax as nj
import optax

from ..common import progress
from ..common.errors import UserError
from ..common.output import note
from ..host import checkpoints, loading, processes
from ..sources import locate
from ..sources.dataset import Sources
from . import rehearse

RATE = 1e-3  # Of learning.
HEAD = 'pol/'  # How the names of its parameters begin.


def wanted(config):
  """Whether the run has a policy to start: not one that goes on, or that evaluates what a checkpoint holds."""
  if config.script == 'eval_only' or checkpoints.latest(processes.home(config)):
    return False
  return bool(config.agent.vid2act.init_policy.source)


def check(config, found):
  """Raise a `UserError` for what can be known of `agent.vid2act.init_policy.source`, also before its recording is there.

  found: the located sources of the run. It has to be one of these, with as many actions as the task and enough steps.
  """
  source = _named(config, found)
  (has, _), needs = locate.shape(config, source), locate.task_act_size(config)
  if has and needs:
    _check_actions(config, has, needs)
  # Where none succeeded, or nothing tells, it is some of all.
  if known := locate.episodes(config, source, 'success_any') or locate.episodes(config, source):
    _check_steps(config, sum(known), 'at most ')


def _named(config, found):
  source, named = config.agent.vid2act.init_policy.source, {x.name: x for x in found}
  if source not in named:
    raise UserError(
        f"The key agent.vid2act.init_policy.source is '{source}', but the sources are {', '.join(named)}; name one of "
        'these, or add it to vid2act.sources.')
  return named[source]


def _check_actions(config, has, needs):
  if has != needs:
    raise UserError(
        f"The key agent.vid2act.init_policy.source is '{config.agent.vid2act.init_policy.source}', which has {has} "
        f"actions, but the task {config.task} has {needs}; name a source that has as many, or set it to ''.")


def start(agent, config):
  """Give a new agent a policy that does what `agent.vid2act.init_policy.source` does in its recordings.

  Only in those that are worth repeating, see `Sources.demonstrations`. Counters and optimiser start at 0. Does
  nothing unless it is `wanted`. Raises a `UserError` if the source has another number of actions than
  the task, other images, or too few steps.
  """
  if not wanted(config):
    return
  source, updates = (config.agent.vid2act.init_policy[k] for k in ('source', 'updates'))
  data = _demonstrations(agent, config, source)
  with jax.transfer_guard('allow'):
    params, error = _learned(agent, config, data, updates)
  agent.load({'params': params, 'counters': loading.FRESH})
  note(f'The policy starts as {source}, learned from {len(data.streams["train"][0]["reward"])} steps: squared error '
       f'of its actions {error:.3f}.')


def _demonstrations(agent, config, source):
  """Return the `Sources` of that one alone, and of its episodes those worth repeating."""
  rehearse.check_spaces(config, agent.obs_space, agent.act_space, 'agent.vid2act.init_policy.source')
  folder = _named(config, locate.locate(config)).folder
  data = Sources([folder], holdout=0, act_width=config.vid2act.act_width, seed=config.seed)
  actions, shape = agent.act_space['action'].shape[0], agent.obs_space['image'].shape
  _check_actions(config, data.act_sizes[0], actions)
  if data.image != shape:
    raise UserError(
        f"The key agent.vid2act.init_policy.source is '{source}', whose recordings have images of shape {data.image}, "
        f"but the task {config.task} of {shape}; name a source that has the same, or set it to ''.")
  data.only_demonstrations()
  _check_steps(config, len(data.streams['train'][0]['reward']))
  return data


def _check_steps(config, have, most=''):
  if have < config.batch_length:
    raise UserError(
        f"The key agent.vid2act.init_policy.source is '{config.agent.vid2act.init_policy.source}', whose episodes worth "
        f'repeating have {most}{have} steps, but batch_length is {config.batch_length}; collect more, or lower '
        'batch_length.')


def _learned(agent, config, data, updates):
  """Return all parameters after so many updates of the policy head, and the error at the end."""
  every, optimizer = loading.parameters(agent), optax.adam(RATE)
  head = {k: v for k, v in every.items() if k.startswith(HEAD)}
  rest = jax.device_put({k: v for k, v in every.items() if not k.startswith((HEAD, 'opt/'))})
  judge = nj.pure(lambda batch: judged(agent.model, batch, config.agent.vid2act.burnin))

  @jax.jit
  def update(head, state, rest, batch, seed):
    loss = lambda head: judge({**rest, **head}, batch, seed=seed)[1]
    (_, error), grads = jax.value_and_grad(loss, has_aux=True)(head)
    change, state = optimizer.update(grads, state)
    return optax.apply_updates(head, change), state, error

  state, error = optimizer.init(head), jnp.nan
  with progress.bar('start the policy', updates, 'updates') as bar:
    for step in range(updates):
      batch = data.sample(step, config.batch_size, config.batch_length, more=['confidence'])
      batch['action'] = batch['action'][..., :agent.act_space['action'].shape[0]]
      head, state, error = update(head, state, rest, batch, jax.random.PRNGKey(step))
      bar.advance()
      if step % 100 == 0:
        bar.text(f'error {float(error):.3f}')
  return {**every, **jax.device_get(head)}, float(error)


def judged(model, batch, settled):
  """Return `-mean(log pi(action given feature))` of a batch of recordings, and the squared error of the mean.

  The mean is by the actions' confidence, by none where nobody is sure of any. It leaves out the `settled` first
  steps of each window, which the world model has seen too little before, and the last step of episodes, where no
  action is taken.
  """
  reset, action = batch['is_first'], batch['action']
  before = jnp.concatenate([jnp.zeros_like(action[:, :1]), action[:, :-1]], 1)
  obs = {k: batch[k] for k in model.enc.obs_space}
  _, _, tokens = model.enc(model.enc.initial(len(reset)), obs, reset, False)
  _, _, feat = model.dyn.observe(model.dyn.initial(len(reset)), tokens, {'action': before}, reset, False)
  policy = model.pol(jax.lax.stop_gradient(model.feat2tensor(feat)), 2)['action']
  late = jnp.arange(reset.shape[1]) >= min(settled, reset.shape[1] - 1)
  sure = batch['confidence']
  weight = jnp.where((sure > 0).any(), sure, 1) * late * ~batch['is_last']
  mean = lambda x: (weight * x).sum() / jnp.maximum(weight.sum(), 1e-8)
  return -mean(policy.logp(action)), mean(jnp.square(policy.pred() - action).mean(-1))
