"""Behaviours of random weights, which differ from each other and from image to image."""

import numpy as np

from vid2act_plugin.teacher import behaviours

FACTS = dict(
    sources=['one', 'two', 'three'], act_sizes=[3, 2, 3], act_width=16, image=[16, 16, 3], env={},
    recordings='none', error=[0.1] * 3, success=[None] * 3, settings=dict(
        updates=1, batch_size=1, frames=2, shift=0, channels=4, hidden=8, episodes=0))


def make(draw=0, **facts):
  """Return `Behaviours` with the `FACTS`, some of which may be others; draw: which random weights."""
  rng, facts = np.random.default_rng(draw), {**FACTS, **facts}
  return behaviours.Behaviours({
      k: (0.5 * rng.normal(size=v)).astype(np.float32) for k, v in behaviours.shapes(facts).items()}, facts)
