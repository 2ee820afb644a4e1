"""What `gpu.py` measures, each in a process of its own that stays and is asked in turn.

So agents of all sizes are built side by side, then timed one at a time in
short rounds, and what one of them breaks or fills stays its own.
"""

import contextlib
import functools
import os
import pathlib
import re
import signal
import sys
import tempfile
import threading
import time
import traceback
import types

TINY = {
    r'.*\.rssm': {'deter': 32, 'hidden': 16, 'classes': 4, 'stoch': 4, 'blocks': 4},
    r'.*\.depth': 2, r'.*\.units': 16, r'.*\.layers': 1, r'.*\.bins': 15, r'.*\.bspace': 4,
    r'.*\.strided': True, 'agent.imag_last': 2, 'agent.imag_length': 3, 'batch_size': 2,
    'batch_length': 8, 'report_length': 8}


def serve(conn, kind, settings, log):
  """Make a worker and answer `(method, arguments)` with what it returns, until the pipe closes."""
  os.setpgrp()  # So that what it starts ends with it.
  out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
  os.dup2(out, 1), os.dup2(out, 2)
  sys.stdout.reconfigure(line_buffering=True)
  began = time.time()
  try:
    os.environ['JAX_PLATFORMS'] = settings.get('platform', 'cpu')
    worker = KINDS[kind](**settings)
    conn.send(dict(ready=round(time.time() - began, 1)))
    while True:
      method, args = conn.recv()
      conn.send(dict(result=getattr(worker, method)(*args)))
  except EOFError:
    pass
  except BaseException as e:
    traceback.print_exc()
    with contextlib.suppress(OSError):
      conn.send(dict(error=f'{type(e).__name__}: {e}'[:500]))
  finally:
    os.killpg(0, signal.SIGKILL)


def configure(platform, size, overlays=(), teacher='', tiny=False, **changes):
  """Return the whole config; tiny: the smallest models and batches, whatever `size` says."""
  from . import agents
  found = {'batch_size': 16, 'batch_length': 64, 'report_length': 64, 'vid2act.teacher': teacher}
  small = TINY if tiny else {}
  config = agents.configure(
      *overlays, size=size, **{**found, **small, 'jax.platform': platform, **changes})
  return lazily(config)


def lazily(config):
  """Return the config with functions compiled when they are first used: here none reports."""
  import elements
  return elements.Config({**config, 'jax': {**config.jax, 'precompile': False}})


class Teacher:
  """Write a bundle of untrained weights; `path` is its folder."""

  def __init__(self, platform, size, sources, image=(64, 64, 3), **kw):
    from . import agents
    agents.IMAGE = tuple(image)
    config = loop_config(platform, **kw) if size == 'small' else configure(platform, size, **kw)
    self.folder = str(agents.teacher(config, sources, memory=128))

  def path(self):
    return self.folder


class Train:
  """An agent on random batches: updates and policy steps."""

  def __init__(self, platform, size, overlays=(), teacher='', tiny=False):
    from . import agents
    config = configure(platform, size, overlays, teacher, tiny)
    self.agent = agents.build(config, report=False)
    self.given, self.count = agents.batches(self.agent, 2), 0
    self.train, self.act = self.agent.init_train(config.batch_size), self.agent.init_policy(1)
    rng = agents.np.random.default_rng(0)
    self.obs = {k: agents.np.zeros((1, *v.shape), v.dtype) for k, v in agents.metaworld()[0].items()}
    self.obs['image'] = rng.integers(0, 256, (1, *agents.IMAGE), agents.np.uint8)
    self.update(2), self.policy(2)

  def update(self, count):
    """Return the seconds of one update, the mean of `count` without a wait between them."""
    began = time.perf_counter()
    for _ in range(count):
      batch = dict(self.given[self.count % len(self.given)])
      self.train, _, _ = self.agent.train(self.train, batch)
      self.count += 1
    block(self.agent.params)
    return (time.perf_counter() - began) / count

  def policy(self, count):
    """Return the seconds of one policy step with one environment."""
    began = time.perf_counter()
    for _ in range(count):
      self.act, _, _ = self.agent.policy(self.act, self.obs, mode='train')
    return (time.perf_counter() - began) / count

  def memory(self):
    return peak()


class Pretrain:
  """The pretraining agent of six sources on random batches."""

  def __init__(self, platform, size, tiny=False):
    from vid2act_plugin.training import pretrain

    from . import agents
    config = configure(platform, size, tiny=tiny)
    shape = {k: config[k] for k in ('batch_size', 'batch_length')}
    config = lazily(config.update({'vid2act.pretrain': shape, 'logdir': tempfile.mkdtemp()}))
    self.agent = pretrain.build(config, types.SimpleNamespace(
        image=agents.IMAGE, act_sizes=[agents.ACTIONS] * 6))
    self.given, self.count = agents.batches(self.agent, 2), 0
    self.train = self.agent.init_train(config.batch_size)
    self.update(2)

  update, memory = Train.update, Train.memory


class Grads:
  """Losses and gradients of one update in float32.

  precision: of matrix products; at `highest` a GPU takes no shorter numbers.
  """

  def __init__(self, platform, teacher, precision='highest', tiny=False):
    import dreamerv3.agent
    import jax
    import jax.numpy as jnp
    import optax

    from . import agents
    jax.config.update('jax_default_matmul_precision', precision)
    zero = functools.partial(jax.tree.map, jnp.zeros_like)
    # Its state is the gradients, its updates are none.
    dreamerv3.agent.Agent._make_opt = lambda self, **kw: optax.GradientTransformation(
        zero, lambda grads, state, params=None: (zero(grads), grads))
    # Few samples, as one that falls the other way by rounding would change all after it.
    few = {'batch_size': 2, 'batch_length': 8, 'report_length': 8, 'agent.imag_last': 2,
           'jax.compute_dtype': 'float32'}
    config = configure(platform, 'size1m', ('vid2act',), teacher, tiny, **few)
    agent = agents.build(config, report=False)
    agent.train(agent.init_train(2), agents.batches(agent, 1)[0])
    prefix = 'opt/state/'
    self.found = dict(
        losses={k: float(v) for k, v in agent._take_outs(agent.pending_mets).items()
                if k.startswith('loss/')},
        grads={k[len(prefix):]: v for k, v in jax.device_get(agent.params).items()
               if k.startswith(prefix)})

  def get(self):
    return self.found


class Frames:
  """Environments of Meta-World at both qualities."""

  def __init__(self, tasks, platform='cpu'):
    import numpy as np

    from vid2act_plugin.envs import render
    from vid2act_plugin.envs.metaworld import MetaWorld
    render.setup_gl()
    self.rng = np.random.default_rng(0)
    self.envs = {(x, q): MetaWorld(x, render=q) for x in tasks for q in ('full', 'fast')}
    for env in self.envs.values():
      env.step({'reset': True})
    self.name = env.describe()

  def describe(self):
    return self.name

  def images(self, task, quality, count):
    """Return the seconds of one image."""
    env, began = self.envs[task, quality], time.perf_counter()
    for _ in range(count):
      env.camera()
    return (time.perf_counter() - began) / count

  def steps(self, task, quality, count):
    """Return the seconds of one simulator step with its image."""
    env, began = self.envs[task, quality], time.perf_counter()
    for _ in range(count):
      env.step({'reset': False, 'action': self.rng.uniform(-1, 1, 4)})
    return (time.perf_counter() - began) / count


def loop_config(platform, overlays=(), teacher='', changes=(), ablation=None, tiny=False):
  """Return the config of a whole run; ablation: a matrix whose settings all its runs share."""
  import dreamerv3
  import elements
  from dreamerv3 import plugins
  from ruamel.yaml import YAML
  known = plugins.configs(pathlib.Path(dreamerv3.__path__[0]) / 'configs.yaml')
  config = elements.Config(known['defaults'])
  shared = YAML(typ='safe').load(pathlib.Path(ablation).read_text())['configs'] if ablation else ()
  for item in (*shared, *overlays):
    config = config.update(known[item] if isinstance(item, str) else item)
  if tiny:
    config = config.update(TINY)
  if platform == 'cpu':
    config = config.update({'jax.compute_dtype': 'float32'})
  return config.update({
      'jax.platform': platform, 'jax.profiler': False, 'jax.prealloc': False,
      'vid2act.teacher': teacher, 'vid2act.sources': ['auto'], 'script': 'train',
      'run.log_every': 1e6, 'run.report_every': 1e6, 'run.save_every': 1e6, 'run.eval_every': 0, 'run.steps': 1e6,
      'logger.outputs': ['jsonl'], 'logdir': tempfile.mkdtemp(), **dict(changes)})


class Loop:
  """The host's whole run script `train`, which goes on only while it is asked to.

  Its counter of env steps is a gate: as every step increments it, all waits
  there, updates too. Returned rates are of real runs, environments in processes
  of their own where the config says so.
  """

  def __init__(self, **kw):
    self.gate, self.broken, self.agent = threading.Event(), None, None
    self.config = loop_config(**kw)
    threading.Thread(target=self._run, daemon=True).start()
    self.gate.set()
    while not self.agent or int(self.agent.n_updates) < 3:
      time.sleep(0.05)
      if self.broken:
        raise RuntimeError(self.broken)
    self.gate.clear()

  def run(self, seconds):
    """Return env steps, updates and seconds of at least `seconds`."""
    count = lambda: (int(self.step), int(self.agent.n_updates))
    before, began = count(), time.perf_counter()
    self.gate.set()
    time.sleep(seconds)
    steps, updates = (b - a for a, b in zip(before, count()))
    self.gate.clear()
    took = time.perf_counter() - began
    if self.broken:
      raise RuntimeError(self.broken)
    return steps, updates, took

  def memory(self):
    return peak()

  def _run(self):
    try:
      self._train()
    except BaseException as e:
      traceback.print_exc()
      self.broken = f'{type(e).__name__}: {e}'

  def _train(self):
    import elements
    import embodied
    import portal
    from dreamerv3 import main, plugins
    bind = functools.partial
    config = lazily(plugins.prepare(self.config))
    portal.setup(ipv6=config.ipv6)
    keys = ('replica', 'replicas', 'logdir', 'batch_size', 'batch_length', 'report_length',
            'consec_train', 'consec_report', 'replay_context')
    embodied.run.train(
        bind(self._agent, config), bind(main.make_replay, config, 'replay'),
        bind(main.make_env, config), bind(main.make_stream, config), bind(self._logger, config),
        elements.Config(**config.run, **{k: config[k] for k in keys}))

  def _agent(self, config):
    from dreamerv3 import main
    self.agent = main.make_agent(config)
    return self.agent

  def _logger(self, config):
    import elements
    from dreamerv3 import main
    gate = self.gate

    class Gated(elements.Counter):
      def increment(self, amount=1):
        gate.wait()
        super().increment(amount)

    logger = main.make_logger(config)
    logger.step = self.step = Gated()
    return logger


def block(params):
  import jax
  jax.block_until_ready(params)


def peak():
  """Return the most megabytes that were in use: of the GPU, or of the process on a CPU (Linux)."""
  import jax
  stats = jax.local_devices()[0].memory_stats()
  if stats and 'peak_bytes_in_use' in stats:
    return round(stats['peak_bytes_in_use'] / 1e6)
  status = pathlib.Path('/proc/self/status').read_text()
  return round(int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]) * 1024 / 1e6)


KINDS = dict(
    teacher=Teacher, train=Train, pretrain=Pretrain, grads=Grads, frames=Frames, loop=Loop)
