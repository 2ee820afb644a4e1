"""With this folder in PYTHONPATH, reading an array of a CPU is forbidden as it is on a GPU.

JAX's transfer guard, which the host sets, stops `float(x)` and `np.asarray(x)` where x is on a GPU.
Arrays of a CPU are never copied, so that it lets them pass, and what would end on a GPU ends well here.
"""

import importlib.util
import sys

ARRAYS = 'jax._src.array'


class Finder:
  """Changes JAX's arrays as they are imported, in this process and in all that it starts."""

  def find_spec(self, name, path=None, target=None):
    if name != ARRAYS:
      return None
    sys.meta_path.remove(self)
    spec = importlib.util.find_spec(name)
    load = spec.loader.exec_module
    spec.loader.exec_module = lambda module: (load(module), forbid(module.ArrayImpl))
    return spec


def forbid(kind):
  import numpy as np
  value, asarray, array = kind._value, np.asarray, np.array

  def read(self):
    _check(self)
    self._npy_value = value.fget(self)  # Who has read it explicitly may read it again.
    return self._npy_value

  def checked(function):  # NumPy reads memory past `_value`.
    def read(*args, **kwargs):
      if args and isinstance(args[0], kind):
        _check(args[0])
      return function(*args, **kwargs)
    return read

  kind._value, kind.copy_to_host_async = property(read), lambda self: (read(self), None)[1]
  np.asarray, np.array = checked(asarray), checked(array)


def _check(array):
  from jax._src.lib import guard_lib
  here, everywhere = guard_lib.thread_local_state(), guard_lib.global_state()
  level = here.device_to_host or everywhere.device_to_host
  if array._npy_value is None and level and 'DISALLOW' in str(level) and not here.explicit_device_get:
    raise RuntimeError(f'Disallowed device-to-host transfer of {array.shape} {array.dtype}')


sys.meta_path.insert(0, Finder())
