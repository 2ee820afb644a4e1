"""The five commands of configs/README.md, from data and an environment of one's own to a run; Fetch."""

import json
import pathlib
import re
import shlex
import shutil
from unittest import mock

import gymnasium
import numpy as np
import pytest
from helpers import lerobot, own_robot
from helpers.commands import command

from vid2act_plugin import cli
from vid2act_plugin.sources import recording

PAGE = pathlib.Path(__file__).parents[2] / 'configs' / 'README.md'
SMALL = 'env.gymnasium: {size: [16, 16], limit: 12}'
ROBOT = "\ngymnasium.register('Reach-v0', 'my_robot:Robot', max_episode_steps=9, kwargs=dict(actions='unit'))\n"


@pytest.fixture(autouse=True)
def registry():
  """Let no other test meet what is registered here, a copy of a robot under the same name."""
  with mock.patch.dict(gymnasium.registry):
    yield


@pytest.fixture
def small(tiny, tmp_path):
  (tmp_path / 'small.yaml').write_text(SMALL)
  return 'quickstart', str(tiny), str(tmp_path / 'small.yaml')


def lines():
  """Return the commands of the page as lists of words."""
  text = PAGE.read_text().split('\n## Bring your own\n')[1]
  found = re.findall(r'^    ((?:vid2act|python) .*)$', text, re.M)
  assert [x.split()[1] for x in found] == ['import', 'collect', 'inspect', '-m', '-m']
  return map(shlex.split, found)


def test_from_data_and_an_environment_to_a_run(small, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  action = np.sin(np.arange(4) + np.arange(lerobot.STEPS)[:, None]).astype(np.float32)
  lerobot.write(tmp_path / 'my_data', 20, {'action': list(action)})
  (tmp_path / 'my_robot.py').write_text(pathlib.Path(own_robot.__file__).read_text() + ROBOT)
  for words in lines():
    words = ['16' if x == '64' else x for x in words]
    if words[0] == 'vid2act':
      size = {'import': [], 'collect': ['--size', '16', '--workers', '1']}.get(words[1], [])
      cli.main([*words[1:], *size])
    else:
      names = [x for x in words[:words.index('--task')] if x != 'quickstart'][3:]
      status, output = command(*names, *small, *words[words.index('--task'):], cwd=tmp_path)
      assert status == 0, output[-3000:]
  manifest, found = recording.load(tmp_path / 'sources/gymnasium_my_robot..Reach-v0')
  for x in found:
    np.testing.assert_allclose(own_robot.shown(x['image'])[1:], x['action'][:-1], atol=0.01)
  assert 'grasp' in capsys.readouterr().out and len(found) == 10 and manifest['act_size'] == 4
  assert 'Teacher: reused' in output
  for run in ('small', 'reach'):
    summary = json.loads((tmp_path / 'runs' / run / 'summary.json').read_text())
    assert summary['env_steps'] == 80 and summary['task'] == 'gymnasium_my_robot:Reach-v0'
    assert set(summary['final_relevance']) == {'grasp', 'gymnasium_my_robot..Reach-v0'}
    assert summary['eval']['length'] == 10 and summary['eval']['success_any'] == 1


def test_a_fault_of_the_environment_is_told_before_anything_is_recorded(small, tmp_path):
  shutil.copy(own_robot.__file__, tmp_path / 'my_robot.py')
  (tmp_path / 'fault.yaml').write_text('env.gymnasium.make: {fault: reset}')
  task = 'gymnasium_my_robot:lab/Robot-v0'
  before = {*tmp_path.rglob('*')}
  status, output = command(
      '--configs', 'vid2act', 'gymnasium', *small, './fault.yaml', '--task', task, '--logdir', 'run',
      '--vid2act.cache', 'cache', '--vid2act.sources', f'{task}@my_robot:wave', cwd=tmp_path)
  assert status == 1 and 'Traceback' not in output
  assert 'the robot is not connected' in output.splitlines()[-1], output
  assert {x for x in tmp_path.rglob('*') if '__pycache__' not in str(x)} == before


def test_fetch_tasks_are_sources_of_a_fetch_task(small, tmp_path):
  pytest.importorskip('gymnasium_robotics', reason="gymnasium-robotics is not installed (extra 'robotics')")
  status, output = command(
      '--configs', 'vid2act', 'gymnasium', *small, '--task', 'gymnasium_FetchReach-v4', '--logdir',
      tmp_path / 'run')
  assert status == 0, output[-3000:]
  summary = json.loads((tmp_path / 'run/summary.json').read_text())
  assert summary['sources'] == ['gymnasium_FetchPush-v4', 'gymnasium_FetchPickAndPlace-v4']
  assert summary['eval']['length'] == 13 and summary['eval']['score'] >= -12
