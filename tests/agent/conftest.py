import elements
import numpy as np
import pytest
from helpers.method import CONTEXT, B, N, T, normal, rng

from vid2act_plugin.agent import agent
from vid2act_plugin.teacher import bundle as bundles


@pytest.fixture(scope='module')
def build(configure, spaces, bundle):
  """Return a function changes -> our agent without the host's compiled shell."""
  def fn(**changes):
    config = configure('vid2act', **{
        'vid2act.teacher': str(bundle), 'agent.vid2act.share': 1.0, **changes})
    keys = 'batch_size', 'batch_length', 'replay_context', 'report_length'
    kind = type('Agent', (agent.Agent,), {'bundle': bundles.load(bundle)})
    model = object.__new__(kind)
    model.__init__(*spaces, elements.Config(
        **config.agent, logdir='', seed=0, jax=config.jax, **{k: config[k] for k in keys}))
    return model
  return fn


@pytest.fixture(scope='module')
def ext():
  rows = B, T + CONTEXT, 4
  return {
      'teacher/row': np.zeros((B, T + CONTEXT), np.int32),
      'teacher/deter': normal(B, T + CONTEXT, N, 16),
      'teacher/stoch': rng.integers(0, 4, (B, T + CONTEXT, N, 4)).astype(np.uint8),
      'memory/deter': normal(*rows, 16).astype(np.float16),
      'memory/stoch': rng.integers(0, 4, (*rows, 4)).astype(np.uint8),
      'memory/action': rng.uniform(-1, 1, (*rows, 16)).astype(np.float32),
      'memory/source': rng.integers(0, N, rows).astype(np.int32)}
