"""No process outlives the one that started it, however that ended."""

import os
import subprocess
import sys
import threading

import psutil
import pytest
from helpers import orphans

from vid2act_plugin.common import lifeline

START = '''
import subprocess, sys, time
from vid2act_plugin.common import lifeline
subprocess.Popen(lifeline.tied([sys.executable, '-c', sys.argv[1], *sys.argv[2:]]))
time.sleep(60)
'''
SAVE = '''
import pathlib, signal, sys, time
def save(*_): pathlib.Path(sys.argv[1]).write_text('saved'); sys.exit()
signal.signal(signal.SIGTERM, save)
print('up', flush=True)
time.sleep(60)
'''
POOL = f'import sys; sys.path.insert(0, {str(orphans.TESTS)!r})' + '''
from helpers import orphans
from vid2act_plugin.common import parallel
jobs = [dict(name='a', index=i) for i in range(2)]
list(parallel.run_jobs(orphans.Busy, jobs, 2))
'''


def test_a_command_is_asked_to_save_when_its_parent_is_killed(tmp_path):
  _, children = orphans.killed(START, SAVE, tmp_path / 'saved')
  assert len(children) == 1 and orphans.gone(children)
  assert (tmp_path / 'saved').read_text() == 'saved'


def test_a_parent_that_died_before_is_noticed(tmp_path):
  command = lifeline.tied([sys.executable, '-c', 'open("made", "w")'])
  command[command.index(str(os.getpid()))] = '1'
  done = subprocess.run(command, cwd=tmp_path, capture_output=True)
  assert done.returncode == 143 and not list(tmp_path.iterdir())


def test_a_command_keeps_its_status_and_arguments():
  code = 'import os, sys; print(sys.argv[1:], sys.flags.isolated, os.getppid()); sys.exit(3)'
  done = subprocess.run(
      lifeline.tied([sys.executable, '-c', code, 'a b', '']), capture_output=True, text=True)
  assert (done.returncode, done.stdout) == (3, f"['a b', ''] 0 {os.getpid()}\n")


def test_another_thread_cannot_start_one():
  """The system would end the command together with the thread."""
  found = []
  def start():
    with pytest.raises(AssertionError):
      lifeline.tied(['true'])
    found.append(True)
  thread = threading.Thread(target=start)
  thread.start()
  thread.join()
  assert found


def test_busy_workers_end_with_their_parent():
  said, children = orphans.killed(POOL, lines=2)
  assert {int(x) for x in said} <= {x.pid for x in children}
  assert orphans.gone(children, 10)


def test_a_worker_of_a_living_parent_goes_on():
  code = POOL.replace('list(', 'next(')
  process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
  worker = psutil.Process(int(process.stdout.readline()))
  with pytest.raises(psutil.TimeoutExpired):
    worker.wait(1)
  process.kill()
  process.wait()
  process.stdout.close()
  assert orphans.gone([worker], 10)
