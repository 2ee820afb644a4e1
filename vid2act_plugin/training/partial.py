"""The training of a small network that was interrupted, and continues."""

import json
import pathlib
import shutil
import time

import jax
import numpy as np

from ..common import progress
from ..common.errors import UserError, reading
from ..common.output import note, say
from ..teacher import stored
from . import resume

NAMES = 'partial.safetensors', 'partial.json'
PAUSE = 60.0  # Seconds between two savings.


def updated(training, title, folder, check=lambda: None):
  """Make all updates of a `training`, with progress, and return its result.

  training: has `params` and `state`, trees of arrays that decide with the number of an update what
  it does, `facts` of what is learned, `settings['updates']`, `seed`, `holdout`, and `result()`.
  folder: where it is kept about once a minute, at its end, and when `check` raises
  `resume.Stopped`, which it may after every update; what is there of the same training is continued.
  """
  folder, saved = pathlib.Path(folder), time.monotonic()
  number = _load(training, folder)
  with progress.bar(title, training.settings['updates'], 'updates') as bar:
    bar.set(number)
    while number < training.settings['updates']:
      loss = training(number)
      number += 1
      bar.advance()
      if number % 100 == 1:
        bar.text(f'error {float(jax.device_get(loss)):.3f}')
      try:
        check()
      except resume.Stopped:
        _save(training, folder, number)
        raise
      if time.monotonic() - saved > PAUSE:
        _save(training, folder, number)
        saved = time.monotonic()
  _save(training, folder, number)
  return training.result()


def discard(folder):
  """Remove what `updated` kept in `folder`, once what became of it is written."""
  shutil.rmtree(folder, ignore_errors=True)


def _facts(training):
  return json.loads(json.dumps([training.facts, training.seed, training.holdout]))


def _save(training, folder, number):
  with jax.transfer_guard('allow'):
    leaves = jax.device_get(jax.tree.leaves((training.params, training.state)))
  arrays = {str(i): np.asarray(x) for i, x in enumerate(leaves)}
  stored.write(folder, NAMES, arrays, dict(number=number, training=_facts(training)))


def _load(training, folder):
  """Continue what is kept in `folder`, if that is this training; returns its next update."""
  if not (folder / NAMES[1]).exists():
    return 0
  try:
    with reading(f'What was kept in {folder}', ''):
      arrays, facts = stored.read(folder, NAMES)
      number, leaves = facts['number'], jax.tree.leaves((training.params, training.state))
      if facts['training'] != _facts(training):
        note(f'Note: what was kept in {folder} is of other recordings or settings; it is learned anew.')
        return 0
      found = [arrays[str(i)] for i in range(len(leaves))]
      kinds = [(x.shape, x.dtype) for x in leaves]
      if [(x.shape, x.dtype) for x in found] != kinds or not 0 < number <= training.settings['updates']:
        raise ValueError('its tensors are not of this network')
  except UserError as e:
    note(f'Note: {e.code.removesuffix("; .")}; it is learned anew.')
    return 0
  tree = jax.tree.structure((training.params, training.state))
  with jax.transfer_guard('allow'):
    training.params, training.state = jax.tree.unflatten(tree, map(jax.numpy.asarray, found))
  say(f'Continued after update {number}.')
  return number
