"""How much CPU time all tests take, beside those of an earlier commit.

    python -m bench.timings.suite BEFORE AFTER [--print]

BEFORE and AFTER are checkouts in which `make install` has run. Their tests run one
after the other, AFTER first, as `make test` runs them, each with a home folder of its
own, so that nothing compiled is found. CPU seconds, user and system, are those of pytest and of
every process below it. Results and table are written as by `bench.timings.run`; with
--print nothing is.
"""

import argparse
import contextlib
import ctypes
import os
import pathlib
import re
import resource
import subprocess
import tempfile
import threading
import time

from . import measure, run

AIM = 0.5
WORKERS = 2
SUBREAPER = 36  # Of prctl: a process whose parent has ended becomes our child, and counts.
GRACE = 10  # Seconds for such processes.
# Variables that would let one of the two find, or keep it from keeping, what the other does not.
CACHES = (
    'JAX_COMPILATION_CACHE_DIR', 'XDG_CACHE_HOME', 'PYTHONPATH', 'PYTHONDONTWRITEBYTECODE')


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('before', type=pathlib.Path)
  parser.add_argument('after', type=pathlib.Path)
  parser.add_argument('--print', action='store_true', help='write no file')
  args = parser.parse_args()
  folders = dict(before=args.before.resolve(), after=args.after.resolve())
  for folder in folders.values():
    if not _python(folder).exists():
      raise SystemExit(f'There is no {_python(folder)}; run `make install` in {folder}.')
  ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
  began = time.monotonic()
  found = {k: _tests(v) for k, v in reversed(folders.items())}
  cpu, wall, tests = zip(*(found[k] for k in folders))
  ratio = cpu[1] / cpu[0]
  pair = lambda values: dict(zip(folders, values))
  report = measure.report(
      ratio, AIM, dict(workers=WORKERS, cores=len(os.sched_getaffinity(0))),
      {k: [v] for k, v in pair(cpu).items()},
      cpu_seconds={**pair([round(x) for x in cpu]), 'ratio': round(ratio, 3)},
      wall_seconds=pair([round(x) for x in wall]), tests=pair(tests))
  if not args.print:
    run.keep('suite', report, began)


def _python(folder):
  return folder / '.venv' / 'bin' / 'python'


def _tests(folder):
  """Run the tests of a checkout; return their CPU seconds, the seconds, and pytest's last line."""
  used, began, line = _used(), time.monotonic(), ''
  with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
    environ = {**{k: v for k, v in os.environ.items() if k not in CACHES}, 'HOME': home}
    command = [_python(folder), '-m', 'pytest', '-n', str(WORKERS)]
    with subprocess.Popen(
        command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True) as process:
      threading.Thread(target=_adopt, args=(process,), daemon=True).start()
      for line in process.stdout:
        print(line, end='', flush=True)
    seconds = time.monotonic() - began
    _reap()
  print(f'{folder}: {_used() - used:.0f} CPU seconds in {seconds:.0f} s', flush=True)
  if process.returncode:
    raise SystemExit(f'Tests of {folder} fail, status {process.returncode}: the time says nothing.')
  return _used() - used, seconds, re.sub(r' in [\d.]+s.*|[= ]*$|^[= ]*', '', line.strip())


def _used():
  """Return the CPU seconds of all processes that were waited for."""
  usage = resource.getrusage(resource.RUSAGE_CHILDREN)
  return usage.ru_utime + usage.ru_stime


def _adopt(process):
  """Wait for orphans while `process` runs: who kills a whole group waits until none is left."""
  while process.returncode is None:
    found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found and found.si_pid != process.pid:
      os.waitpid(found.si_pid, 0)
    else:
      time.sleep(0.1)


def _reap():
  """Wait for a while for processes whose parents did not."""
  until = time.monotonic() + GRACE
  with contextlib.suppress(ChildProcessError):
    while time.monotonic() < until:
      if os.waitpid(-1, os.WNOHANG) == (0, 0):
        time.sleep(0.05)


if __name__ == '__main__':
  main()
