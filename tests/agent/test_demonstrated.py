"""The policy starts as a source: it does at every image what was done there, and nothing else has moved."""

import jax
import ninjax as nj
import numpy as np
import pytest
from helpers import recordings

from vid2act_plugin.agent import demonstrated
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.host import loading

UPDATES, STEPS = 200, 40


def write(folder, size=16, actions=3, successes=(1, 1, 0)):
  """Write a source that goes one way where it is bright and the other where it is dark; failures are the reverse."""
  def change(i, episode):
    bright = np.random.default_rng(i).integers(0, 2, STEPS)
    action = np.repeat((bright * 1.2 - 0.6)[:, None] * (1 if successes[i] else -1), actions, 1).astype(np.float32)
    action[-1] = 0
    return {
        **episode, 'image': np.tile((255 * bright).astype(np.uint8)[:, None, None, None], (1, size, size, 3)),
        'action': action, 'success': np.full(STEPS, successes[i], np.float32)}
  recordings.write(folder, len(successes), change=change, length=STEPS, actions=actions)


def unseen(rows=2, count=8):
  """Return steps `[rows, count]` like those of the source, which it has not."""
  bright, flag = np.random.default_rng(9).integers(0, 2, (rows, count)), np.zeros((rows, count), bool)
  return dict(
      image=np.tile((255 * bright).astype(np.uint8)[..., None, None, None], (1, 1, 16, 16, 3)),
      action=np.repeat((bright * 1.2 - 0.6)[..., None], 3, -1).astype(np.float32), is_first=flag, is_last=flag,
      confidence=np.ones((rows, count), np.float32))


def judged(agent, **batch):
  params = {k: v for k, v in loading.parameters(agent).items() if not k.startswith('opt/')}
  call = jax.jit(nj.pure(lambda x: demonstrated.judged(agent.model, x, 4)))
  with jax.transfer_guard('allow'):
    return [float(x) for x in call(params, batch, seed=jax.random.PRNGKey(0))[1]]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  root = tmp_path_factory.mktemp('demonstrated')
  write(root / 'metaworld_reach')
  write(root / 'metaworld_push', actions=2)
  write(root / 'metaworld_soccer', size=8)
  return root


@pytest.fixture
def config(finetune, root):
  return lambda source: finetune.update({
      'vid2act.recordings': str(root), 'vid2act.sources': [f'metaworld_{x}' for x in ('reach', 'push', 'soccer')],
      'agent.vid2act.init_policy': dict(source=source, updates=UPDATES)})


def test_the_policy_does_what_succeeded_where_it_was_done(fresh, config, start, capsys):
  demonstrated.start(fresh, config('metaworld_reach'))
  assert f'The policy starts as metaworld_reach, learned from {2 * STEPS} steps' in capsys.readouterr().out
  params = loading.parameters(fresh)
  moved = {k for k, v in params.items() if not np.array_equal(v, start[k])}
  assert {k.split('/')[0] for k in moved} == {'pol'}
  fault = lambda by, sign=1: judged(fresh, action=sign * np.roll(other['action'], by, 1), **{
      k: v for k, v in other.items() if k != 'action'})[1]
  other = unseen(16, 20)
  assert fault(0) < .9 * min(fault(1), fault(-1)) and fault(0) < .7 * fault(0, -1)  # Failures are the reverse.


def test_a_run_that_goes_on_keeps_its_policy(fresh, config, start, monkeypatch):
  monkeypatch.setattr(demonstrated.checkpoints, 'latest', lambda folder: folder)
  demonstrated.start(fresh, config('metaworld_reach'))
  assert all(np.array_equal(v, start[k]) for k, v in loading.parameters(fresh).items())


def test_an_evaluation_and_a_run_without_a_source_start_none(fresh, config, start):
  for other in (config('metaworld_reach').update(script='eval_only'), config('')):
    assert not demonstrated.wanted(other)
    demonstrated.start(fresh, other)
  assert all(np.array_equal(v, start[k]) for k, v in loading.parameters(fresh).items())
  with pytest.raises(UserError, match=r"'metaworld_reach', whose episodes worth repeating have 80 steps, but batch_length is 99"):
    demonstrated.start(fresh, config('metaworld_reach').update(batch_length=99))


@pytest.mark.parametrize('source, told', [
    ('metaworld_door', "init_policy.source is 'metaworld_door', but the sources are metaworld_reach, metaworld_push, metaworld_soccer; name"),
    ('metaworld_push', "'metaworld_push', which has 2 actions, but the task .* has 3; name"),
    ('metaworld_soccer', r'images of shape \(8, 8, 3\), but the task .* of \(16, 16, 3\)')])
def test_a_source_that_cannot_be_started_as_is_refused(fresh, config, start, source, told):
  with pytest.raises(UserError, match=told):
    demonstrated.start(fresh, config(source))
  assert all(np.array_equal(v, start[k]) for k, v in loading.parameters(fresh).items())


def test_actions_that_are_less_sure_count_less(fresh):
  sure, batch = np.ones((2, 8), np.float32), unseen()
  sure[1] = 0
  both, first, second = (judged(fresh, **{**batch, 'confidence': x})[0] for x in (0 * sure + 1, sure, 1 - sure))
  late = batch['is_last'].copy()
  late[0, 4:], late[1, :4] = True, True
  assert first != second and judged(fresh, **{**batch, 'confidence': 0 * sure})[0] == both  # Or nothing would be learned.
  np.testing.assert_allclose(both, (first + second) / 2, rtol=1e-5)
  np.testing.assert_allclose(judged(fresh, **{**batch, 'is_last': late})[0], second, rtol=1e-5)


def test_the_policy_is_not_told_what_it_is_to_do(fresh):
  """Its error in a step is a parabola of the action there: what it does depends on earlier ones alone."""
  batch, at = unseen(), np.ones((2, 8), bool)
  at[:, 5] = False

  def error(value):
    action = batch['action'].copy()
    action[:, 5] = value
    return judged(fresh, **{**batch, 'is_last': at, 'action': action})[1]

  np.testing.assert_allclose(error(1.0) + error(-1.0) - 2 * error(0.0), 2.0, rtol=1e-4)
