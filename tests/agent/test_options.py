"""Keys that have no effect beside others are told, if it was the user who set them."""

import elements
import pytest

from vid2act_plugin import prepare
from vid2act_plugin.agent import options
from vid2act_plugin.envs import suites

OFF = {'agent.vid2act.execute': {'start': 0.0, 'end': 0.0}}


@pytest.fixture
def told(overlays, capsys):
  """Return a function (names of overlays, changes) -> what is told of them."""
  def fn(*names, **changes):
    config = elements.Config(overlays['defaults'])
    for name in ('vid2act', 'metaworld', *names):
      config = config.update(overlays[name])
    options.idle(config.update(changes))
    return capsys.readouterr().out.splitlines()
  return fn


@pytest.mark.parametrize('name, changes, keys', [
    ('vid2act', OFF, ['agent.vid2act.imitate is 1.0', "agent.vid2act.execute.evaluate is 'best'"]),
    ('vid2act_likeness', {'agent.vid2act.imitate': 0.5}, ['agent.vid2act.imitate is 0.5']),
    ('finetune', {'agent.vid2act.execute.evaluate': 'best'}, ["agent.vid2act.execute.evaluate is 'best'"]),
    ('finetune', {'vid2act.cloned': '/x'}, ["vid2act.cloned is '/x'"]), ('finetune_exec', {'vid2act.cloned': '/x'}, []),
    ('vid2act', {'agent.vid2act.rehearse_from': 0.1}, ['agent.vid2act.rehearse_from is 0.1']),
    ('rehearse', {'agent.vid2act.rehearse_from': 0.1}, [])])
def test_a_key_without_effect_is_told(told, name, changes, keys):
  found = told(name, **changes)
  assert len(found) == len(keys)
  for line, key in zip(found, keys):
    assert line.startswith(f'Note: the key {key}, which has no effect, as ')


def test_no_overlay_leaves_one_without_effect(told, overlays):
  from vid2act_plugin.plugin import plugin
  names = [x for x in plugin()['overlays'] if x not in suites.SUITES and x != 'dmc']
  assert len(names) > 12 and {x: told(x) for x in names} == dict.fromkeys(names, [])


def test_it_is_told_before_a_run_and_by_no_stage(configure, monkeypatch):
  class Next(Exception):
    pass
  def stop(config):
    raise Next
  asked = []
  monkeypatch.setattr(options, 'idle', asked.append)
  monkeypatch.setattr(prepare.platform, 'resolve', stop)
  for script in ('train_eval', 'clone'):
    with pytest.raises(Next):
      prepare.prepare(configure('vid2act', **{'run.eval_every': 10, 'script': script}))
  assert [x.script for x in asked] == ['train_eval']
