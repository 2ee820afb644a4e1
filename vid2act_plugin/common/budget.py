"""How much a file may claim: bytes, items and depth, by its own size and this machine's memory.

A few bytes can mean gigabytes: zeros that were compressed, a value that is
repeated, a part that many share. Whoever reads asks here before it allocates.
"""

import contextlib
import functools
import os
import resource

import numpy as np

from . import cgroups

FREE, USUAL = 2 ** 28, 100  # Bytes that any file may mean; larger ones, so many times their size.
FEW = 10_000  # Items that any file may hold; a larger one has a byte for each.
DEPTH = 20  # Levels; what is nested deeper exhausts the stack of whoever prints it.
SHARE = 0.8  # Of this machine's memory.
SPARE = 2 ** 29  # Bytes: with so much memory left, whoever asks for too much is to blame.
THREADS = 2 ** 28  # Bytes that libraries may take for threads and caches of their own.


class TooLarge(MemoryError):
  """What files hold is as it should be, and more than this machine's memory."""


class Budget:
  """What may be taken from files of `size` bytes in all.

  What is too much is a `ValueError` that says so; `TooLarge` if files of that
  size can mean it, but not on this machine. `taken` are the bytes that are kept
  so far. usual: how many times their size larger files may mean; None: `USUAL`.
  """

  def __init__(self, size, usual=None):
    self.size, self.taken = size, 0
    self.bytes, self.items = max(FREE, (usual or USUAL) * size), max(FEW, size)

  @classmethod
  def of(cls, *paths, usual=None):
    """Return the budget of files that are kept in memory together."""
    return cls(sum(os.path.getsize(x) for x in paths if os.path.isfile(x)), usual)

  def fits(self, size, what='it'):
    """Refuse `size` bytes, in memory beside those taken, that these files cannot mean."""
    total, have = self.taken + size, int(SHARE * memory())
    if total > self.bytes:
      raise ValueError(
          f'{what} claims {total:,} bytes, more than the {self.bytes:,} that a file of this size '
          'can mean')
    if total > have:
      raise TooLarge(f'{what} takes {total:,} bytes, more than the {have:,} to be had here')

  def take(self, size, what='it'):
    """Count `size` bytes as taken, or refuse them."""
    self.fits(size, what)
    self.taken += size

  def count(self, items, what='it'):
    """Refuse a number of items that these files cannot hold."""
    if items > self.items:
      raise ValueError(
          f'{what} claims {items:,} items, more than the {self.items:,} that a file of this size '
          'can hold')

  def measure(self, value, parts=None):
    """Refuse a value that is nested too deep, or too large were nothing in it shared.

    parts: function value -> its parts, None of a leaf; default: those of Python's containers.
    """
    items, size, _ = _measured(value, parts or _parts, {}, DEPTH)
    self.count(items, 'what is repeated in it')
    self.fits(size, 'what is repeated in it')


@functools.cache
def memory():
  """Return this machine's memory, or its container's limit, in bytes."""
  total = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  return min([total, *cgroups.memory()])


def ran_out(error):
  """Say whether an error means that memory ran out, rather than that a file claimed too much."""
  return any(isinstance(x, MemoryError) for x in (error, error.__cause__)) and _left() < SPARE


def fault(error):
  """Return what is said of an error where memory did not run out."""
  if isinstance(error, MemoryError) and not isinstance(error, TooLarge):
    return ValueError('it claims more memory than a file of this size can mean')
  return error


@contextlib.contextmanager
def capped(size):
  """Let this process take `size` bytes more and not the rest, where the system can do that.

  Libraries in other languages believe what a file claims, and raise a
  `MemoryError` or an error of their own where it is not to be had.
  """
  before = resource.getrlimit(resource.RLIMIT_DATA)
  try:
    used = _pages(5)
  except OSError:  # Another system, which does not say.
    yield
    return
  most = used + THREADS + int(min(size, SHARE * memory()))
  most = most if before[0] == resource.RLIM_INFINITY else min(most, before[0])
  resource.setrlimit(resource.RLIMIT_DATA, (most, before[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_DATA, before)


def _pages(field):
  """Return a field of `/proc/self/statm` in bytes: 0 the address space, 5 data and stacks."""
  with open('/proc/self/statm', encoding='utf-8') as file:
    return int(file.read().split()[field]) * resource.getpagesize()


def _left():
  """Return the bytes that are to be had, 0 where the system does not say; imports nothing."""
  try:
    with open('/proc/meminfo', encoding='utf-8') as file:
      known = dict(x.split(':') for x in file.read().splitlines())
    left = int(known['MemAvailable'].split()[0]) * 1024
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
      left = min(left, limit - _pages(0))
    return left
  except (OSError, KeyError, ValueError):
    return 0


def _parts(value):
  if isinstance(value, dict):
    return [*value.keys(), *value.values()]
  return value if isinstance(value, (list, tuple, set, frozenset)) else None


def _measured(value, parts, seen, left):
  """Return items, bytes and height of a value; what was seen before is not looked at again."""
  inner = parts(value)
  if inner is None:
    return 1, value.nbytes if isinstance(value, (np.ndarray, np.generic)) else 0, 0
  if left <= 0:
    raise ValueError(f'it is nested more than {DEPTH} times')
  if id(value) not in seen:
    items, size, height = 1, 0, 0
    for x in inner:
      more, bytes_, high = _measured(x, parts, seen, left - 1)
      items, size, height = items + more, size + bytes_, max(height, high + 1)
    seen[id(value)] = items, size, max(height, 1)
  if seen[id(value)][2] > left:
    raise ValueError(f'it is nested more than {DEPTH} times')
  return seen[id(value)]
