"""Environments that begin anew, and their processes."""

import functools
from multiprocessing import resource_tracker, spawn

import elements
import embodied
import numpy as np
import pytest
from helpers import orphans

from vid2act_plugin.training import environments


class Walk(embodied.Env):
  """What it shows is decided by how many episodes it has begun; one kind of it counts them."""

  def __init__(self, made, counts):
    made.append(self)
    self.begun, self.closed, self.seen = 0, False, []
    if counts:
      self.episode = 0

  @property
  def obs_space(self):
    flags = {k: elements.Space(bool) for k in ('is_first', 'is_last', 'is_terminal')}
    return {'place': elements.Space(np.int32), 'reward': elements.Space(np.float32), **flags}

  @property
  def act_space(self):
    return {'action': elements.Space(np.float32, (1,)), 'reset': elements.Space(bool)}

  def step(self, action):
    self.seen.append(set(action))
    if action['reset']:
      self.begun += 1
      if hasattr(self, 'episode'):
        self.episode = self.begun = self.episode + 1
    return dict(place=np.int32(self.begun), reward=np.float32(0), is_first=bool(action['reset']),
                is_last=False, is_terminal=False)

  def close(self):
    self.closed = True


@pytest.mark.parametrize('counts', [True, False])
def test_episodes_begin_anew(counts):
  made = []
  again = environments.Again(lambda: embodied.wrappers.UnifyDtypes(Walk(made, counts)))
  driver, places = environments.driver([lambda: again], parallel=False), []
  driver.on_step(lambda tran, worker: places.append(int(tran['place'])))
  policy = lambda carry, obs: (carry, {'action': np.zeros((1, 1), np.float32)}, {})
  for _ in range(3):
    driver.reset()
    driver.acts[environments.ANEW] = np.ones(1, bool)
    driver(policy, steps=2)
    driver.acts['reset'] = np.ones(1, bool)
    driver(policy, steps=1)
  environments.close(driver)
  assert places == [1, 1, 2] * 3
  assert len(made) == (1 if counts else 3) and all(x.closed for x in made)
  assert all(x == {'action', 'reset'} for env in made for x in env.seen)


def test_a_worker_ends_with_a_parent_that_died_while_it_began():
  """The host's waits for ever at a barrier that its parent will not reach."""
  code = '''
import time
from vid2act_plugin.training import environments
worker = environments.Worker(print)
worker.process.start()
print('started', flush=True)
time.sleep(2)
'''
  _, children = orphans.killed(code)
  assert children and orphans.gone(children)


def test_a_worker_that_dies_while_it_begins_is_noticed():
  resource_tracker.ensure_running()
  executable = spawn.get_executable()
  spawn.set_executable('/bin/false')
  try:
    with pytest.raises(AssertionError, match='Worker died'):
      environments.driver([print], parallel=True)
  finally:
    spawn.set_executable(executable)


def test_other_processes_are_the_host_s():
  before = environments.portal.Process
  with pytest.raises(ZeroDivisionError):
    environments.driver([functools.partial(lambda: 1 / 0)], parallel=False)
  assert environments.portal.Process is before is not environments.Worker
