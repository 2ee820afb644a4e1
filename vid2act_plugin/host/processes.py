"""Several processes with one agent, by JAX's distributed runtime: who writes, and what they tell each other.

Each has its devices and its share of every batch, and makes every update at the same time as the
others. The first one writes; the others have a folder of their own for what they need themselves.
"""

import atexit
import contextlib
import json
import os
import pathlib
import re
import sys

import jax
import numpy as np
from jax.experimental import multihost_utils

from ..common.errors import UserError, differences, reason
from . import checkpoints

# Settings of a process by itself.
ALONE = {'jax.num_processes': 1, 'jax.process_id': -1, 'jax.coordinator_address': ''}
OWN = re.compile(r'jax\.process_id|logdir|vid2act\.(cache|teacher|cloned|recordings|seconds\..*)')  # May differ.
LOST = re.compile('Gloo|NCCL|CoordinationService')  # In what JAX says where another process has gone.
ROOM = 512  # Bytes of what a process says at a time; what is longer goes through `spread`.
PART = 1 << 26  # Bytes that are spread at once. Each power of two below is compiled once.


def alone(config):
  return config.jax.num_processes < 2


def writes(config):
  """Say whether this process is the one that writes."""
  return alone(config) or config.jax.process_id == 0


def home(config):
  """Return the folder of the run, in which the first process writes."""
  logdir = pathlib.Path(config.logdir).expanduser()
  return logdir if writes(config) else logdir.parent


def size(config, batch):
  """Return how many of a batch's sequences this process has."""
  return batch // config.jax.num_processes


def share(batch, config):
  """Return this process's part of a batch `[B, ...]`, which its devices compute."""
  each = size(config, len(next(iter(batch.values()))))
  first = max(0, config.jax.process_id) * each
  return {k: v[first: first + each] for k, v in batch.items()}


def exchange(said):
  """Return what every process says, in their order; in all of them at the same time.

  said: what JSON can hold, in at most `ROOM` bytes.
  """
  block, text = np.zeros(ROOM, np.uint8), json.dumps(said).encode()
  block[:len(text)] = np.frombuffer(text, np.uint8)
  with jax.transfer_guard('allow'):
    found = multihost_utils.process_allgather(block)
  return [json.loads(x.tobytes().rstrip(b'\0')) for x in found]


def most(value):
  """Return the greatest of what the processes say, in all of them at the same time."""
  return value if jax.process_count() < 2 else max(exchange(value))


def spread(content, size):
  """Return the `size` bytes `content` of the first process, in all of them at the same time."""
  parts = []
  for start in range(0, size, PART):
    part = content[start: start + PART]
    block = np.zeros(1 << (min(PART, size - start) - 1).bit_length(), np.uint8)
    block[:len(part)] = np.frombuffer(part, np.uint8)
    with jax.transfer_guard('allow'):
      parts.append(multihost_utils.broadcast_one_to_all(block).tobytes())
  return b''.join(parts)[:size]


def gather(tree):
  """Return arrays `[B / P, ...]` of P processes as `[B, ...]`, in all of them at the same time."""
  with jax.transfer_guard('allow'):
    return multihost_utils.process_allgather(tree, tiled=True)


def fetch(tree):
  """Return arrays of the devices of all processes as NumPy's, in all of them at the same time."""
  return jax.device_get(tree) if jax.process_count() < 2 else gather(tree)


def agree(config, **content):
  """Raise a `UserError` unless this process has the settings of the first, and its `content`, from a key to a hash."""
  if alone(config):
    return
  mine = json.loads(json.dumps({**{k: v for k, v in config.flat.items() if not OWN.fullmatch(k)}, **content}))
  text = json.dumps(mine).encode()
  first = json.loads(spread(text if writes(config) else b'', exchange(len(text))[0]))
  other = [k for k in mine if first.get(k) != mine[k]]
  if other:
    shown = differences(other, mine, 'there', first)
    raise UserError(
        f'The process {config.jax.process_id} was begun with other settings than the first one of its run: {shown}; '
        'begin all with the same.')


@contextlib.contextmanager
def linked(config):
  """Let a process that fails inside end at once, and raise a `UserError` where another one has ended.

  JAX's own end waits minutes for all processes, of which one may wait for what we have not sent.
  """
  try:
    yield
  except BaseException as e:
    if alone(config) or type(e) is SystemExit:  # All end so, together.
      raise
    abandon()
    if isinstance(e, UserError) and not e.__cause__ or not LOST.search(f'{e} {e.__cause__}'):
      raise
    raise UserError(
        f'Another process of this run has ended ({reason(e)}); its own messages say why. Repeat the command of '
        'each to continue from the last checkpoint.') from e


_abandoned = []


def abandon():
  """Let this process, once it ends, do so with status 1 and without waiting for others."""
  _abandoned.append(True)


@atexit.register  # Comes after all that is registered later, and before what JAX has registered.
def _end():
  if _abandoned:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


class Reader(checkpoints.Checkpoint):
  """A run's checkpoint in a process that does not write it."""

  def save(self):
    self._saveables['agent'].save()  # What is on the devices of all is gathered by all.
