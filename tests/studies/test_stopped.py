"""A study that its time or somebody ends before its runs: what failed until then is not forgotten."""

import contextlib
import os
import signal
import sys
import threading
import time

import pytest
from ruamel.yaml import YAML

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.studies import ablation

TASK = 'metaworld_door-lock'
FAILS, LASTS = 'print("no luck"); raise SystemExit(3)', 'import time; time.sleep(60)'


@contextlib.contextmanager
def interruptible():
  """Let Ctrl-C interrupt also where the tests were started in the background, which ignores it."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def ablate(tmp_path, monkeypatch):
  """Return a function that runs the command with other programs for runs: those of `failing` seeds fail.

  stop: called as soon as all of these have failed, with what `--minutes` would do when they are over.
  """
  def fn(*options, failing=(), seeds=2, stop=None, prepare=lambda self: None):
    with open(tmp_path / 'plan.yaml', 'w') as file:
      YAML().dump(dict(configs=['metaworld', 'quickstart'], variants={'stock': []}, tasks=[TASK],
                       seeds=[*range(seeds)], against='stock'), file)
    gather, timers, stops = ablation.Ablation.gather, [], [stop] * bool(stop)
    def gathered(self):
      gather(self)
      if stops and len(self.failed) == len(failing):
        stops.pop()(timers[0])
    class Timer(threading.Timer):
      def __init__(self, seconds, function):
        super().__init__(600 if stop else seconds, function)
        timers.append(function)
    with monkeypatch.context() as m, interruptible():
      m.setattr(threading, 'Timer', Timer)
      m.setattr(ablation.Ablation, 'gather', gathered)
      m.setattr(ablation.Ablation, 'prepare', prepare)
      m.setattr(ablation.Ablation, '_command', lambda self, run: [
          sys.executable, '-c', FAILS if run.seed in failing else LASTS])
      cli.main(['ablate', str(tmp_path / 'plan.yaml'), '--out', str(tmp_path / 'out'), *options])
  return fn


def interrupt(end=None):
  os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize('stop', [interrupt, lambda end: end()])
@pytest.mark.parametrize('failing, named', [
    ([0], f'1 of the runs failed, stock/{TASK}/0;'), ([1, 0], f'2 of the runs failed, stock/{TASK}/')])
def test_runs_that_failed_are_named_when_the_study_is_stopped(ablate, tmp_path, capsys, stop, failing, named):
  with pytest.raises(UserError) as error:
    ablate('--jobs', '3', '--minutes', '9', failing=failing, seeds=3, stop=stop)
  text = str(error.value)
  assert named in text and all(f'stock/{TASK}/{x}' in text for x in failing)
  assert text.endswith('/log.txt; repeat the command to continue them.') and str(tmp_path / 'out/stock' / TASK) in text
  assert error.value.code == text  # Which Python prints, and ends with status 1.
  assert 'no luck' in (tmp_path / 'out/stock' / TASK / '0/log.txt').read_text()
  assert 'Stopped: what ran has saved' in capsys.readouterr().out


def test_many_that_failed_are_counted(ablate):
  with pytest.raises(UserError, match=rf'^6 of the runs failed, (stock/{TASK}/\d, ){{3}}stock/{TASK}/\d and 2 more; the last'):
    ablate('--jobs', '6', failing=range(6), seeds=6)


def test_without_failures_the_status_is_as_it_was(ablate, capsys):
  """None where the time is over, that of an interruption otherwise."""
  ablate('--jobs', '2', '--minutes', '0.03')
  with pytest.raises(SystemExit) as error:
    ablate('--jobs', '2', '--minutes', '9', stop=interrupt)
  assert error.value.code == 130 and not isinstance(error.value, UserError)
  assert capsys.readouterr().out.count('Stopped: what ran has saved') == 2


def test_what_runs_share_is_made_as_long_as_there_is_time(ablate, capsys):
  slow = lambda self: time.sleep(60)
  ablate('--prepare', '--minutes', '0.02', prepare=slow)
  with pytest.raises(SystemExit) as error:
    ablate('--prepare', '--minutes', '9', prepare=interrupt)
  assert error.value.code == 130 and not isinstance(error.value, UserError)
  assert capsys.readouterr().out.count('Stopped: what ran has saved') == 2
  ablate('--prepare', '--minutes', '9')
  assert 'Stopped' not in capsys.readouterr().out
