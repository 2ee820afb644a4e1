"""Where DeepMind Control is not installed, all else works, and its tasks are refused in a sentence."""

import sys

import pytest

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.envs import suites
from vid2act_plugin.sources import entries


@pytest.fixture
def without(monkeypatch):
  for name in [x for x in sys.modules if x.split('.')[0] == 'dm_control']:
    monkeypatch.delitem(sys.modules, name)
  monkeypatch.setitem(sys.modules, 'dm_control', None)


def test_its_tasks_are_refused(without, tmp_path, capsys):
  words = 'dm-control.*use Python 3.11 or 3.12 and install it'
  for use in (lambda: suites.check('dmcontrol_walker_walk'),
              lambda: entries.parse_all(['dmcontrol_*'])):
    with pytest.raises(UserError, match=words):
      use()
  with pytest.raises(UserError, match=words):
    cli.main(['collect', 'dmcontrol_walker_walk', '--out', str(tmp_path / 'new')])
  assert not (tmp_path / 'new').exists()


def test_other_names_are_still_understood(without):
  assert {*suites.present()} == {*suites.SUITES} - {'dmcontrol'}
  with pytest.raises(UserError, match='did you mean metaworld_door-close'):
    entries.parse('door_close')
  assert entries.parse('metaworld_reach').task == 'metaworld_reach'


@pytest.mark.parametrize('suite, count, tasks', [
    ('metaworld', 6, ['door-close', 'reach-wall', 'reach-wall-v3']), ('dmcontrol', 4, ['walker_run', 'cheetah_run'])])
def test_a_task_is_none_of_its_own_sources(suite, count, tasks):
  find = suites.SUITES[suite].sources
  every = find('another')
  assert len(every) == len(set(every)) == count and {x.split('_')[0] for x in every} == {suite}
  for task in tasks:
    own = f"{suite}_{task.removesuffix('-v3')}"
    assert own in every and find(task) == [x for x in every if x != own]
