"""`vid2act rank`: what the sources' behaviours earn in a task."""

import contextlib
import json
import re
import types

import numpy as np
import pytest
from helpers import clones
from helpers.suites import needs_dmc
from PIL import Image

from vid2act_plugin import cli
from vid2act_plugin.common import lock
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.teacher import behaviours, bundle
from vid2act_plugin.tools import rank
from vid2act_plugin.training.trials import RANDOM, Trials

ENV = dict(size=[16, 16], limit=8, render='fast', repeat=2)
FACTS = {**clones.FACTS, 'sources': ['up', 'narrow', 'down'], 'act_sizes': [4, 2, 4], 'act_width': 4, 'env': ENV}
TASK = 'metaworld_reach'


def write(path, **facts):
  """Write behaviours of which `up` lifts the hand, and `down` lowers it, whatever they see."""
  params = {k: np.zeros(v, np.float32) for k, v in behaviours.shapes(FACTS).items()}
  hidden = FACTS['settings']['hidden'] // 2
  params['behaviours/layer1/kernel'][-3, 0] = params['behaviours/layer1/kernel'][-1, 1] = 1
  params['behaviours/action/kernel'][:2, 2] = 3, -3
  assert params['behaviours/action/kernel'].shape == (hidden, 4)
  behaviours.Behaviours(params, {**FACTS, **facts}).write(path)
  return path


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return write(tmp_path_factory.mktemp('cloned') / 'behaviours')


def run(folder, *args, capsys):
  cli.main(['rank', '--task', TASK, '--teacher', str(folder), '--episodes', '3', *map(str, args)])
  return capsys.readouterr().out


def test_sources_do_what_they_do(folder, closing):
  trials = closing(Trials(TASK, ENV, 5))
  act, heights = behaviours.read(folder).actor(), {}
  for source in (0, 2, RANDOM):
    gained = trials.play(act, source, 2, 0.0, 0)
    assert gained == trials.play(act, source, 2, 0.0, 0)
    assert gained != trials.play(act, source, 2, 0.0, 1)
    trials.play(act, source, 2, 0.0, 0)
    heights[source] = trials.env.inner.data.body('hand').xpos[2]
  assert heights[0] > heights[RANDOM] > heights[2]
  assert trials.play(act, 0, 2, 0.5, 0) != trials.play(act, 0, 2, 0.0, 0)


def test_json_has_every_source_once_the_best_first(folder, tmp_path, capsys):
  rows = json.loads(run(folder, '--json', capsys=capsys))[TASK]
  assert {x['source'] for x in rows} == {'up', 'down', 'random actions'}  # `narrow` does not fit.
  assert [x['score'] for x in rows] == sorted((x['score'] for x in rows), reverse=True)
  for row in rows:
    assert row['episodes'] == 3 and row['score_interval'][0] <= row['score'] <= row['score_interval'][1]
    assert row['success'] == 0 and row['success_interval'][1] > 0.4


def test_what_was_played_is_kept_and_not_played_again(folder, tmp_path, capsys, monkeypatch):
  out = tmp_path / 'out'
  text = run(folder, '--out', out, capsys=capsys)
  kept = json.loads((out / rank.FILE).read_text())['episodes'][TASK]
  assert {k: len(v) for k, v in kept.items()} == {'up': 3, 'down': 3, 'random actions': 3}
  image = np.array(Image.open(out / rank.PICTURE))
  assert image.std() > 0 and 'random actions' in text
  played = []
  before = Trials.play
  monkeypatch.setattr(
      Trials, 'play', lambda self, *args: played.append(args[-1]) or before(self, *args))
  cli.main(['rank', '--task', TASK, '--teacher', str(folder), '--episodes', '4', '--out', str(out)])
  assert played == [3] * 3
  with pytest.raises(UserError, match='was made with other behaviours or settings'):
    run(folder, '--out', out, '--noise', 0.3, capsys=capsys)
  (out / rank.FILE).write_text('{')
  with pytest.raises(UserError, match='delete it, or name another folder'):
    run(folder, '--out', out, capsys=capsys)


@pytest.mark.parametrize('episodes, good', [
    (3, False), ({TASK: 3}, False), ([[1.0, 0.0]] * 3, True), ([[-1.0, None]] * 3, True), ([1, 2], False),
    (['ab'], False), ([[1.0]], False), ([['a', 1]], False), ([[True, 1]], False), ([[1.0, 5]], False),
    ([[float('nan'), 1]], False)])
def test_what_is_kept_is_episodes_or_a_sentence(folder, tmp_path, capsys, monkeypatch, episodes, good):
  monkeypatch.setattr(Trials, 'play', lambda *args: (0.0, 0.0))
  run(folder, '--out', tmp_path, capsys=capsys)
  content = json.loads((tmp_path / rank.FILE).read_text())
  if isinstance(episodes, list):
    episodes = {TASK: {**content['episodes'][TASK], 'up': episodes}}
  (tmp_path / rank.FILE).write_text(json.dumps({**content, 'episodes': episodes}))
  said = f'{re.escape(str(tmp_path / rank.FILE))} cannot be read .*; delete it, or name another folder with --out.$'
  with contextlib.nullcontext() if good else pytest.raises(UserError, match=said):
    run(folder, '--out', tmp_path, capsys=capsys)


def test_interrupted_it_shows_and_keeps_every_episode(folder, tmp_path, capsys, monkeypatch):
  before, tried = Trials.play, []

  def play(self, act, source, frames, noise, episode):
    tried.append((source, episode))
    assert lock.owner(tmp_path)  # Another command would write over what this one keeps.
    if (source, episode) == (2, 2):
      raise KeyboardInterrupt
    return before(self, act, source, frames, noise, episode)
  with monkeypatch.context() as patch:
    patch.setattr(Trials, 'play', play)
    for args in ((), ('--json',)):
      with pytest.raises(SystemExit, match='130'):
        run(folder, '--out', tmp_path, *args, capsys=capsys)
      out, err = capsys.readouterr()
      assert 'Interrupted: what was played is kept, the same' in (err if args else out)
      kept = json.loads((tmp_path / rank.FILE).read_text())['episodes'][TASK]
      counts = {k: len(v) for k, v in kept.items()}
      assert counts == {'random actions': 3, 'up': 3, 'down': 2}
      found = {x['source']: x['episodes'] for x in json.loads(out)[TASK]} if args else {
          name: int(count) for name, count in re.findall(r'^ +(\S+(?: \S+)?)  +(\d+)  ', out, re.M)}
      assert found == counts
  assert len(tried) == 10 and tried[-1] == (2, 2)
  assert 'rank: 9/9 episodes, done' in run(folder, '--out', tmp_path, capsys=capsys)


@needs_dmc
def test_all_tasks_are_checked_before_the_first_is_played(folder, capsys, monkeypatch):
  monkeypatch.setattr(Trials, 'play', lambda *args: pytest.fail('The first is played.'))
  with pytest.raises(UserError, match='walker_walk has 6 actions'):
    run(folder, '--task', TASK, 'dmcontrol_walker_walk', capsys=capsys)


def test_better_is_what_lies_apart():
  won = lambda count: [(float(i < count), float(i < count)) for i in range(20)]
  rows = {x['source']: x for x in rank.summary({
      'random actions': won(1), 'good': won(15), 'no better': won(3)})}
  assert [x for x, row in rows.items() if row['better']] == ['good']
  assert list(rows) == ['good', 'no better', 'random actions']
  scores = {x['source']: x for x in rank.summary({
      'random actions': [(float(i), None) for i in range(20)],
      'good': [(float(i + 40), None) for i in range(20)]})}
  assert scores['good']['better'] and scores['good']['success'] is None


@pytest.mark.parametrize('random, source, better', [
    ([(10.0, 0)], [(10.1, 1)], False), ([(10.0, 0)] * 5, [(10.0, 0)] * 5, False),
    ([(0.0, 0)] * 20, [(1.0, 1)] * 5 + [(0.0, 0)] * 15, False), ([(0.0, 0)] * 20, [(1.0, 1)] * 8 + [(0.0, 0)] * 12, True),
    ([(0.0, None)], [(1.0, None)], False), ([(0.0, 0)] * 20, [(float(i), 0) for i in range(20)], True)])
def test_few_episodes_and_ties_are_not_better(random, source, better):
  rows = {x['source']: x['better'] for x in rank.summary({'random actions': random, 'source': source})}
  assert rows == {'random actions': False, 'source': better}


@needs_dmc
def test_a_task_of_another_suite_takes_the_size_and_what_is_asked_for(tmp_path, capsys, monkeypatch):
  env, played = {**ENV, 'repeat': 4, 'camera': 'corner', 'reward': 'sparse'}, []
  names = ['metaworld_push', 'metaworld_plate-slide', 'metaworld_door-close']
  folder = write(tmp_path / 'behaviours', env=env, sources=names)
  monkeypatch.setattr(Trials, 'play', lambda self, *args: played.append(self.env) or (0.0, None))
  for task, args, limit, repeat in (
      ('metaworld_reach', (), 8, 4), ('metaworld_reach', ('--limit', 6), 6, 4),
      ('dmcontrol_hopper_stand', (), 1000, 2), ('dmcontrol_hopper_stand', ('--limit', 6), 6, 2)):
    out = tmp_path / f'{task}{limit}'
    run(folder, '--task', task, '--out', out, *args, capsys=capsys)
    found = played[-1]
    assert (found.limit, found.repeat, found.size) == (limit, repeat, (16, 16))
    content = json.loads((out / rank.FILE).read_text())
    assert ('chosen' in content['settings']) == (task.startswith('dmcontrol') and bool(args))
  del content['settings']['chosen']  # As earlier versions wrote it, which played 1000 steps.
  (out / rank.FILE).write_text(json.dumps(content))
  with pytest.raises(UserError, match='was made with other behaviours or settings'):
    run(folder, '--task', task, '--out', out, *args, capsys=capsys)


def test_imported_data_say_nothing_of_how_a_task_is_played(tmp_path, capsys, monkeypatch):
  """Who holds each action in the data for four steps does not do so in the run."""
  played = []
  folder = write(tmp_path / 'behaviours', env={**ENV, 'repeat': 4}, sources=['grasp', 'lift', 'place'])
  monkeypatch.setattr(Trials, 'play', lambda self, *args: played.append(self.env) or (0.0, None))
  run(folder, '--task', 'metaworld_reach', '--out', tmp_path / 'out', capsys=capsys)
  assert (played[-1].repeat, played[-1].limit, played[-1].size) == (1, 8, (16, 16))


@pytest.mark.parametrize('args, said', [
    (['--task', 'metaworld_raech'], "did you mean metaworld_reach"),
    (['--episodes', '0'], 'The option --episodes is 0'),
    (['--noise', '-1'], 'The option --noise is -1.0'),
    (['--seed', '-1'], 'The option --seed is -1'),
    (['--limit', '0'], 'env.metaworld.limit'),
    (['--reward', 'v9'], 'env.metaworld.reward'),
    (['--task', 'dmc_walker_walk', '--limit', '5'], 'cannot be made'),
    pytest.param(['--task', 'dmcontrol_walker_walk'], 'has 6 actions, but the sources have 2, 4',
                 marks=needs_dmc),
    pytest.param(['--task', TASK, 'dmcontrol_hopper_stand', '--reward', 'sparse'],
                 "The option --reward is no setting of the task 'dmcontrol_hopper_stand'; leave it out, or",
                 marks=needs_dmc)])
def test_bad_input_is_told(folder, args, said, capsys):
  with pytest.raises(UserError, match=re.escape(said)):
    run(folder, *args, capsys=capsys)


def test_teachers_without_behaviours_name_a_cure(tmp_path, capsys):
  made = bundle.Bundle({}, dict(source=np.zeros(0, np.int32)), dict(
      sources=['up'], act_sizes=[4], act_width=4, image=[16, 16, 3],
      agent={'dyn': {'rssm': dict(deter=4, stoch=2, classes=2)}}, env=ENV, recordings='', updates=1))
  made.save(tmp_path / 'teacher')
  with pytest.raises(UserError, match='has no behaviours; make them with `--script clone .* vid2act.sources of up;'):
    run(tmp_path / 'teacher', capsys=capsys)
  with pytest.raises(UserError, match="^The option --teacher is '.*/none', but .* is not a readable bundle"):
    run(tmp_path / 'none', capsys=capsys)


def test_the_next_step_is_named_where_a_source_is_better(capsys):
  won = lambda count: [[float(i < count), float(i < count)] for i in range(20)]
  for good, told in ((15, True), (1, False)):
    kept = types.SimpleNamespace(content={'episodes': {TASK: {'random actions': won(1), 'the good': won(good)}}})
    rank._show(kept, types.SimpleNamespace(task=[TASK], json=False, out=None))
    assert ("--agent.vid2act.init_policy.source 'the good'" in capsys.readouterr().out) == told
