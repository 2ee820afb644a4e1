"""Commands that are killed: all of their processes, or the parent alone, and a clock that goes back."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import psutil

LIMIT = 900  # Seconds that a command may take.
PATIENCE = 60  # Seconds in which children have to end when their parent is gone.
MARK = 'VID2ACT_CHAOS'  # The variable that all processes of a job have.
CLOCK = pathlib.Path(__file__).with_name('clock')


def run(command, log, moment=LIMIT, before=lambda: None, alone=False, back=0):
  """Run a command and return its status; None if it was killed after `moment` seconds.

  alone: its children are left to themselves. back: seconds that the clock of all
  its processes is behind. log: gets the output, and is the mark of the processes.
  """
  paths = [str(CLOCK), *os.environ.get('PYTHONPATH', '').split(os.pathsep)]
  env = {
      'JAX_PLATFORMS': 'cpu', **os.environ, MARK: str(log), 'VID2ACT_CHAOS_CLOCK': str(back),
      'PYTHONPATH': os.pathsep.join(x for x in paths if x),
      'JAX_COMPILATION_CACHE_DIR': str(log.parent.parent / 'xla')}
  with open(log, 'a') as file:
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], stdout=file, stderr=file, env=env,
        start_new_session=True)
  try:
    return process.wait(moment)
  except subprocess.TimeoutExpired:
    before()
    if not alone:
      os.killpg(process.pid, signal.SIGKILL)
      end(log)
    process.kill()
    process.wait()
  except BaseException:
    end(log)
    raise


def marked(log):
  """Return the processes of a job that are alive."""
  found = []
  for process in psutil.process_iter():
    with contextlib.suppress(psutil.Error):  # It is gone, or not ours.
      if process.environ().get(MARK) == str(log):
        found.append(process)
  return found


def end(log):
  """Kill all processes of a job."""
  while found := marked(log):
    for process in found:
      with contextlib.suppress(psutil.Error):
        process.kill()
    psutil.wait_procs(found, 1)


def left(log, patience=PATIENCE):
  """Return which processes of a job do not end by themselves, in words; they are ended."""
  until = time.monotonic() + patience
  while (found := marked(log)) and time.monotonic() < until:
    time.sleep(0.2)
  words = []
  for process in found:
    with contextlib.suppress(psutil.Error):
      words.append(f"process {process.pid}, {' '.join(process.cmdline())[:200]}")
  end(log)
  return words
