"""What the control groups of Linux leave this process: those of containers, and of jobs of a cluster.

A group has a folder, in version 2 one for all controllers, in version 1 one for each. A limit of any group around
ours holds for us. https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

import pathlib

ROOT, OURS = pathlib.Path('/sys/fs/cgroup'), pathlib.Path('/proc/self/cgroup')


def memory():
  """Yield the limits of memory in bytes."""
  for folder in _folders('memory'):
    for name in ('memory.max', 'memory.limit_in_bytes'):
      yield from _numbers(folder / name, 1)


def cores():
  """Yield the limits of processor time, in cores."""
  for folder in _folders('cpu'):
    for quota, period in _pairs(folder):
      if quota > 0 < period:  # -1 is no limit.
        yield quota / period


def _pairs(folder):
  if both := _numbers(folder / 'cpu.max', 2):
    yield both
  if both := [x for name in ('cpu.cfs_quota_us', 'cpu.cfs_period_us') for x in _numbers(folder / name, 1)]:
    yield both if both[1:] else (0, 1)


def _folders(controller):
  """Yield the folders of the groups around this process, of which some may not be seen from here."""
  try:
    lines = OURS.read_text(encoding='utf-8').splitlines()
  except (OSError, ValueError):
    lines = []
  found = {ROOT, ROOT / controller}
  for line in lines:
    _, names, path = f'{line}::'.split(':')[:3]
    top = ROOT / names if controller in names.split(',') else ROOT if not names else None
    here = pathlib.PurePosixPath(path.strip('/'))
    found.update(top / x for x in (here, *here.parents) if top and '..' not in here.parts)
  return sorted(found)


def _numbers(path, count):
  """Return the first whole numbers of a file, none if there is no such file, or no limit."""
  try:
    return [int(x) for x in path.read_text(encoding='utf-8').split()[:count]]
  except (OSError, ValueError):
    return []
