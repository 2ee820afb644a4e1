"""What is said at the start of a teacher that is given, and of what stock DreamerV3 does not know."""

import contextlib

import pytest

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.training import settings


@pytest.mark.parametrize('changes, key', [
    ({'agent.enc.simple.act': 'relu'}, "agent.enc.simple.act 'relu' .there 'silu'."), ({'agent.dyn.rssm.deter': 32}, 'agent.dyn.rssm.deter 32')])
def test_a_given_teacher_of_another_model_is_known_before_the_agent_is_built(begin, bundle, tmp_path, changes, key):
  before = [*tmp_path.rglob('*')]
  with pytest.raises(UserError, match=f'other settings of the world model, .*{key}.* as its manifest.json has them'):
    begin(**{'vid2act.teacher': str(bundle), **changes})
  assert [*tmp_path.rglob('*')] == before


@pytest.mark.parametrize('there', [False, True])
def test_a_task_of_the_host_s_own_environments_needs_these(small, monkeypatch, there):
  find = settings.importlib.util.find_spec
  monkeypatch.setattr(settings.importlib.util, 'find_spec', lambda x: there if x == 'embodied.envs' else find(x))
  stock = small.update({'agent.typ': 'dreamerv3', 'method': 'stock'})
  settings.environments(stock)
  words = "The task dummy_disc is of DreamerV3's own environments, .* name an overlay of ours"
  with contextlib.nullcontext() if there else pytest.raises(UserError, match=words):
    settings.environments(stock.update(task='dummy_disc'))


def test_stock_tells_what_it_does_not_know(begin, capsys):
  told = lambda **changes: (begin(**{'agent.typ': 'dreamerv3', 'method': 'stock', 'agent.vid2act.imitate': 0.0, **changes}), capsys.readouterr().out)[1]
  assert 'which does not know' not in told()
  assert 'does not know agent.vid2act.imitate, vid2act.teacher; to learn by these, name the overlay vid2act first' in told(**{
      'vid2act.teacher': '/x', 'agent.vid2act.imitate': 1.0})
