"""The parameters of a small network and what is known of it: two files that belong together."""

import json
import pathlib

import numpy as np
from safetensors.numpy import load, save

from ..common import files


def write(folder, names, params, facts):
  """Write `{name: array}` and facts as the files `names` at once: `folder` is absent or complete."""
  tensors, about = names
  with files.atomic_folder(pathlib.Path(folder), names) as made:
    (made / tensors).write_bytes(content(params))
    (made / about).write_text(json.dumps(
        {**facts, 'hash': files.sha256(made / tensors)}, indent=1), encoding='utf-8')


def content(params):
  """Return the bytes as which `{name: array}` is written, the same in every file."""
  # Not save_file, which tells of a full disk by an error of its own.
  return save({k: np.asarray(v, order='C') for k, v in params.items()})


def read(folder, names):
  """Return parameters and facts that `write` wrote; an error says which file is not as it was."""
  tensors, about = names
  facts = files.parse(pathlib.Path(folder), about)
  path = files.regular_file(pathlib.Path(folder), tensors)
  if facts.pop('hash') != files.sha256(path):
    raise ValueError(f'{tensors} is not as it was written')
  return load(path.read_bytes()), facts


def shapes(initial):
  """Return `{name: shape}` of what the function `initial` would return; nothing is computed."""
  import jax
  return {k: tuple(v.shape) for k, v in jax.eval_shape(initial).items()}


def fitting(params, wanted):
  """Return the parameters that a network of these shapes has; a ValueError names the first amiss."""
  for name, shape in wanted.items():
    have = params.get(name)
    if have is None or have.shape != shape or have.dtype != np.float32 or not (
        np.isfinite(have).all()):
      raise ValueError(f'its tensor {name} is not finite float32 of shape {list(shape)}')
  return {k: params[k] for k in wanted}
