"""Episodes that are carried out by sources."""

import numpy as np
import pytest
from helpers import clones

from vid2act_plugin.agent import acting, build, imitate
from vid2act_plugin.agent.usefulness import POLICY
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.host import internals, loading
from vid2act_plugin.teacher import behaviours

B, T, ENVS = 4, 6, 2


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp('cloned') / 'behaviours'
  clones.make().write(path)
  return path


@pytest.fixture(scope='module')
def settings(configure, bundle, folder):
  return configure('vid2act', 'finetune', **{
      'vid2act.teacher': str(bundle), 'vid2act.cloned': str(folder), 'agent.vid2act.imitate': 1.0,
      'agent.vid2act.execute': dict(start=1.0, end=0.2, until=80, noise=0.0, evaluate='policy')})


@pytest.fixture(scope='module')
def shared(settings, make_agent):
  return make_agent(settings)


@pytest.fixture
def agent(shared):
  """The agent as if it had done nothing yet."""
  data = {'params': loading.parameters(shared), 'counters': loading.FRESH}
  shared.load({**data, acting.STATE: {**acting.Ledger().save(), 'steps': 0}})
  return shared


def observe(step, length=5, envs=ENVS):
  """Return what the environments show at a step; their episodes have `length` steps."""
  rng = np.random.default_rng(step)
  return dict(
      image=rng.integers(0, 256, (envs, 16, 16, 3), np.uint8),
      reward=np.arange(envs, dtype=np.float32) * (step % length),
      is_first=np.full(envs, step % length == 0), is_last=np.full(envs, step % length == length - 1),
      is_terminal=np.zeros(envs, bool))


def play(agent, steps, begin=0, carry=None):
  carry, found = carry or agent.init_policy(ENVS), []
  for i in range(begin, begin + steps):
    carry, act, out = agent.policy(carry, observe(i))
    found.append((carry, act['action'], out))
  return found


def test_a_source_carries_out_the_whole_episode(agent, folder):
  act, rest = behaviours.read(folder).actor(), []
  found = play(agent, 10)
  for i in range(10):
    state, action = found[i][0][0], found[i][1]
    before = observe(i - 1 if i % 5 else i)['image']
    frames = np.stack([before, observe(i)['image']], 1)
    for env, source in enumerate(state['by']):
      assert source == found[i - i % 5][0][0]['by'][env]
      if source == POLICY:
        rest.append(action[env])
      else:
        np.testing.assert_allclose(action[env], act(frames, state['by'])[env, :3], atol=1e-5)
  by = agent.ledger.by[1:]
  assert len(by) == 4 and {POLICY, 0, 2} >= set(by.tolist()) and (by != POLICY).any()


def test_sources_with_other_actions_are_no_candidates(agent):
  assert agent.candidates == [0, 2]
  rng = np.random.default_rng(0)
  assert {agent.ledger.choose([POLICY, *agent.candidates], rng) for _ in range(50)} == {POLICY, 0, 2}


def test_any_source_acts_where_none_is_chosen(agent, monkeypatch):
  """Whatever they have earned, and never the policy in place of one."""
  monkeypatch.setattr(agent, 'options', agent.options.update(choose='uniform'))
  for _ in range(40):
    by = agent._begin()
    agent.ledger.end(agent.ledger.begin(by), 10.0 * (by == 0))
  counts = np.unique(agent.ledger.by[1:], return_counts=True)
  assert counts[0].tolist() == [0, 2] and (counts[1] > 10).all()


def test_the_policy_is_told_what_was_done(agent):
  """The same policy that is told the executed actions sees the same."""
  found = play(agent, 4)
  inner = agent.agent.init_policy(ENVS)
  agent.n_actions.value = 0  # It decides what the policy draws.
  for i, (carry, action, out) in enumerate(found):
    inner, own, plain = agent.agent.policy(inner, observe(i))
    for key, value in plain.items():
      np.testing.assert_array_equal(out[key], value)
    done = internals.split(agent.agent, internals.put({'action': action}, agent.policy_sharded))
    inner = (*inner[:3], done)
    np.testing.assert_array_equal(np.stack(carry[1 + internals.PREVACT]['action']), action)
    for env, source in enumerate(carry[0]['by']):
      assert (own['action'][env] == action[env]).all() == (source == POLICY)


def test_evaluation_is_the_policys_alone(agent):
  carry = agent.init_policy(ENVS)
  for i in range(7):
    carry, act, out = agent.policy(carry, observe(i), mode='eval')
    assert out[f'{acting.BY}policy'].tolist() == [1] * ENVS and (carry[0]['by'] == POLICY).all()
    assert out[imitate.EPISODE].tolist() == [0] * ENVS and out[imitate.EPISODE].dtype == np.int32  # As spaces of a replay have it.
  assert len(agent.ledger.by) == 1 and agent.steps == 0


def test_the_agent_may_choose_in_evaluation(agent, folder):
  act = behaviours.read(folder).actor()
  for source, gained in ((0, 1.0), (2, 3.0), (POLICY, 2.0)):
    agent.ledger.end(agent.ledger.begin(source), gained)
  agent.options = agent.options.update(evaluate='best', noise=1.0)
  try:
    for mode, who in (('eval', 2), ('policy', POLICY)):
      carry, action, out = agent.policy(agent.init_policy(ENVS), observe(0), mode=mode)
      assert carry[0]['by'].tolist() == [who] * ENVS
      said = {k.removeprefix(acting.BY): v.tolist() for k, v in out.items() if k.startswith(acting.BY)}
      assert said == {
          k: [float(v == who)] * ENVS for k, v in dict(policy=POLICY, one=0, three=2).items()}
      frames = np.repeat(observe(0)['image'][:, None], 2, 1)
      same = np.allclose(action['action'], act(frames, [2] * ENVS)[:, :3], atol=1e-5)
      assert same == (who == 2)  # Without noise, whatever that of training is.
    for _ in range(9):
      agent.ledger.end(agent.ledger.begin(POLICY), 4.0)
    assert agent.policy(agent.init_policy(ENVS), observe(0), mode='eval')[0][0]['by'][0] == POLICY
  finally:
    agent.options = agent.options.update(evaluate='policy', noise=0.0)
  assert agent.steps == 0 and len(agent.ledger.by) == 13


def test_episodes_are_booked(agent):
  found = play(agent, 12)
  numbers = np.array([x[2][imitate.EPISODE] for x in found])
  assert numbers.dtype == np.int32
  assert numbers[:, 0].tolist() == [1] * 5 + [3] * 5 + [5] * 2
  assert numbers[:, 1].tolist() == [2] * 5 + [4] * 5 + [6] * 2
  np.testing.assert_array_equal(agent.ledger.gained[1:], [0, 10, 0, 10, np.nan, np.nan])
  np.testing.assert_allclose(agent.ledger.merit(), [0, 0, 1, 0, 1, 0, 0])
  for worker, tran in ((0, {'log/success': 0.0}), (1, {'log/success': 1.0}), (1, {'log/success': 0.0}), (0, {})):
    agent.told(tran, worker)
  np.testing.assert_array_equal(agent.ledger.won[1:], [np.nan] * 4 + [0, 1])


def test_the_share_falls_with_env_steps(agent):
  assert agent.probability() == 1.0
  play(agent, 20)  # 40 agent steps of 1 env step each.
  assert agent.probability() == pytest.approx(0.6)
  play(agent, 40)
  assert agent.probability() == pytest.approx(0.2)


def test_noise_is_added_and_clipped(agent):
  calm = play(agent, 1)[0]
  agent.options = agent.options.update(noise=5.0)
  agent.ledger.load(acting.Ledger().save())
  agent.steps = agent.n_actions.value = 0
  wild = play(agent, 1)[0]
  agent.options = agent.options.update(noise=0.0)
  carried = calm[0][0]['by'] != POLICY
  assert carried.any() and (calm[1] != wild[1]).any(1).tolist() == carried.tolist()
  assert np.abs(wild[1][carried]).max() == 1  # The policy itself may go beyond.


def test_a_continued_run_chooses_the_same(agent):
  play(agent, 5)
  state = agent.save()
  found, share = [x[1] for x in play(agent, 10)], agent.probability()
  agent.load(state)
  assert agent.steps == 5 * ENVS and agent.probability() > share  # It falls with them.
  for one, other in zip(found, [x[1] for x in play(agent, 10)]):
    np.testing.assert_array_equal(one, other)
  assert set(state) == {'params', 'counters', acting.STATE}


def test_what_was_earned_is_recalled_and_belongs_to_its_sources(agent):
  """An agent that is evaluated alone acts as it did at the end of its training."""
  agent.ledger.end(agent.ledger.begin(2), 9.0)
  agent.ledger.end(agent.ledger.begin(POLICY), 1.0)
  state = agent.save()
  agent.ledger.load(acting.Ledger().save())
  assert agent._best() == POLICY
  agent.recall({k: v for k, v in state.items() if k == acting.STATE})
  assert agent._best() == 2
  agent.recall({'params': {}})  # As of a run in which none acted.
  assert agent._best() == 2
  state[acting.STATE]['sources'] = ['two', 'one', 'three']
  with pytest.raises(UserError, match=r"carried out by behaviours of \['two', 'one', 'three'\], not of"):
    agent.load(state)
  del state[acting.STATE]['sources']  # An earlier version's.
  agent.load(state)


def test_a_batch_is_judged_by_its_episodes(agent):
  play(agent, 12)
  numbers = np.array([[1, 2, 3], [4, 5, 0]], np.int32)
  data = internals.put({imitate.EPISODE: numbers}, agent.train_sharded)
  for _ in range(2):
    merit = np.asarray(agent.judged(data)[imitate.MERIT])
    np.testing.assert_allclose(merit, agent.ledger.merit()[numbers])
    for _ in range(1030):  # More than the first table has room for.
      agent.ledger.begin(POLICY)
  assert merit.tolist() == [[0, 1, 0], [1, 0, 0]]
  # What was judged stays so: an update that is looked at again is the same one.
  judged = agent.judged(data)
  agent.ledger.end(2, 1e3)
  assert agent.judged(judged) is judged


def test_it_says_what_sources_earn(agent):
  play(agent, 10)
  mets = agent.standing()
  assert sum(mets[f'execute/episodes/{x}'] for x in ('policy', 'one', 'three')) == 4
  assert 'execute/episodes/two' not in mets
  assert mets['execute/probability'] == pytest.approx(agent.probability())


def test_without_execution_nothing_is_around_the_agent(fresh):
  assert not isinstance(fresh, acting.Acting) and imitate.EPISODE not in fresh.spaces


def test_behaviours_that_do_not_fit_are_refused(settings, spaces, make_agent, bundle):
  with pytest.raises(UserError, match='there are no behaviours in the teacher'):
    make_agent(settings.update({'vid2act.cloned': ''}))


def test_a_teacher_that_is_needed_for_nothing_else_has_them(settings, shared, bundle, monkeypatch):
  monkeypatch.setattr(build.behaviours, 'of', lambda made: clones.make() if str(made.folder) == str(bundle) else None)
  made = build._acting(shared.agent, settings.update({'vid2act.cloned': ''}))  # As without distillation, guide and init.
  assert made.names == clones.FACTS['sources']


def test_another_pace_or_camera_than_the_recordings_is_noted(settings, capsys):
  env = dict(settings.env.metaworld)
  told = lambda changes, source='metaworld_reach': build._note_other_settings(
      dict(env={**env, **changes}, sources=[source]), settings) or capsys.readouterr().out
  assert not any((told({'limit': 3, 'size': (3, 3)}), *(told({'repeat': 9}, x) for x in ('robot', 'dmcontrol_walker_walk'))))
  assert f"Note: of env.metaworld the task has camera {env['camera']!r} (the recordings of the sources 'behindGripper')" in (
      text := told({'repeat': 9, 'camera': 'behindGripper'}))
  assert settings.task.startswith('metaworld') and f"repeat {env['repeat']} (the recordings of the sources 9)" in text
