"""What `gpu.py` measures, each in a process of its own that stays and is asked in turn.

So agents of all sizes are built side by side, then timed one at a time in
short rounds, and what one of them breaks or fills stays its own.
"""

import contextlib
import functools
import os
import signal
import sys
import tempfile
import time
import traceback
import types

from . import gpu_loop
from .gpu_config import configure, lazily, loop_config, peak


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
    space = agents.metaworld()[0]
    self.obs = {k: agents.np.zeros((1, *v.shape), v.dtype) for k, v in space.items()}
    self.obs['image'] = rng.integers(0, 256, (1, *agents.IMAGE), agents.np.uint8)
    self.obs['is_first'][:] = True
    if hasattr(self.agent, 'ledger'):  # The policy acts, as stock's does, and no source.
      self.agent.ledger.choose = lambda candidates, rng: candidates[0]
    self.update(2), self.policy(2)
    hasattr(self.agent, 'teacher') and self.teach(1)

  def update(self, count):
    """Return the seconds of one update, the mean of `count` without a wait between them."""
    from . import agents
    began = time.perf_counter()
    for _ in range(count):
      batch = dict(self.given[self.count % len(self.given)])
      self.train, _, _ = self.agent.train(self.train, batch)
      self.count += 1
    agents.jax.block_until_ready(self.agent.params)
    return (time.perf_counter() - began) / count

  def policy(self, count):
    """Return the seconds of one policy step with one environment."""
    began = time.perf_counter()
    for _ in range(count):
      self.act, _, _ = self.agent.policy(self.act, self.obs, mode='train')
      self.obs['is_first'][:] = False
    return (time.perf_counter() - began) / count

  def teach(self, count):
    """Return the seconds of the teachers' part of an update."""
    from . import agents
    began = time.perf_counter()
    for i in range(count):
      out = self.agent.teacher(self.given[i % len(self.given)], i)
    agents.jax.block_until_ready(out)
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
    # Few samples, as one that falls the other way by rounding would change all after it. Heads
    # do not begin at zero: of the host's sum of bins up to 5e8 only rounding would be left there.
    few = {'batch_size': 2, 'batch_length': 8, 'report_length': 8, 'agent.imag_last': 2,
           'agent.value.outscale': 1.0, 'agent.rewhead.outscale': 1.0,
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


KINDS = dict(
    teacher=Teacher, train=Train, pretrain=Pretrain, grads=Grads, frames=Frames, loop=gpu_loop.Loop)
