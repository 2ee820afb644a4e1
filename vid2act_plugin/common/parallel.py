"""Commands at the same time, each on cores of its own."""

import os
import signal
import subprocess
import time

from .errors import UserError

POLL = 1.0  # Seconds.


def run(commands, count, logs, poll=lambda: None):
  """Run commands, `count` at once, and yield (name, status) as each ends.

  commands: `{name: [argument]}`. count: 0 is one per core. logs: function from
  a name to the file that gets the output. poll: called about every second.
  Each place has the same number of cores; more places than cores share them. If
  the caller stops, commands that run get SIGTERM and are waited for.
  """
  cores = sorted(os.sched_getaffinity(0))
  count = min(places(count), max(1, len(commands)))
  waiting, running, free = list(commands), {}, list(range(count))
  try:
    while waiting or running:
      while waiting and free:
        name, place = waiting.pop(0), free.pop(0)
        running[name] = _start(commands[name], logs(name), _share(cores, count, place)), place
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


def _start(command, log, cores):
  log.parent.mkdir(parents=True, exist_ok=True)
  with open(log, 'a') as file:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
        env={**os.environ, 'PYTHONUNBUFFERED': '1'}, start_new_session=True)
  os.sched_setaffinity(process.pid, cores)
  return process
