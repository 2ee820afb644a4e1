"""The main command is killed alone: what it started ends as well, and repeated, it continues."""

import os
import signal
import subprocess
import sys
import time

import pytest
from helpers import orphans

from vid2act_plugin import prepare
from vid2act_plugin.common import lifeline
from vid2act_plugin.common.errors import UserError


def test_the_chain_is_killed_while_a_stage_collects(tiny, tmp_path):
  command = [
      sys.executable, '-m', 'dreamerv3', '--configs', 'vid2act', 'metaworld', 'quickstart', tiny,
      '--logdir', tmp_path / 'run', '--vid2act.cache', tmp_path / 'cache',
      '--vid2act.collect.episodes', '500']
  process = subprocess.Popen(map(str, command), stdout=subprocess.DEVNULL)
  while not list((tmp_path / 'cache').glob('recordings/*/*/episode-*.npz')):
    assert process.poll() is None
    time.sleep(0.05)
  children = orphans.descendants(process.pid)
  process.kill()
  process.wait()
  assert len(children) > 2 and orphans.gone(children, 10)  # The stage and its workers.


@pytest.fixture
def interruptible():
  """Ctrl-C interrupts, also where this was begun in the background of a script."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures('interruptible')
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_stage_gets_the_signals_that_we_get(number):
  code = f'import os; os.kill(os.getppid(), {number}); import time; time.sleep(60)'
  if number == signal.SIGINT:  # The terminal's, which goes to all of its processes.
    code = f'import os; os.kill(os.getppid(), {number}); os.kill(os.getpid(), {number})'
  assert lifeline.attend([sys.executable, '-c', code]) == 128 + number


@pytest.mark.usefixtures('interruptible')
@pytest.mark.parametrize('status', [3, 0])
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_neither_a_signal_nor_a_status_is_lost_as_a_stage_ends(number, status):
  code = f'import os; os.kill(os.getppid(), {number}); os._exit({status})'
  command = [sys.executable, '-I', '-S', '-c', code]
  expected = {status or 128 + number} | ({128 + number} if number == signal.SIGTERM else set())
  cores = os.sched_getaffinity(0)
  os.sched_setaffinity(0, [min(cores)])  # Where the signal and the end are seen at once one time in five.
  try:
    assert {lifeline.attend(command) for _ in range(30)} <= expected
  finally:
    os.sched_setaffinity(0, cores)


def test_an_interrupt_that_we_ignore_stays_ignored():
  before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # As of a script's background job.
  try:
    code = 'import os; os.kill(os.getppid(), 2); os.kill(os.getpid(), 2)'
    assert lifeline.attend([sys.executable, '-c', code]) == 0
  finally:
    signal.signal(signal.SIGINT, before)


def test_the_configuration_of_a_stage_follows_no_link(configure, tmp_path, monkeypatch):
  victim = tmp_path / 'victim'
  victim.write_text('precious')
  folder = tmp_path / 'key'
  folder.mkdir()
  (folder / f'.{os.getpid()}.yaml').symlink_to(victim)
  monkeypatch.setattr(prepare, '_teacher_folder', lambda *args: folder / 'teacher')
  monkeypatch.setattr(lifeline, 'attend', lambda *_: 3)
  with pytest.raises(UserError, match='pretrain ended with status 3'):
    prepare._teacher(configure('vid2act'), [])
  assert victim.read_text() == 'precious'
  assert 'script: pretrain' in (folder / 'stage.yaml').read_text()
  assert {x.name for x in folder.iterdir()} == {f'.{os.getpid()}.yaml', 'stage.yaml'}
