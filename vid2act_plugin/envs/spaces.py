"""What the environments of all suites give and take."""

import elements
import numpy as np


def observations(size, success=False, **vectors):
  """Return the spaces of `vectors`, an image of `size` (height, width), reward, flags and success."""
  space = elements.Space
  told = ('log/success', 'log/success_last') if success else ()
  return {
      **vectors,
      'image': space(np.uint8, (*size, 3)),
      'reward': space(np.float32),
      **{k: space(bool) for k in ('is_first', 'is_last', 'is_terminal')},
      **{k: space(np.float32) for k in told},
  }


def actions(shape):
  """Return the spaces of an action of that shape in [-1, 1], and of the wish to begin an episode."""
  return {'action': elements.Space(np.float32, shape, -1, 1), 'reset': elements.Space(bool)}
