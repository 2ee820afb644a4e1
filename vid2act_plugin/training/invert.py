"""Learn an inverse dynamics model from recordings with actions: what `vid2act label` does first."""

import jax.numpy as jnp

from ..common import progress
from ..host import internals
from ..teacher import inverting

SETTINGS = dict(updates=2000, batch_size=128, networks=3, channels=32, hidden=256, shift=1)
HOLDOUT = 0.1  # Share of each recording's episodes that errors are measured on.


def learn(data, settings, facts):
  """Return the `Inverse` of the recordings `data`, a `sources.Sources` as wide as their actions.

  settings: as `SETTINGS`. facts: more that is known of the recordings.
  """
  internals.compute_in(jnp.float32)
  training = inverting.Training(data, settings, facts)
  with progress.bar('learn which action leads on', settings['updates'], 'updates') as bar:
    for number in range(settings['updates']):
      loss = training(number)
      bar.advance()
      if number % 100 == 0:
        bar.text(f'error {float(loss):.3f}')
  return training.result()
