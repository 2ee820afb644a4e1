"""Checkpoints of the host, read safely and kept in the order in which they were written."""

import pickle

import elements
import numpy as np
import pytest
from helpers.payloads import touch, works

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.host import checkpoints


class Thing:
  """Something that a checkpoint saves."""

  def __init__(self, value=None):
    self.value = value

  def save(self):
    return self.value

  def load(self, value):
    self.value = value


def checkpoint(folder, **things):
  cp = checkpoints.Checkpoint(elements.Path(folder))
  for name, thing in things.items():
    setattr(cp, name, thing)
  return cp


def test_what_was_saved_is_loaded(tmp_path):
  data = {'params': {'a': np.arange(3.0)}, 'counters': {'updates': 7}}
  checkpoint(tmp_path, agent=Thing(data), step=Thing(5)).save()
  agent, step = Thing(), Thing()
  checkpoint(tmp_path, agent=agent, step=step).load(keys=['agent'])
  assert agent.value['counters'] == {'updates': 7} and step.value is None
  np.testing.assert_array_equal(agent.value['params']['a'], np.arange(3.0))
  agent.value['params']['a'][0] = 1  # It can be written, as the host's own is.


def test_a_clock_that_went_back_loses_nothing(tmp_path, monkeypatch):
  times = iter(['20300102T000000', '20300101T000000', '20300101T000001'])
  monkeypatch.setattr(elements.checkpoint.utils, 'timestamp', lambda millis: next(times))
  step = Thing(1)
  cp = checkpoint(tmp_path, step=step)
  for step.value in (1, 2, 3):
    cp.save()
    found = Thing()
    checkpoint(tmp_path, step=found).load()
    assert found.value == step.value
    assert len([x for x in tmp_path.iterdir() if x.is_dir()]) == 1


def test_loading_executes_nothing(tmp_path, owned):
  cp = checkpoint(tmp_path / 'ckpt', agent=Thing(3))
  cp.save()
  path = checkpoints.latest(tmp_path) / 'agent.pkl'
  path.write_bytes(pickle.dumps({'params': {'a': touch()}}))
  works(owned, elements.Checkpoint.load, cp)
  with pytest.raises(UserError, match='agent.pkl.*do not trust'):
    cp.load()
