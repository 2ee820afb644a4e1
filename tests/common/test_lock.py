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
