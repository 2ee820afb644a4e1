"""Two processes that need the same."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from vid2act_plugin.common import lock
from vid2act_plugin.common.errors import UserError

HOLD = '''
import sys, time
from vid2act_plugin.common import lock
with lock.locked(sys.argv[1]):
  print('held', time.monotonic(), flush=True)
  sys.stdin.read()
  print('left', time.monotonic(), flush=True)
'''


def hold(folder):
  """Start a process that holds a lock until its input is closed."""
  return subprocess.Popen(
      [sys.executable, '-c', HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line(process, words):
  """Return the next line of a process that has `words`; it is killed if none comes."""
  timer = threading.Timer(60, process.kill)
  timer.start()
  found = next((x for x in process.stdout if words in x), None)
  timer.cancel()
  assert found is not None, words
  return found


def holding(folder):
  process = hold(folder)
  line(process, 'held')
  return process


def release(process):
  process.stdin.close()
  assert process.wait(60) == 0


def test_the_second_waits_and_says_for_whom(tmp_path):
  first = holding(tmp_path)
  second = hold(tmp_path)
  line(second, f'waiting for process {first.pid}')
  release(first)
  left, held = (float(x.split()[1]) for x in (line(first, 'left'), line(second, 'held')))
  assert left <= held
  release(second)


def test_a_dead_owner_holds_nothing(tmp_path):
  first = holding(tmp_path)
  first.send_signal(signal.SIGKILL)
  first.wait()
  with lock.locked(tmp_path, wait=False):
    assert str(os.getpid()) in (tmp_path / lock.FILE).read_text()


def test_without_waiting(tmp_path):
  first = holding(tmp_path)
  with pytest.raises(UserError, match=f'{tmp_path} is in use by process {first.pid}'):
    with lock.locked(tmp_path, wait=False):
      pass
  first.kill()
  first.wait()


def test_a_folder_that_cannot_be_made(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='file/inside cannot be written .*; it is a file, or lies in one: name another.$'):
    with lock.locked(tmp_path / 'file' / 'inside'):
      pass


def test_who_waits_is_told_of_the_next_owner(tmp_path):
  # Which of those who wait is the next is not for us to say.
  first = holding(tmp_path)
  others = [hold(tmp_path) for _ in range(2)]
  for process in others:
    line(process, f'waiting for process {first.pid} on')
  release(first)
  until = time.monotonic() + 60
  while not (taken := [x for x in others if f'process {x.pid} on' in (lock.owner(tmp_path) or '')]):
    assert time.monotonic() < until
    time.sleep(0.05)
  [second] = taken
  [third] = (x for x in others if x is not second)
  line(third, f'waiting for process {second.pid} on')
  release(second)
  line(third, 'held')
  release(third)


def test_one_that_is_just_going_is_waited_for(tmp_path):
  first = holding(tmp_path)
  assert f'process {first.pid} on' in lock.owner(tmp_path)
  timer = threading.Timer(lock.GRACE / 4, first.stdin.close)
  timer.start()
  with lock.locked(tmp_path, wait=False):
    assert first.wait(60) == 0 and str(os.getpid()) in lock.owner(tmp_path)
  assert lock.owner(tmp_path) is None and lock.owner(tmp_path / 'absent') is None
