"""Checkpoints of others, read without executing anything in them."""

import math
import mmap
import pathlib
import pickle
import re
import reprlib

import ml_dtypes
import numpy as np

from . import files
from .budget import Budget
from .errors import UserError, reason

# What containers, numbers, strings and arrays are written with: no opcode for any other object.
OPCODES = (
    'PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT '
    'SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 EMPTY_TUPLE TUPLE1 '
    'TUPLE2 TUPLE3 TUPLE EMPTY_LIST APPEND APPENDS EMPTY_DICT MEMOIZE BINPUT LONG_BINPUT BINGET '
    'LONG_BINGET GLOBAL STACK_GLOBAL REDUCE').split()
NUMBERS = re.compile(r'[<=|]?[biufc][0-9]{1,2}')  # Data types without objects, fields or a size.


def load(path):
  """Return what the pickle at `path` holds: builtin containers, numbers, strings and arrays.

  Raises a `UserError` that names the file if it cannot be read, or refers to
  anything else; that is then neither imported nor called.
  """
  path = pathlib.Path(path)
  try:
    # Mapped, so that a length beyond the end of the file allocates nothing.
    with files.regular(path).open('rb') as f, (
        mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)) as content:
      limit = Budget.of(path)
      value = _Unpickler(content, limit).load()
      limit.measure(value)
      return value
  except UserError as e:
    raise UserError(
        f'The checkpoint {path} {e}; a checkpoint of DreamerV3 holds arrays alone, so do not trust '
        'this file.') from e
  except Exception as e:  # A damaged pickle can raise nearly any error.
    raise UserError(
        f'The checkpoint {path} is damaged ({reason(e)}); copy it again.') from e


class _Unpickler(pickle._Unpickler):
  # NumPy's own functions trust what a pickle tells them, pointers to objects and sizes included;
  # and the unpickler in C allocates as much as a file of a few bytes asks for.

  dispatch = {getattr(pickle, x)[0]: pickle._Unpickler.dispatch[getattr(pickle, x)[0]]
              for x in OPCODES}

  def __init__(self, content, limit):
    super().__init__(content)
    self.limit = limit

  def find_class(self, module, name):
    if (module, name) not in ADMITTED:
      raise UserError(f"refers to {f'{module}.{name}'!r}")
    return ADMITTED[module, name]

  def load_bytes(self):
    self.append(bytearray(self.read(int.from_bytes(self.read(8), 'little'))))
  dispatch[pickle.BYTEARRAY8[0]] = load_bytes

  def load_item(self):
    value, key = self.stack.pop(), self.stack.pop()
    self.fill(self.stack[-1], [key, value])
  dispatch[pickle.SETITEM[0]] = load_item

  def load_items(self):
    items = self.pop_mark()
    self.fill(self.stack[-1], items)
  dispatch[pickle.SETITEMS[0]] = load_items

  def fill(self, target, items):
    # To hash tuples of tuples can take for ever.
    if type(target) is not dict or not all(isinstance(x, (str, int)) for x in items[::2]):
      raise UserError('has keys that are neither words nor numbers')
    target.update(zip(items[::2], items[1::2], strict=True))

  def load_build(self):
    state, made = self.stack.pop(), self.stack[-1]
    if isinstance(made, np.dtype):
      if state[1] not in ('<', '=', '|'):
        raise UserError('has arrays whose bytes are in another order')
      return
    if type(made) is not np.ndarray:
      raise UserError(f'sets the state of a {type(made).__name__}')
    _, shape, dtype, fortran, content = state
    # To compare tuples of tuples can take for ever, and what many share is copied for each.
    if not all(type(x) is int for x in shape):
      raise UserError('has an array without a shape')
    _plain(content)
    if made.size:  # What other arrays look into would be freed.
      raise UserError('sets the content of an array twice')
    self.limit.take(len(content), 'an array')
    if min(shape, default=0) < 0 or math.prod(shape) * _numbers(dtype).itemsize != len(content):
      raise UserError('has an array whose shape is not that of its content')
    made.__setstate__((1, shape, dtype, bool(fortran), bytes(content)))
  dispatch[pickle.BUILD[0]] = load_build


def _dtype(code, align=False, copy=False):
  if not isinstance(code, type) and not (isinstance(code, str) and NUMBERS.fullmatch(code)):
    raise UserError(f'has arrays of the type {reprlib.repr(code)}')
  return np.dtype(code)


def _numbers(dtype):
  if not isinstance(dtype, np.dtype):
    raise UserError(f'has an array of the type {reprlib.repr(dtype)}')
  return dtype


def _plain(content):
  if type(content) not in (bytes, bytearray):  # NumPy takes whatever has a buffer, an array that is still to be set, too.
    raise UserError('has an array without content')
  return content


def _reconstruct(kind, shape, code):
  return np.empty(0, np.uint8)  # Its state follows.


def _frombuffer(content, dtype, shape, order, axes=None):
  array = np.frombuffer(_plain(content), _numbers(dtype))
  if order == 'K' and axes is not None:
    return array.reshape(shape).transpose(axes)
  return array.reshape(shape, order=order)


def _scalar(dtype, content):
  return np.frombuffer(_plain(content), _numbers(dtype), 1)[0]


def _ordered():
  return {}


# What arrays and NumPy scalars are rebuilt from, under the names of NumPy 1 and 2, and by whom.
ADMITTED = {
    ('numpy', 'ndarray'): 'ndarray', ('numpy', 'dtype'): _dtype,
    ('collections', 'OrderedDict'): _ordered,
    **{(f'numpy.{core}.{module}', name): function for core in ('core', '_core') for (
        module, name, function) in (
            ('multiarray', '_reconstruct', _reconstruct), ('multiarray', 'scalar', _scalar),
            ('numeric', '_frombuffer', _frombuffer))},
    **{('ml_dtypes', x): getattr(ml_dtypes, x) for x in (
        'bfloat16', 'float8_e4m3fn', 'float8_e5m2')}}
