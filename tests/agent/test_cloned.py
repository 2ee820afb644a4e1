"""Whose behaviours act: they are known to the run's summary and its checkpoint, and have to fit the task."""

import pathlib
import pickle
import types

import elements
import numpy as np
import pytest
from helpers import clones

from vid2act_plugin.agent import acting, build
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.host import checkpoints
from vid2act_plugin.teacher import behaviours
from vid2act_plugin.training import finite, train

FLAG = elements.Space(bool)
DISCRETE = {'action': elements.Space(np.int32, (), 0, 5)}


@pytest.fixture
def beside(configure, tmp_path):
  """Return a function behaviours -> `Acting` around an agent that does nothing."""
  options = configure().agent.vid2act
  def fn(found):
    agent = types.SimpleNamespace(
        act_space={'action': elements.Space(np.float32, 3, -1, 1)}, obs_space={'reward': FLAG},
        save=lambda: {'params': {}}, load=lambda data: None, logdir=elements.Path(tmp_path))
    return acting.Acting(agent, found, options, 1)
  return fn


def test_a_run_goes_on_with_the_behaviours_that_it_was_begun_with(beside, tmp_path):
  """Those of the same sources that were trained otherwise would be judged by what others have earned."""
  first = beside(clones.make())
  first.ledger.end(first.ledger.begin(2), 9.0)
  (tmp_path / 'agent.pkl').write_bytes(pickle.dumps(first.save()))
  state = checkpoints.content(tmp_path, 'agent')  # As it is read, which executes nothing.
  again = beside(clones.make())
  again.load(state)
  assert again.ledger.gained[1] == 9.0
  more = {**clones.FACTS['settings'], 'updates': 7}
  for found, words in (
      (clones.make(1), r"behaviours with hash '\w{16}' .now '\w{16}'.; set vid2act.cloned back"),
      (clones.make(1, settings=more), 'behaviours with updates 1 .now 7., hash'),
      (clones.make(1, recordings='other'), "recordings 'none' .now 'other'., hash")):
    other = beside(found)
    for take in (other.load, other.recall):
      with pytest.raises(UserError, match=words):
        take(state)
    assert len(other.ledger.by) == 1
  del state[acting.STATE]['behaviours']  # An earlier version's.
  other.load(state)
  assert other.ledger.gained[1] == 9.0


def test_they_are_the_same_wherever_they_lie(bundle, tmp_path):
  from vid2act_plugin.teacher import bundle as bundles
  made, found = bundles.load(bundle), clones.make()
  found.write(tmp_path / 'behaviours')
  made.clones, made.manifest['behaviours'] = found.params, found.facts
  made.save(tmp_path / 'teacher')
  assert behaviours.read(tmp_path / 'behaviours').identity() == behaviours.of(
      bundles.load(tmp_path / 'teacher')).identity() == found.identity()


def test_the_summary_tells_of_those_that_act(beside, configure):
  agent = beside(clones.make(error=[0.1, 0.2, None], success=[None, [1.0, 0.5], None]))
  told = train._behaviours(finite.Watched(agent, configure()))
  assert told == dict(
      one=dict(error=0.1, success=None), two=dict(error=0.2, success=[1.0, 0.5]),
      three=dict(error=None, success=None))
  assert train._behaviours(finite.Watched(agent.agent, configure())) == {}


@pytest.fixture
def settings(configure, tmp_path):
  """A run without a teacher, in which sources act."""
  clones.make().write(tmp_path / 'behaviours')
  return configure('vid2act', 'finetune_exec', **{
      'agent.vid2act.init': False, 'agent.vid2act.guide': False, 'agent.vid2act.execute.start': 1.0,
      'vid2act.cloned': str(tmp_path / 'behaviours')})


def test_a_task_that_no_source_can_act_in_is_refused(settings, spaces):
  """Before an agent is built, which without the agent's settings would fail otherwise."""
  with pytest.raises(UserError, match="has the actions .* needs one continuous action named 'action'"):
    build.make(settings, spaces[0], DISCRETE, None)


def test_a_task_without_images_is_refused(settings, beside):
  with pytest.raises(UserError, match=r'has images of shape no image, but the behaviours in .*\[16, 16, 3\]'):
    build._acting(beside(clones.make()).agent, settings)


def test_images_and_actions_that_do_not_fit_are_told_before_a_stage(settings, spaces, tmp_path, monkeypatch, capsys):
  def make(obs, actions):
    act = {'action': elements.Space(np.float32, actions, -1, 1), 'reset': FLAG}
    return types.SimpleNamespace(obs_space=obs, act_space=act, close=lambda: None)
  monkeypatch.setattr(build.hostmain, 'make_env', lambda config, index: make(*task))
  settings = settings.update(logdir=str(tmp_path / 'run'))
  task = {'image': elements.Space(np.uint8, (32, 32, 3))}, 3
  with pytest.raises(UserError, match=r'images of shape \[32, 32, 3\], but the behaviours in .*behaviours are for \[16, 16, 3\]'):
    build.check_task(settings)
  task = spaces[0], 3
  build.check_task(settings)
  assert capsys.readouterr().out == ''
  task = spaces[0], 5
  for _ in range(2):  # Once before every stage.
    build.check_task(settings)
  assert capsys.readouterr().out.count('Note: no source has 5 actions as the task') == 1


def test_a_folder_below_the_home_and_one_that_is_amiss(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  assert not behaviours.exists('~/behaviours')
  clones.make().write(pathlib.Path(tmp_path / 'behaviours'))
  assert behaviours.exists('~/behaviours')
  assert behaviours.read('~/behaviours').facts == clones.FACTS
  with pytest.raises(UserError, match='in ~/other cannot be read .*; name one that --script clone has written'):
    behaviours.read('~/other')
