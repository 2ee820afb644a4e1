"""Bars on a terminal and plain lines elsewhere."""

import os
import subprocess
import sys
import threading
import time

import pytest

from vid2act_plugin.common import progress

SCRIPT = """
import time
from vid2act_plugin.common import progress
with progress.stage('collect'):
  with progress.bar('outer [x]', 3, 'steps') as bar:
    for i in range(3):
      bar.advance()
      print('printed', i)
      with progress.waiting('compiling'):
        time.sleep(0.3)
"""


def test_plain_lines_come_at_the_heartbeat_though_nothing_advances(capsys, monkeypatch):
  monkeypatch.setattr(progress, 'HEARTBEAT', 0.1)
  text, began = '', time.monotonic()
  with progress.bar('work', 5, 'steps') as bar:
    bar.text('loss 1')
    for _ in range(5):
      bar.advance()
    whole = lambda: [x for x in text.splitlines() if x.startswith('work: 5/5 steps') and x.endswith('loss 1')]
    while len(whole()) < 3:
      assert time.monotonic() < began + 60, text
      time.sleep(0.05)
      text += capsys.readouterr().out
  lines = (text + capsys.readouterr().out).splitlines()
  assert lines[0] == 'work ...' and len(lines) - 2 <= (time.monotonic() - began) / 0.1


def test_stage(capsys):
  began = time.monotonic()
  with progress.stage('collect: two sources') as stage:
    time.sleep(0.05)
  assert 0.05 <= stage.seconds <= time.monotonic() - began
  assert capsys.readouterr().out.count('collect: two sources') == 2
  with pytest.raises(KeyError):
    with progress.stage('fails'):
      raise KeyError
  assert 'stopped after' in capsys.readouterr().out


def test_threads(capsys):
  class Slow(int):
    def __add__(self, n):
      time.sleep(1e-5)  # Another thread may begin, as between reading and writing it may at any time.
      return Slow(int(self) + n)
  with progress.bar('work', 400) as bar:
    bar.count = Slow(0)
    threads = [threading.Thread(target=lambda: [bar.advance() for _ in range(100)])
               for _ in range(4)]
    [x.start() for x in threads]
    [x.join() for x in threads]
  assert bar.count == 400


def test_clock():
  values = {0.32: '0.3 s', 12.4: '12 s', 125: '2 min 05 s', 3700: '1 h 01 min'}
  assert {progress.clock(k): k for k in values} == {v: k for k, v in values.items()}


@pytest.mark.skipif(sys.platform == 'win32', reason='needs a pseudo-terminal')
def test_terminal_nests_and_keeps_what_others_print():
  import pty
  ours, theirs = pty.openpty()
  environ = {**os.environ, 'TERM': 'xterm', 'COLUMNS': '100'}
  process = subprocess.Popen([sys.executable, '-c', SCRIPT], stdout=theirs, env=environ)
  os.close(theirs)
  text = b''
  while True:
    try:
      text += os.read(ours, 4096)
    except OSError:  # The end of a terminal's output.
      break
  assert process.wait() == 0
  for word in ('printed 0', 'printed 2', 'outer [x]', '3/3 steps', 'compiling', 'done in'):
    assert word in text.decode(), word
  assert b'\x1b[?25h' in text  # The cursor is back.
