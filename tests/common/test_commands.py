"""Commands that run at once, each on cores and GPUs of its own."""

import json
import os
import sys
import time

import pytest

from vid2act_plugin.common import parallel as jobs
from vid2act_plugin.common.errors import UserError


def test_commands_share_the_cores_and_report_how_they_ended(tmp_path):
  script = 'import os, sys; print(sorted(os.sched_getaffinity(0))); sys.exit(int(sys.argv[1]))'
  wait = 'import time; time.sleep(0.5); '
  commands = {str(i): [sys.executable, '-c', wait + script, str(i % 2)] for i in range(3)}
  found = dict(jobs.run_commands(commands, 2, lambda x: tmp_path / x / 'log.txt'))
  assert found == {'0': 0, '1': 1, '2': 0}
  seen = [json.loads((tmp_path / x / 'log.txt').read_text()) for x in '01']
  cores = sorted(os.sched_getaffinity(0))
  assert seen[0] != seen[1] or len(cores) == 1
  assert set(seen[0] + seen[1]) <= set(cores)
  with pytest.raises(UserError, match='--jobs is -1'):
    jobs.places(-1)


@pytest.mark.parametrize('count, chosen, seen', [
    (2, '0,1,2,3', ['0,1', '2,3']), (2, 'GPU-a,GPU-b', ['GPU-a', 'GPU-b']), (3, '4,5', ['4', '5', '4']),
    (2, '7', ['7', '7']), (2, '', ['', ''])])
def test_places_share_the_gpus(tmp_path, monkeypatch, count, chosen, seen):
  """As many each, or one that they share; where there is one or none, nothing is changed."""
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', chosen)
  script = 'echo $CUDA_VISIBLE_DEVICES; sleep 1'
  list(jobs.run_commands(
      {str(i): ['/bin/sh', '-c', script] for i in range(count)}, count, lambda x: tmp_path / x))
  assert [(tmp_path / str(i)).read_text().strip() for i in range(count)] == seen


def test_what_runs_is_asked_to_save_when_the_caller_stops(tmp_path):
  script = ('import pathlib, signal, sys, time\n'
            'def save(*_): pathlib.Path(sys.argv[1]).write_text("saved"); sys.exit()\n'
            'signal.signal(signal.SIGTERM, save)\n'
            'pathlib.Path(sys.argv[2]).touch(); time.sleep(60)')
  commands = {'a': [sys.executable, '-c', script, str(tmp_path / 'saved'), str(tmp_path / 'up')]}
  def poll():
    if (tmp_path / 'up').exists():
      raise TimeoutError
  with pytest.raises(TimeoutError):
    list(jobs.run_commands(commands, 1, lambda x: tmp_path / 'log.txt', poll))
  assert (tmp_path / 'saved').read_text() == 'saved'


def test_commands_that_are_not_needed_yet_or_any_more(tmp_path):
  ready = time.monotonic() + 2
  needed = {'gone': lambda: False, 'busy': lambda: True if time.monotonic() > ready else None}
  commands = {x: [sys.executable, '-c', f'print("{x}")'] for x in ('busy', 'gone', 'free')}
  ended = list(jobs.run_commands(
      commands, 1, lambda x: tmp_path / x, needed=lambda x: needed.get(x, lambda: True)()))
  assert ended == [('gone', 0), ('free', 0), ('busy', 0)] and time.monotonic() > ready
  assert {x.name for x in tmp_path.iterdir()} == {'busy', 'free'}
