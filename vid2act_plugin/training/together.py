"""One run in several processes: the first acts and keeps everything, the others share its updates.

Only the first has environments, a replay and a ledger, and saves and logs. It says what it calls
of its agent, with the batch that goes with it, and every process makes the same call: JAX computes
over the devices of all. So is the host's policy: the others compute it of empty observations.
"""

import contextlib

import elements
import embodied
import numpy as np
from safetensors.numpy import load

from ..common.output import note
from ..host import internals, processes
from ..teacher import stored
from . import resume

ENDED = 1  # Status of the others where the first one ended in an error.


def lazily(config):
  """Return `config` such that an agent of several processes is compiled at its first batch.

  The host compiles earlier for `batch_size` sequences in each process; ours is that of all.
  """
  if processes.alone(config):
    return config
  return elements.Config({**config, 'jax': {**config.jax, 'precompile': False}})


@contextlib.contextmanager
def led(agent, config):
  """Give the agent that the first process uses, and let the others end when it does."""
  if processes.alone(config):
    yield agent
    return
  first = First(agent, config)
  try:
    yield first
  except BaseException as e:
    first.end(e.code if type(e) is SystemExit else ENDED)
    raise
  first.end(0)


class First:
  """The agent of the first process, whose calls all others make as well; in all else the agent itself.

  signal: one that another process got, which is a wish to stop the run.
  """

  def __init__(self, agent, config):
    self.agent, self.config, self.signal, self.within = agent, config, None, False
    inner = innermost(agent)
    inner.stream = embodied.streams.Prefetch  # Batches stay here until they are shared out.
    policy, init_policy = inner.policy, inner.init_policy
    inner.policy = lambda carry, obs, mode='train': self._call(
        lambda: policy(carry, obs, mode=mode), 'policy', envs=len(obs['is_first']), mode=mode)
    inner.init_policy = lambda envs: self._call(lambda: init_policy(envs), 'init_policy', envs=envs)

  def __getattr__(self, name):
    return getattr(self.agent, name)

  def init_train(self, batch):
    return self.agent.init_train(processes.size(self.config, batch))

  def init_report(self, batch):
    return self.agent.init_report(processes.size(self.config, batch))

  def train(self, carry, data):
    """Make an update with a batch of arrays `[B, ...]`, and return as much as one process would."""
    return self._call(lambda: _train(self.agent, self.config, carry, data), 'train', self._tree(data))

  def report(self, carry, data):
    return self._call(
        lambda: self.agent.report(carry, _shared(self.agent, self.config, data)), 'report', self._tree(data))

  def save(self):
    return self._call(self.agent.save, 'save')

  def load(self, data):
    """Load parameters and counters in all processes, and what else there is of the agent in this one."""
    counters = {k: int(v) for k, v in data['counters'].items()}
    return self._call(
        lambda: self.agent.load(data), 'load', _under('params', data['params']), counters=counters)

  def end(self, status):
    """Let the others end; where a call failed they have failed in it, and listen no more."""
    if not self.within:
      self._call(lambda: None, 'end', status=status)

  def _tree(self, data):
    """Return a batch with what the sources have earned, by which its steps are judged where they are imitated."""
    imitates = self.config.agent.vid2act.imitate > 0 and hasattr(self.agent, 'ledger')
    ledger = self.agent.ledger.save() if imitates else {}
    return {**_under('data', data), **_under('ledger', ledger)}

  def _call(self, function, name, tree=None, **facts):
    self.within = True
    content = stored.content(tree) if tree else b''
    said = processes.exchange(dict(call=name, size=len(content), **facts))
    self.signal = self.signal or max(x['signal'] for x in said[1:]) or None
    processes.spread(content, len(content))
    result = function()
    self.within = False
    return result


def follow(agent, config):
  """Make the calls of the first process until it ends; return the status to end with."""
  note(f'Process {config.jax.process_id} of {config.jax.num_processes} makes the updates of the first one, '
       f'which keeps the run in {processes.home(config)}.')
  inner, batch = innermost(agent), processes.size(config, config.batch_size)
  training, reporting, acting = agent.init_train(batch), agent.init_report(batch), {}
  with resume.Stop() as stop:
    while True:
      said = processes.exchange(dict(signal=stop.signal or 0))[0]
      tree = _tree(processes.spread(b'', said['size']))
      if 'ledger' in tree:
        agent.ledger.load(tree['ledger'])
      match said['call']:
        case 'init_policy':
          acting[said['envs']] = inner.init_policy(said['envs'])
        case 'policy':
          envs = said['envs']
          acting[envs], _, _ = inner.policy(acting[envs], _nothing(agent, envs), mode=said['mode'])
        case 'train':
          training, _, _ = _train(agent, config, training, tree['data'])
        case 'report':
          reporting, _ = agent.report(reporting, _shared(agent, config, tree['data']))
        case 'save':
          agent.save()
        case 'load':
          agent.load(dict(params=tree['params'], counters=said['counters']))
        case 'end':
          if said['status'] == ENDED:
            processes.abandon()
          return said['status']


def innermost(agent):
  """Return the host's agent inside all that is around it."""
  while 'agent' in vars(agent):
    agent = agent.agent
  return agent


def _train(agent, config, carry, data):
  carry, outs, mets = agent.train(carry, _shared(agent, config, data))
  if 'replay' in outs:  # What the replay is told of its steps, of those of all.
    outs = {**outs, 'replay': processes.gather(outs['replay'])}
  return carry, outs, mets


def _shared(agent, config, data):
  """Return this process's part of a batch on its devices, with the seed of the next update."""
  data = internals.put(processes.share(data, config), agent.train_sharded)
  return {**data, 'seed': internals.seed(agent, agent.n_updates)}


def _nothing(agent, envs):
  return {k: np.zeros((envs, *v.shape), v.dtype) for k, v in agent.obs_space.items()}


def _under(name, tree):
  return {f'{name}/{k}': v for k, v in tree.items()}


def _tree(content):
  """Return what `_under` has named, `{name: {key: array}}`."""
  found = {}
  for key, value in (load(content) if content else {}).items():
    name, _, key = key.partition('/')
    found.setdefault(name, {})[key] = value
  return found
