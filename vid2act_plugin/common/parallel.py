"""Work at the same time: commands on cores of their own, or jobs in worker processes.

Workers start afresh instead of being forked: MuJoCo wants one renderer per process.
"""

import contextlib
import itertools
import math
import multiprocessing as mp
import os
import pathlib
import signal
import subprocess
import time
from multiprocessing import connection

from . import cgroups, lifeline
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
  cores, and of GPUs where there are several; more places than that share them.
  If the caller stops, commands that run get SIGTERM and are waited for; if it
  is killed, they get SIGTERM too.
  """
  cores, cards = sorted(os.sched_getaffinity(0)), gpus()
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
          some = dict(CUDA_VISIBLE_DEVICES=','.join(_share(cards, count, place))) if cards[1:] else {}
          running[name] = launch(commands[name], logs(name), some), place
          os.sched_setaffinity(running[name][0].pid, _share(cores, count, place))
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
    end([process for process, _ in running.values()])


def places(count, option='--jobs'):
  """Return how many commands run at once where `count` are asked for by an option; 0: one per core."""
  if count < 0:
    raise UserError(f'The option {option} is {count}; give a positive number, or 0 for one per core.')
  return count or cores()


def cores():
  """Return how many cores this process may use."""
  affinity = getattr(os, 'sched_getaffinity', None)  # Of Linux.
  count = len(affinity(0)) if affinity else os.cpu_count()
  return max(1, min([count, *(math.ceil(x) for x in cgroups.cores())]))


def gpus():
  """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them, without CUDA."""
  chosen = os.environ.get('CUDA_VISIBLE_DEVICES')
  if chosen is not None:
    return [*itertools.takewhile(lambda x: x.strip() not in ('', '-1'), chosen.split(','))]  # As CUDA reads it.
  return [str(i) for i in range(len([*pathlib.Path('/dev').glob('nvidia[0-9]*')]))]


def _share(things, count, place):
  each = len(things) // count
  return things[place * each: (place + 1) * each] if each else [things[place % len(things)]]


def launch(command, log, environ, cwd=None):
  """Start a command whose output goes to the end of the file `log`; it gets SIGTERM when we die."""
  log.parent.mkdir(parents=True, exist_ok=True)
  with open(log, 'a', encoding='utf-8') as file:
    return subprocess.Popen(
        lifeline.tied(command), stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=cwd,
        env={**os.environ, 'PYTHONUNBUFFERED': '1', **environ}, start_new_session=True)


def end(processes):
  """Ask processes to save and end, and wait for them."""
  for process in processes:
    process.send_signal(signal.SIGTERM)
  for process in processes:
    process.wait()


def run_jobs(kind, jobs, processes):
  """Yield (job, result) as jobs finish; `kind()` makes the function that runs them in a worker.

  job: a dict with a `name` and an `index` for messages. Raises a `UserError`
  that names the job if it fails or its process dies; then, or if the caller
  stops, the other workers are ended.
  """
  jobs, running = list(reversed(jobs)), {}
  pool = []
  try:
    with environ(**{k: os.environ.get(k) or v for k, v in THREADS.items()}):
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
  try:
    return taken(job, *pipe.recv())
  except (EOFError, OSError):
    raise died(job) from None


KEPT = 'complete episodes are kept, the same command continues'


def died(job, cure='fewer workers'):
  """Return the error of a job whose process is gone."""
  return UserError(
      f'{_where(job)} failed because its process was killed, for lack of memory perhaps: give {cure}; {KEPT}.')


def attempt(function, job):
  """Return (result, error) of a job; the error can be sent to another process."""
  try:
    return function(job), None
  except UserError as e:
    return None, e
  except Exception as e:
    return None, f'{type(e).__name__}: {e}'


def taken(job, result, error):
  """Return the result of an attempt, or raise its error, which names the job."""
  if isinstance(error, UserError):
    raise error
  if error:
    raise UserError(f'{_where(job)} failed with {error}; {KEPT} once the cause is mended.')
  return result


def _where(job):
  return f"Episode {job['index']} of the source '{job['name']}'"


def _work(kind, pipe):
  lifeline.follow()
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us.
  function = kind()
  with contextlib.suppress(EOFError, OSError):  # The parent is gone.
    while True:
      pipe.send(attempt(function, pipe.recv()))


@contextlib.contextmanager
def environ(**values):
  """Have other environment variables inside the block, also for libraries and children that read them there."""
  before = {k: os.environ.get(k) for k in values}
  os.environ.update(values)
  try:
    yield
  finally:
    for key, value in before.items():
      os.environ.pop(key) if value is None else os.environ.update({key: value})
