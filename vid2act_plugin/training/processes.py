"""Several processes with one agent, by JAX's distributed runtime: who writes, and what they agree on.

Each has its devices and its share of every batch, and makes every update at the same time as the
others. The first one writes; the others have a folder of their own for what they need themselves.
"""

import pathlib

import jax
import numpy as np
from jax.experimental import multihost_utils

from ..host import checkpoints


def alone(config):
  return config.jax.num_processes < 2


def writes(config):
  """Say whether this process is the one that writes."""
  return alone(config) or config.jax.process_id == 0


def home(config):
  """Return the folder of the run, in which the first process writes."""
  logdir = pathlib.Path(config.logdir).expanduser()
  return logdir if writes(config) else logdir.parent


def size(config):
  """Return how many sequences of a pretraining batch this process has."""
  return config.vid2act.pretrain.batch_size // config.jax.num_processes


def share(batch, config):
  """Return this process's part of a batch `[B, ...]`; nothing else of it comes to its devices."""
  index, count = max(0, config.jax.process_id), config.jax.num_processes
  each = len(next(iter(batch.values()))) // count
  return {k: v[index * each: (index + 1) * each] for k, v in batch.items()}


def most(value):
  """Return the greatest of what the processes say, in all of them at the same time."""
  if jax.process_count() < 2:
    return value
  with jax.transfer_guard('allow'):
    return int(multihost_utils.process_allgather(np.int32(value)).max())


class Reader(checkpoints.Checkpoint):
  """A run's checkpoint in a process that does not write it."""

  def save(self):
    self._saveables['agent'].save()  # What is on the devices of all is gathered by all.
