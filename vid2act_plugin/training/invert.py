"""Learn an inverse dynamics model from recordings with actions: what `vid2act label` does first."""

import jax.numpy as jnp

from ..host import internals
from ..teacher import inverting
from . import partial

# version: raise it when what was learned before is learned otherwise.
SETTINGS = dict(version=2, updates=2000, batch_size=128, networks=3, channels=32, hidden=256, shift=1)
HOLDOUT = 0.1  # Share of each recording's episodes that errors are measured on.


def learn(data, settings, facts, folder, check):
  """Return the `Inverse` of the recordings `data`, a `dataset.Sources` as wide as their actions.

  settings: as `SETTINGS`. facts: more that is known of the recordings. folder, check: see
  `partial.updated`.
  """
  internals.compute_in(jnp.float32)
  return partial.updated(
      inverting.Training(data, settings, facts), 'learn which action leads on', folder, check)
