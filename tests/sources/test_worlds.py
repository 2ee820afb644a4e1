"""Sources of Gymnasium's environments: recorded, of a Minari data set, or of a run of DreamerV3."""

import json
import shutil

import elements
import gymnasium
import minari
import numpy as np
import pytest
from helpers import own_robot
from helpers.plays import refuse

from vid2act_plugin import cli
from vid2act_plugin.envs.gymnasium import Gymnasium
from vid2act_plugin.sources import entries, importing, locate, recording
from vid2act_plugin.training import train as loop

TASK = 'gymnasium_helpers.own_robot:lab/Robot-v0'
NAME = 'gymnasium_helpers.own_robot..lab--Robot-v0'


def aligned(folder, atol=0.01):
  """Return manifest and episodes, whose images show the action of the step before."""
  manifest, found = recording.load(folder)
  for x in found:
    np.testing.assert_allclose(own_robot.shown(x['image'])[1:], x['action'][:-1], atol=atol)
  return manifest, found


@pytest.mark.parametrize('text, name, task, behaviour', [
    (TASK, NAME, TASK, ''), (f'{TASK}@my.moves:push', f'{NAME}@my.moves.push', TASK, 'my.moves:push'),
    ('my.moves:push', f'{NAME}@my.moves.push', TASK, 'my.moves:push'),
    ('gymnasium_Reacher-v5', 'gymnasium_Reacher-v5', 'gymnasium_Reacher-v5', '')])
def test_entries(text, name, task, behaviour):
  found = entries.parse(text, TASK)
  assert (found.name, found.task, found.behaviour) == (name, task, behaviour)
  assert found.suite == 'gymnasium' and not found.path


def test_entries_that_are_none():
  refuse(lambda: entries.parse('gymnasium_Nothing-v0'), 'vid2act.sources', 'Nothing-v0')
  refuse(lambda: entries.parse(f'{TASK}@push'), 'not understood')
  names = [x.name for x in entries.parse_all(['gymnasium_Reacher-v*'], 'gymnasium_Reacher-v4')]
  assert 'gymnasium_Reacher-v5' in names and 'gymnasium_Reacher-v4' not in names


@pytest.mark.parametrize('code, words', [('x = (', 'SyntaxError'), ('raise SystemExit(3)', 'SystemExit')])
def test_a_module_of_behaviours_that_fails_is_one_sentence(tmp_path, monkeypatch, code, words):
  (tmp_path / 'broken_moves.py').write_text(code)
  monkeypatch.chdir(tmp_path)
  refuse(lambda: entries.behaviour('broken_moves:push'), 'broken_moves:push', words)


def test_a_behaviour_and_random_play_are_recorded(tmp_path, monkeypatch, capsys):
  shutil.copy(own_robot.__file__, tmp_path / 'a_robot.py')
  monkeypatch.chdir(tmp_path)
  task = 'gymnasium_a_robot:lab/Robot-v0'
  cli.main(['collect', f'{task}@a_robot:wave', task, '--out', 'out', '--episodes', '3', '--size', '32',
            '--workers', '1', '--limit', '8', '--noise', '0', '--make', '{"end": 6}'])
  assert f'{task} has no expert' in capsys.readouterr().out
  manifest, waved = aligned(tmp_path / 'out/gymnasium_a_robot..lab--Robot-v0@a_robot.wave')
  assert manifest['act_size'] == 4 and manifest['success'] and len(waved) == 3
  np.testing.assert_allclose(waved[0]['action'][3], np.sin(3 + 1 + np.arange(4)), atol=1e-6)
  manifest, played = aligned(tmp_path / 'out/gymnasium_a_robot..lab--Robot-v0')
  assert {x['behaviour']['policy'] for x in manifest['episodes']} == {'random'}
  for x in (*waved, *played):
    assert len(x['action']) == 7 and x['is_terminal'][-1] and x['reward'].tolist() == [*range(7)]
    assert x['success'].tolist() == [0, 0, 0, 1, 0, 0, 0]


def test_a_changed_environment_is_recorded_anew(configure, tmp_path, monkeypatch):
  file = tmp_path / 'b_robot.py'
  shutil.copy(own_robot.__file__, file)
  monkeypatch.chdir(tmp_path)
  config = configure(**{'task': 'gymnasium_b_robot:lab/Robot-v0'})
  entry = entries.parse(config.task)
  before = locate.settings(config, entry)
  assert locate.settings(config, entry) == before and before['task'][0] == config.task
  file.write_text(file.read_text() + '\n')
  assert locate.settings(config, entry) != before


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize('span', [1.0, 0.2])
def test_a_minari_data_set_has_the_actions_of_the_environment(tmp_path, monkeypatch, span):
  """Recorded by Minari itself: whatever range was used, -1 and 1 are the bounds of the space."""
  monkeypatch.setenv('MINARI_DATASETS_PATH', str(tmp_path))
  inner = gymnasium.make(TASK.removeprefix('gymnasium_'), observation='one')
  env = minari.DataCollector(inner, record_infos=True)
  rng, (low, high) = np.random.default_rng(0), (own_robot.LOW, own_robot.HIGH)
  for i in range(3):
    env.reset(seed=i)
    done = False
    while not done:
      action = (low + high) / 2 + span * rng.uniform(-1, 1, (2, 2)) * (high - low) / 2
      *_, terminated, done, _ = env.step(action)
  env.create_dataset('lab/robot-v0')
  env.close()
  importing.run(tmp_path / 'lab/robot-v0', tmp_path / 'out/robot', resize=[16, 16])
  manifest, found = aligned(tmp_path / 'out/robot', 0.02)  # Minari keeps images as JPEG.
  assert manifest['action_low'] == low.reshape(-1).tolist() and manifest['success']
  assert len(found) == 3 and 0.8 * span < np.abs(found[0]['action']).max() <= span
  assert found[0]['reward'].tolist() == [*range(15)] and found[0]['success'].sum() == 1


def test_a_run_of_dreamerv3(configure, tmp_path):
  config = configure('gymnasium', **{
      'task': TASK, 'logdir': str(tmp_path / 'run'), 'random_agent': True, 'jax.profiler': False,
      'logger.outputs': ['jsonl'], 'run.debug': True, 'run.eval_every': 20, 'run.steps': 40,
      'run.eval_eps': 1, 'run.log_every': 0, 'replay.size': 1000, 'env.gymnasium.size': [16, 16],
      'env.gymnasium.make': '{"end": 5}'})
  sizes = ('batch_size', 'batch_length', 'report_length', 'replay_context')
  loop.train_eval(config, elements.Config(
      **config.run, logdir=config.logdir, **{k: config[k] for k in sizes}))
  rows = [json.loads(x) for x in (tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
  assert {x['eval/length'] for x in rows if 'eval/length' in x} == {6}
  assert {x['eval/success_any'] for x in rows if 'eval/success_any' in x} == {1}
  importing.run(tmp_path / 'run', tmp_path / 'out/run')
  _, found = aligned(tmp_path / 'out/run', 0.02)
  assert len(found) >= 5 and all(x['is_terminal'][-1] and len(x['action']) == 6 for x in found)


def test_images_and_actions_of_sources_are_checked(configure, tmp_path):
  cli.main(['collect', TASK, '--out', str(tmp_path), '--episodes', '1', '--size', '8', '--workers', '1'])
  config = configure('gymnasium', **{
      'task': TASK, 'vid2act.sources': (f'{tmp_path}/{NAME}',), 'env.gymnasium.size': [16, 16]})
  with pytest.raises(ValueError, match='images of .8, 8., but the run of .16, 16.'):
    locate.check(config, locate.locate(config))
  config = config.update({'vid2act.act_width': 3, 'env.gymnasium.size': [8, 8]})
  with pytest.raises(ValueError, match="act_width is 3, but the source '.*' has 4 actions"):
    locate.check(config, locate.locate(config))
  config = config.update({'vid2act.sources': ('gymnasium_CartPole-v1',)})
  with pytest.raises(ValueError, match='one continuous Box'):
    locate.check(config, locate.locate(config))
  with pytest.raises(ValueError, match='no usual sources.*MODULE:FUNCTION'):
    locate.locate(config.update({'vid2act.sources': ('auto',)}))


def test_fetch_tasks_learn_from_each_other():
  from vid2act_plugin.envs import suites
  found = suites.SUITES['gymnasium'].sources('FetchReachDense-v4')
  assert found == ['gymnasium_FetchPushDense-v4', 'gymnasium_FetchPickAndPlaceDense-v4']


@pytest.mark.parametrize('task, least', [('Reach', 1), ('Push', 0.5), ('PickAndPlace', 0.5)])
def test_scripts_of_fetch_tasks(task, least):
  pytest.importorskip('gymnasium_robotics', reason="gymnasium-robotics is not installed (extra 'robotics')")
  env = Gymnasium(f'Fetch{task}-v4', size=(8, 8), render='fast')
  won = []
  for _ in range(6):
    obs = env.step({'reset': True})
    while not obs['is_last']:
      obs = env.step({'reset': False, 'action': env.expert_action()})
    won.append(float(obs['log/success_last']))
  env.close()
  assert np.mean(won) >= least, won
