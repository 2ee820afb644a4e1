"""Two processes that need the same."""

import os
import signal
import subprocess
import sys
import time

import pytest

from vid2act_plugin.common import lock
from vid2act_plugin.common.errors import UserError

HOLD = '''
import sys, time
from vid2act_plugin.common import lock
with lock.locked(sys.argv[1]):
  print('held', flush=True)
  time.sleep(float(sys.argv[2]))
'''


def hold(folder, seconds):
  return subprocess.Popen(
      [sys.executable, '-c', HOLD, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True)


def test_the_second_waits_and_says_for_whom(tmp_path):
  first = hold(tmp_path, 3)
  assert first.stdout.readline() == 'held\n'
  second = hold(tmp_path, 0)
  output, _ = second.communicate(timeout=30)
  assert first.poll() == 0  # It was through before.
  assert f'waiting for process {first.pid}' in output and 'held' in output


def test_a_dead_owner_holds_nothing(tmp_path):
  first = hold(tmp_path, 60)
  first.stdout.readline()
  first.send_signal(signal.SIGKILL)
  first.wait()
  began = time.monotonic()
  with lock.locked(tmp_path, wait=False):
    assert time.monotonic() - began < 5
    assert str(os.getpid()) in (tmp_path / lock.FILE).read_text()


def test_without_waiting(tmp_path):
  first = hold(tmp_path, 60)
  first.stdout.readline()
  with pytest.raises(UserError, match=f'{tmp_path} is in use by process {first.pid}'):
    with lock.locked(tmp_path, wait=False):
      pass
  first.kill()
  first.wait()


def test_a_folder_that_cannot_be_made(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='file/inside cannot be written'):
    with lock.locked(tmp_path / 'file' / 'inside'):
      pass


def test_who_waits_is_told_of_the_next_owner(tmp_path):
  # Which of those who wait is the next is not for us to say.
  first = hold(tmp_path, 1)
  first.stdout.readline()
  others = [hold(tmp_path, 2) for _ in range(2)]
  outputs = [x.communicate(timeout=30)[0] for x in others]
  assert all(f'waiting for process {first.pid} on' in x for x in outputs)
  told = [f'waiting for process {b.pid} on' in x for x, b in zip(outputs, others[::-1])]
  assert sum(told) == 1, outputs


def test_one_that_is_just_going_is_waited_for(tmp_path):
  first = hold(tmp_path, 0.5)
  first.stdout.readline()
  assert f'process {first.pid} on' in lock.owner(tmp_path)
  with lock.locked(tmp_path, wait=False):
    assert first.wait(5) == 0 and str(os.getpid()) in lock.owner(tmp_path)
  assert lock.owner(tmp_path) is None and lock.owner(tmp_path / 'absent') is None
