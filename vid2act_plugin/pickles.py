"""Checkpoints of others, read without executing anything in them."""

import pathlib
import pickle

from .errors import UserError

# What arrays and NumPy scalars are rebuilt from, under the names of NumPy 1 and 2.
ADMITTED = {
    ('numpy', 'ndarray'), ('numpy', 'dtype'), ('collections', 'OrderedDict'),
    *((f'numpy.{core}.{module}', name) for core in ('core', '_core') for module, name in (
        ('multiarray', '_reconstruct'), ('multiarray', 'scalar'), ('numeric', '_frombuffer'))),
    *(('ml_dtypes', x) for x in ('bfloat16', 'float8_e4m3fn', 'float8_e5m2'))}


def load(path):
  """Return what the pickle at `path` holds: builtin containers, numbers, strings and arrays.

  Raises a `UserError` that names the file if it cannot be read, or refers to
  anything else; that is then neither imported nor called.
  """
  path = pathlib.Path(path)
  try:
    with path.open('rb') as f:
      return _Unpickler(f).load()
  except UserError as e:
    raise UserError(
        f'The checkpoint {path} {e}; a checkpoint of DreamerV3 holds arrays alone, so do not trust '
        'this file.') from e
  except Exception as e:  # A damaged pickle can raise nearly any error.
    raise UserError(
        f"The checkpoint {path} is damaged ({type(e).__name__}: {' '.join(str(e).split())}); copy "
        'it again.') from e


class _Unpickler(pickle.Unpickler):

  def find_class(self, module, name):
    if (module, name) not in ADMITTED:
      raise UserError(f"refers to '{module}.{name}'")
    return super().find_class(module, name)
