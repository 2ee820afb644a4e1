"""Small plays in which the image shows what was done and when."""

import numpy as np
import pytest

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import formats

LENGTHS = (7, 5, 6)


def play(index, T):
  """Return grey levels and what is received after each of T rows; the first action is the level."""
  level = 20 + 40 * index + 5 * np.arange(T)
  return dict(
      level=level, action=np.stack([level / 255, np.full(T, index)], 1).astype(np.float32),
      reward=np.arange(1, T + 1) / 10, success=np.arange(T) == T - 1)


def read(path, **keys):
  _, module = formats.find(path)
  found = [load() for _, load in module.episodes(path, {'keys': keys, 'task': ['*']})]
  return [(np.stack(list(x.frames)), x.arrays) for x in found]


def refuse(function, *words):
  with pytest.raises(UserError) as e:
    function()
  sentence = str(e.value)
  assert all(x in sentence for x in words), sentence
  assert sentence.endswith('.') and '\n' not in sentence
  return sentence
