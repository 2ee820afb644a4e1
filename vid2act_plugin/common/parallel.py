"""Work at the same time: commands on cores of their own, or jobs in worker processes.

Workers start afresh instead of being forked: MuJoCo wants one renderer per process.
"""

import contextlib
import multiprocessing as mp
import os
import signal
import subprocess
import time
from multiprocessing import connection

from . import lifeline
from .errors import UserError

POLL = 1.0  # Seconds.
# One thread per worker: the workers themselves are what fills the cores. LP is the software
# renderer llvmpipe, which draws in the thread that calls it when told 0.
THREADS = {
    'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1',
    'LP_NUM_THREADS': '0'}


def run_commands(commands, count, logs, poll=lambda: None, needed=lambda name: True):
  """Run commands, `count` at once, and yield (name, status) as each ends.

  commands: `{name: [argument]}`. count: 0 is one per core. logs: function from
  a name to the file that gets the output. poll: called about every second.
  needed: function from a name to whether its command is to be started: True,
  False for not at all, None for not yet. Each place has the same number of
  cores; more places than cores share them. If the caller stops, commands that
  run get SIGTERM and are waited for; if it is killed, they get SIGTERM too.
  """
  cores = sorted(os.sched_getaffinity(0))
  count = min(places(count), max(1, len(commands)))
  waiting, running, free = list(commands), {}, list(range(count))
  try:
    while waiting or running:
      for name in list(waiting) if free else ():
        wanted = needed(name) if free else None
        if wanted is not None:
          waiting.remove(name)
        if wanted:
          place = free.pop(0)
          running[name] = _launch(commands[name], logs(name), _share(cores, count, place)), place
        elif wanted is False:
          yield name, 0
      time.sleep(POLL)
      poll()
      for name, (process, place) in list(running.items()):
        if process.poll() is not None:
          del running[name]
          free.append(place)
          yield name, process.returncode
  finally:
    for process, _ in running.values():
      process.send_signal(signal.SIGTERM)
    for process, _ in running.values():
      process.wait()


def places(count):
  """Return how many commands run at once where `count` are asked for; 0: one per core."""
  if count < 0:
    raise UserError(f'The option --jobs is {count}; give a positive number, or 0 for one per core.')
  return count or len(os.sched_getaffinity(0))


def _share(cores, count, place):
  each = len(cores) // count
  return cores[place * each: (place + 1) * each] if each else [cores[place % len(cores)]]


def _launch(command, log, cores):
  log.parent.mkdir(parents=True, exist_ok=True)
  with open(log, 'a', encoding='utf-8') as file:
    process = subprocess.Popen(
        lifeline.tied(command), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
        env={**os.environ, 'PYTHONUNBUFFERED': '1'}, start_new_session=True)
  os.sched_setaffinity(process.pid, cores)
  return process


def run_jobs(kind, jobs, processes):
  """Yield (job, result) as jobs finish; `kind()` makes the function that runs them in a worker.

  job: a dict with a `name` and an `index` for messages. Raises a `UserError`
  that names the job if it fails or its process dies; then, or if the caller
  stops, the other workers are ended.
  """
  jobs, running = list(reversed(jobs)), {}
  pool = []
  try:
    with _single_threaded():
      for _ in range(processes):
        pool.append(_start(kind))
    for _, pipe in pool:
      _give(pipe, jobs, running)
    while running:
      for pipe in connection.wait(list(running)):
        job = running.pop(pipe)
        result = _result(pipe, job)
        _give(pipe, jobs, running)
        yield job, result
  finally:
    for process, pipe in pool:
      pipe.close()
      process.terminate()
    for process, _ in pool:
      process.join()


def _start(kind):
  context = mp.get_context('spawn')
  ours, theirs = context.Pipe()
  process = context.Process(target=_work, args=(kind, theirs), daemon=True)
  process.start()
  theirs.close()  # So that a dead worker is the end of its pipe.
  return process, ours


def _give(pipe, jobs, running):
  if jobs:
    running[pipe] = jobs.pop()
    with contextlib.suppress(OSError):  # A dead worker is noticed when its result is read.
      pipe.send(running[pipe])


def _result(pipe, job):
  where = f"Episode {job['index']} of the source '{job['name']}'"
  kept = 'complete episodes are kept, the same command continues'
  try:
    result, error = pipe.recv()
  except (EOFError, OSError):
    raise UserError(
        f'{where} failed because its process was killed, for lack of memory perhaps: give fewer '
        f'workers; {kept}.') from None
  if isinstance(error, UserError):
    raise error
  if error:
    raise UserError(f'{where} failed with {error}; {kept} once the cause is mended.')
  return result


def _work(kind, pipe):
  lifeline.follow()
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us.
  function = kind()
  with contextlib.suppress(EOFError, OSError):  # The parent is gone.
    while True:
      job = pipe.recv()
      try:
        answer = function(job), None
      except UserError as e:
        answer = None, e
      except Exception as e:
        answer = None, f'{type(e).__name__}: {e}'
      pipe.send(answer)


@contextlib.contextmanager
def _single_threaded():
  # Libraries read these when they are imported, so the child has to inherit them.
  before = {k: os.environ.get(k) for k in THREADS}
  os.environ.update({k: before[k] or v for k, v in THREADS.items()})
  try:
    yield
  finally:
    for key, value in before.items():
      os.environ.pop(key) if value is None else os.environ.update({key: value})
