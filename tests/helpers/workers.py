"""A script for test_host.py: environments in workers of the host's driver that fail."""

import functools
import os
import signal
import sys
import time

import elements
import embodied
import numpy as np


class Tiny(embodied.Env):
  """Two actions, a counter as observation, and one way to `fail`."""

  def __init__(self, fail=''):
    self.fail, self.steps = fail, 0
    if fail == 'start':
      raise ValueError('no such room')

  @property
  def obs_space(self):
    flags = {k: elements.Space(bool) for k in ('is_first', 'is_last', 'is_terminal')}
    return {'count': elements.Space(np.int32), 'reward': elements.Space(np.float32), **flags}

  @property
  def act_space(self):
    return {'action': elements.Space(np.float32, (2,)), 'reset': elements.Space(bool)}

  def step(self, action):
    self.steps += 1
    if self.fail == 'step' and self.steps > 3:
      raise KeyError('bad step')
    if self.fail == 'crash' and self.steps > 3:
      os.kill(os.getpid(), signal.SIGKILL)
    return dict(
        count=np.int32(self.steps), reward=np.float32(0), is_first=bool(action['reset']),
        is_last=False, is_terminal=False)


def drive(*fails):
  """Step one worker per failure and return the driver and the largest count seen."""
  policy = lambda carry, obs: (carry, {'action': np.zeros((len(fails), 2), np.float32)}, {})
  driver = embodied.Driver([functools.partial(Tiny, x) for x in fails], parallel=True)
  counts = []
  driver.on_step(lambda tran, worker: counts.append(int(tran['count'])))
  driver(policy, steps=6 * len(fails))
  return driver, max(counts)


def main():
  driver, count = drive('')
  driver.close()
  print('host', embodied.__file__)
  print('steps', count, 'left', any(x.running for x in driver.procs))
  for fails in (('step',), ('', 'start'), ('crash',)):
    began = time.time()
    try:
      drive(*fails)
    except Exception as e:
      print(fails[-1], type(e).__name__, e, 'late' if time.time() - began > 60 else '')
  driver, _ = drive('')
  print('pid', driver.procs[0].pid, flush=True)
  time.sleep(600)  # Until the test kills us.


if __name__ == '__main__':
  sys.exit(main())
