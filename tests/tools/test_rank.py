"""`vid2act rank`: what the sources' behaviours earn in a task."""

import json
import re

import numpy as np
import pytest
from helpers.suites import needs_dmc
from PIL import Image

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.teacher import behaviours, bundle
from vid2act_plugin.tools import rank
from vid2act_plugin.training.trials import RANDOM, Trials

ENV = dict(size=[16, 16], limit=8, render='fast', repeat=2)
FACTS = dict(
    sources=['up', 'narrow', 'down'], act_sizes=[4, 2, 4], act_width=4, image=[16, 16, 3], env=ENV,
    recordings='none', error=[0.1] * 3, success=[None] * 3, settings=dict(
        updates=1, batch_size=1, frames=2, shift=0, channels=4, hidden=8, episodes=0))
TASK = 'metaworld_reach'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Behaviours of which `up` lifts the hand, and `down` lowers it, whatever they see."""
  params = {k: np.zeros(v, np.float32) for k, v in behaviours.shapes(FACTS).items()}
  hidden = FACTS['settings']['hidden'] // 2
  params['behaviours/layer1/kernel'][-3, 0] = params['behaviours/layer1/kernel'][-1, 1] = 1
  params['behaviours/action/kernel'][:2, 2] = 3, -3
  assert params['behaviours/action/kernel'].shape == (hidden, 4)
  path = tmp_path_factory.mktemp('cloned') / 'behaviours'
  behaviours.Behaviours(params, FACTS).write(path)
  return path


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
  found = json.loads(run(folder, '--json', capsys=capsys).splitlines()[-1])
  rows = found[TASK]
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
  for text in ('{', json.dumps(dict(json.loads((out / rank.FILE).read_text()), episodes=3))):
    (out / rank.FILE).write_text(text)
    with pytest.raises(UserError, match='delete it, or name another folder'):
      run(folder, '--out', out, capsys=capsys)


def test_interrupted_it_shows_and_keeps_what_is_complete(folder, tmp_path, capsys, monkeypatch):
  before = Trials.play

  def play(self, act, source, *args):
    if source == 2:
      raise KeyboardInterrupt
    return before(self, act, source, *args)
  monkeypatch.setattr(Trials, 'play', play)
  with pytest.raises(SystemExit) as e:
    run(folder, '--out', tmp_path, capsys=capsys)
  text = capsys.readouterr().out
  assert e.value.code == 130 and 'Interrupted' in text and re.search(r'up +\S', text)
  kept = json.loads((tmp_path / rank.FILE).read_text())['episodes'][TASK]
  assert set(kept) == {'random actions', 'up'}


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
def test_a_task_of_another_suite_takes_the_size_alone(closing):
  env = {**ENV, 'camera': 'corner', 'reward': 'sparse', 'orientation': 'upright'}
  trials = closing(Trials('dmcontrol_walker_walk', env, of='metaworld_reach'))
  assert trials.actions == 6 and trials.env.limit == 1000 and trials.env.size == (16, 16)
  assert closing(Trials('metaworld_reach', env, of='metaworld_push')).env.limit == 8


@pytest.mark.parametrize('args, said', [
    (['--task', 'metaworld_raech'], "did you mean metaworld_reach"),
    (['--episodes', '0'], 'The option --episodes is 0'),
    (['--noise', '-1'], 'The option --noise is -1.0'),
    (['--seed', '-1'], 'The option --seed is -1'),
    (['--limit', '0'], 'env.metaworld.limit'),
    (['--reward', 'v9'], 'env.metaworld.reward'),
    pytest.param(['--task', 'dmcontrol_walker_walk'], 'has 6 actions, but the sources have 2, 4',
                 marks=needs_dmc)])
def test_bad_input_is_told(folder, args, said, capsys):
  with pytest.raises(UserError, match=re.escape(said)):
    run(folder, *args, capsys=capsys)


def test_teachers_without_behaviours_name_a_cure(tmp_path, capsys):
  made = bundle.Bundle({}, dict(source=np.zeros(0, np.int32)), dict(
      sources=['up'], act_sizes=[4], act_width=4, image=[16, 16, 3],
      agent={'dyn': {'rssm': dict(deter=4, stoch=2, classes=2)}}, env=ENV, recordings='', updates=1))
  made.save(tmp_path / 'teacher')
  with pytest.raises(UserError, match='has no behaviours; make them with .* --script clone'):
    run(tmp_path / 'teacher', capsys=capsys)
  with pytest.raises(UserError, match='is not a readable bundle'):
    run(tmp_path / 'none', capsys=capsys)
