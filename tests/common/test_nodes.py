"""What a node does for a cluster, without one; with one: studies/test_ray.py."""

import _thread
import os
import signal
import sys
import threading
import time

import psutil
import pytest

from vid2act_plugin.common import nodes

SAVES = """
import pathlib, signal, sys, time
def save(*_): pathlib.Path('saved').write_text('saved'); sys.exit(3)
signal.signal(signal.SIGTERM, save)
pathlib.Path('up').touch(); time.sleep(60)
"""


@pytest.fixture
def run(tmp_path):
  """Return a function (code, needed, before) -> what a node returns of a command that is run in a folder."""
  earlier = signal.getsignal(signal.SIGINT)
  def fn(code, needed=lambda name: True, before=0):
    here = dict(cwd=str(tmp_path), environ=dict(LAB='there'))
    return nodes.run('a', [sys.executable, '-c', code], tmp_path / 'a' / 'log.txt', needed, here, before)
  yield fn
  signal.signal(signal.SIGINT, earlier)


def test_a_command_runs_where_and_with_what_it_is_told(run, tmp_path):
  assert run('import os, sys; print(os.getcwd(), os.environ["LAB"]); sys.exit(4)') == 4
  assert (tmp_path / 'a' / 'log.txt').read_text() == f'{tmp_path} there\n'


def test_a_command_that_is_not_to_begin(run, tmp_path):
  """Its forerunner failed; it is done already; or somebody else still saves what it continues."""
  asked = iter([None, True])
  assert run('print(1)', before=7) == 7
  assert run('print(1)', needed=lambda name: False) == 0
  assert not (tmp_path / 'a').exists()
  assert run('print(2)', needed=lambda name: next(asked)) == 0
  assert (tmp_path / 'a' / 'log.txt').read_text() == '2\n'


def test_an_interrupted_task_waits_until_its_command_has_saved(run, tmp_path):
  """Also where SIGINT was ignored, as in what a script begins in its background."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  def interrupt():
    while not (tmp_path / 'up').exists():
      time.sleep(0.01)
    _thread.interrupt_main()
  threading.Thread(target=interrupt, daemon=True).start()
  with pytest.raises(KeyboardInterrupt):
    run(SAVES)
  assert (tmp_path / 'saved').read_text() == 'saved'


def test_a_command_saves_also_where_its_parent_is_killed(run, tmp_path):
  """As Ray kills the children of its workers, at once."""
  def kill():
    while not (tmp_path / 'up').exists():
      time.sleep(0.01)
    for child in psutil.Process().children():
      if any(x.endswith('lifeline.py') for x in child.cmdline()):
        child.kill()
  threading.Thread(target=kill, daemon=True).start()
  assert run(SAVES) == -9
  until = time.monotonic() + 10
  while not (tmp_path / 'saved').exists() and time.monotonic() < until:
    time.sleep(0.01)
  assert (tmp_path / 'saved').exists()


def test_marks_are_seen_and_leave_nothing(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  with nodes.mark('~/out') as path:
    assert path.startswith('~/out/') and nodes.missing([path, str(tmp_path)]) is None
    monkeypatch.setenv('HOME', str(tmp_path / 'other'))
    assert nodes.missing([path]) == path
  assert os.listdir(tmp_path / 'out') == []
