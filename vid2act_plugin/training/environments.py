"""Environments of a run: from a given episode on, and in processes that end with it."""

import atexit
import threading

import portal

from ..common import lifeline

ANEW = 'anew'  # Key of an action that makes an `Again` begin with its first episode.


def make(config, index, episode=0):
  """Make the host's environment `index`, whose first episode is the one of number `episode`.

  Without that a continued run would begin with the same positions again.
  """
  from dreamerv3 import main as hostmain
  env = hostmain.make_env(config, index)
  if hasattr(_inner(env), 'episode'):
    _inner(env).episode = episode
  return env


class Again:
  """An environment that begins with its first episode whenever an action has the key `ANEW`.

  make: function that makes it. Those that do not count their episodes are made again.
  """

  def __init__(self, make):
    self.make, self.env, self.begun = make, make(), False

  @property
  def obs_space(self):
    return self.env.obs_space

  @property
  def act_space(self):
    return self.env.act_space

  def step(self, action):
    anew = self.begun and action.get(ANEW)
    if anew and hasattr(_inner(self.env), 'episode'):
      _inner(self.env).episode = 0
    elif anew:
      self.env.close()
      self.env = self.make()
    self.begun = True
    return self.env.step({k: v for k, v in action.items() if k != ANEW})

  def close(self):
    self.env.close()


class Worker(portal.Process):
  """The host's process of an environment, which ends when we are gone.

  The host's waits at a barrier for the other side, for ever if that has died.
  """

  def start(self):
    self.started = True
    self.process.start()
    self.thepid = self.process.pid
    return self

  @staticmethod
  def _wrapper(options, ready, *args):
    lifeline.follow()
    portal.Process._wrapper(options, threading.Barrier(1), *args)


def driver(makes, parallel):
  """Return the host's driver of the environments that the functions `makes` make."""
  import embodied
  before, portal.Process = portal.Process, Worker
  try:
    return embodied.Driver(makes, parallel=parallel)
  finally:
    portal.Process = before


def close(driver):
  """Close a driver with its processes to the last pipe; the host keeps them until we exit."""
  driver.close()
  for process in driver.procs if driver.parallel else ():
    atexit.unregister(process.kill)
    process.process.join()
    process.process.close()
  for pipe in (*driver.pipes, *driver.ends) if driver.parallel else ():
    pipe.close()


def _inner(env):
  import embodied
  while isinstance(env, embodied.wrappers.Wrapper):
    env = env.env
  return env
