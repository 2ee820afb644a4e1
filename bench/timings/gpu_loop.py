"""The whole run script, made to wait: one of the workers of `gpu.py`."""

import functools
import threading
import time
import traceback

from .gpu_config import lazily, loop_config, peak


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
