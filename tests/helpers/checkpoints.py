"""Checkpoints as the host writes them, and what an agent holds."""

import elements
import numpy as np


def save(agent, folder):
  """Write a checkpoint as the host does, and return its folder."""
  cp = elements.Checkpoint(elements.Path(folder) / 'ckpt')
  cp.agent, cp.step = agent, elements.Counter(7)
  cp.save()
  return cp.latest()


def params(agent):
  return {k: np.array(v) for k, v in agent.save()['params'].items()}
