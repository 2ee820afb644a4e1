"""What a model of others may claim of itself, in a run's configuration or a bundle's manifest."""

import math

LARGEST = 2 ** 16  # Of any size.
LAYERS = 64  # Of any number of layers, and of the numbers in a list.


def fault(config, path='agent'):
  """Return what in the configuration of a model no model has, in words; None if there is nothing.

  Whoever builds a model believes it: a million layers are made one by one.
  """
  if isinstance(config, dict):
    names = [x for x in config if not isinstance(x, str) or not x.isprintable() or '.' in x]
    if names:
      return f'{path} has the key {names[0]!r:.80}'
    return next(filter(None, (fault(v, f'{path}.{k}') for k, v in config.items())), None)
  values = config if isinstance(config, (list, tuple)) else [config]
  most = LAYERS if 'layers' in path.rsplit('.', 1)[-1] else LARGEST
  if not 0 < len(values) <= LAYERS or not all(_plain(x, most) for x in values):
    return f'{path} is {config!r:.80}'
  return None


def sizes(*values):
  """Say whether all these are whole numbers that a size can be."""
  return all(type(x) is int and 0 < x < LARGEST for x in values)


def _plain(value, most):
  if isinstance(value, str):
    return value.isprintable() and len(value) < 100
  return isinstance(value, (bool, int, float)) and math.isfinite(value) and abs(value) <= most
