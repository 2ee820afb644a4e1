"""Rewards and successes with values that are not finite: of a few episodes, or of most."""

import numpy as np

from ..common.output import say
from . import formats


def endless(arrays):
  """Return the keys of what need not be there and has values that are not finite."""
  return {k for k in formats.OPTIONAL if k in arrays and not np.isfinite(arrays[k]).all()}


def faults(facts):
  """Return `{name: sentence}` of episodes whose rewards are not finite, and drop them elsewhere.

  facts: `{name: (low, high, keys, keys that are not finite)}`. Where most episodes are so, it is
  how they were written, and a note says that all do without.
  """
  found = {}
  for key in formats.OPTIONAL:
    wrong = [k for k, v in facts.items() if key in v[3]]
    if 2 * len(wrong) > len(facts):
      say(f'Note: {key} is left out, for {len(wrong)} of {len(facts)} episodes have values of it '
          'that are empty or not finite; to use it, mend them, or name another column with '
          f'--key {key}=NAME.')
      for _, _, have, _ in facts.values():
        have.discard(key)
      continue
    found.update({k: (
        f'The episode {k} has values of {key} that are not finite; mend them, or leave {key} '
        f'out of all with --key {key}= (in vid2act.sources: PATH#{key}=).') for k in wrong})
  return found
