"""Keys that do not go with others are refused, and those without effect told, if it was the user who set them."""

import elements
import pytest

from vid2act_plugin import prepare
from vid2act_plugin.agent import options
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.envs import suites
from vid2act_plugin.plugin import plugin
from vid2act_plugin.training import start

NAMES = list(plugin()['overlays'])
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
    ('rehearse', {'agent.vid2act.rehearse_from': 0.1}, []),
    ('vid2act', {'agent.vid2act': {'guide_by': 'best', 'guide_from': 'start', 'prior': False}},
     ["agent.vid2act.guide_by is 'best'", "agent.vid2act.guide_from is 'start'", 'agent.vid2act.prior is False']),
    ('vid2act_guide', {'agent.vid2act': {'guide_by': 'best', 'prior': False}}, []),
    ('vid2act', {'agent.vid2act.vae.online': True}, ['agent.vid2act.vae.online is True']),
    ('vid2act_scratch', {'agent.vid2act.init_source': 'a'}, ["agent.vid2act.init_source is 'a'"]),
    ('finetune', {'agent.vid2act.gradshare': True}, ['agent.vid2act.gradshare is True']),
    ('finetune', {'agent.vid2act': {'floor': 0.3, 'scales.distill': 7.0, 'execute.noise': 0.2}},
     ['agent.vid2act.execute.noise is 0.2', 'agent.vid2act.floor is 0.3', 'agent.vid2act.scales.distill is 7.0']),
    ('vid2act', {'agent.vid2act': {'floor': 0.3, 'scales': {'distill': 7.0, 'vae': 2.0}, 'execute.noise': 0.2}},
     ['agent.vid2act.scales.vae is 2.0'])])
def test_a_key_without_effect_is_told(told, name, changes, keys):
  found = told(name, **changes)
  assert len(found) == len(keys)
  for line, key in zip(found, keys):
    assert line.startswith(f'Note: the key {key}, which has no effect, as ')


def test_no_overlay_leaves_one_without_effect(told, overlays):
  names = [x for x in NAMES if x not in suites.SUITES and x != 'dmc']
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


@pytest.mark.parametrize('changes, words', [
    ({'run.from_checkpoint': 'RUN'}, 'run.from_checkpoint, RUN, brings a policy of its own; set one of them'),
    ({'agent.vid2act.init': False}, 'it reads the features .* set init to True'),
    ({'agent.vid2act.guide': True}, "a guided policy has the sources' actions already; set guide to False"),
    ({'jax.num_processes': 2}, 'the policy would be cloned before 2 processes know each other; .* jax.num_processes to 1')])
def test_a_policy_that_cannot_start_as_a_source(overlays, changes, words):
  config = elements.Config(overlays['defaults']).update(overlays['vid2act']).update(overlays['metaworld'])
  config = config.update({'agent.vid2act.init_policy.source': 'metaworld_reach'})
  options.check(config)
  with pytest.raises(UserError, match=f'init_policy.source is metaworld_reach, but {words}'):
    options.check(config.update(changes))
  options.check(config.update({'agent.vid2act.init_policy.source': '', **changes}))


def test_of_equal_weights_none_is_the_best(overlays):
  config = elements.Config(overlays['defaults'])
  for name in ('vid2act', 'metaworld', 'vid2act_published'):
    config = config.update(overlays[name])
  options.check(config)
  uniform = config.update(overlays['vid2act_uniform'])
  with pytest.raises(UserError, match='guide_by is best, but with the weights uniform none is the best; set it to mixture'):
    options.check(uniform)
  options.check(uniform.update({'agent.vid2act.guide_by': 'mixture'}))


def test_no_overlay_lets_stock_run_under_its_name(overlays):
  """It makes the agent ours or is refused without `vid2act`; one that is the whole method by its name acts as that does."""
  for name in NAMES:
    config = elements.Config(overlays['defaults']).update(overlays[name])
    if config.agent.typ == 'vid2act':
      start.named(config)
    elif config.method == name:
      with pytest.raises(UserError, match=f'--configs vid2act {name} '):
        start.named(config)
      start.named(config.update(overlays['vid2act']))
      start.named(config.update(method='mine'))
    else:
      assert name in ('quickstart', 'metaworld', 'dmc', 'gymnasium')
  whole, rehearsed = (elements.Config(overlays['defaults']).update(overlays[x]) for x in ('vid2act', 'rehearse'))
  changed = {k for k, v in whole.flat.items() if rehearsed.flat[k] != v}
  assert changed == {'method', 'agent.vid2act.rehearse'}


@pytest.mark.parametrize('share, script, evaluate, acts', [
    (1.0, 'train_eval', 'policy', True), (1.0, 'eval_only', 'best', True), (1.0, 'eval_only', 'policy', False),
    (0.0, 'train_eval', 'policy', False)])
def test_an_evaluation_of_the_policy_alone_needs_no_behaviours(configure, share, script, evaluate, acts):
  execute = {'start': share, 'end': 0.0, 'evaluate': evaluate}
  config = configure('vid2act', **{'script': script, **{f'agent.vid2act.execute.{k}': v for k, v in execute.items()}})
  assert options.acts(config) == prepare._acting(config) == acts
