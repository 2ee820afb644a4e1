"""Rehearsal, overlays and keys of the runs that use teacher or recordings in another way."""

import re
import types

import elements
import embodied
import numpy as np
import pytest

from vid2act_plugin import prepare as chain
from vid2act_plugin.agent import build, rehearse
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import dataset
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.teacher import bundle as bundles

NAMES = ['metaworld_door-close', 'metaworld_reach-wall']
CONTEXT, B, T = 1, 4, 7


def episode(value, steps, seed, size=16):
  """An episode with two actions, whose images and rewards tell its source."""
  flags = np.zeros((3, steps), bool)
  flags[0, 0] = flags[1, -1] = True
  action = np.random.default_rng(seed).uniform(-1, 1, (steps, 2)).astype(np.float32)
  action[-1] = 0
  return dict(
      image=np.full((steps, size, size, 3), value, np.uint8), action=action,
      reward=np.full(steps, value, np.float32), is_first=flags[0], is_last=flags[1],
      is_terminal=flags[2], success=np.zeros(steps, np.float32))


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  root = tmp_path_factory.mktemp('rehearse')
  for value, name in enumerate(NAMES, 101):
    entries = [
        recordings.write_episode(root / name, i, episode(value, 12, 10 * value + i))
        for i in range(2)]
    recordings.write_manifest(root / name, dict(
        source=name, suite='metaworld', task=name.split('_')[1], behaviour={}, seed=0, env={},
        versions={}, act_size=2, episodes=entries))
  return root


@pytest.fixture
def config(configure, root):
  def fn(**changes):
    return configure('vid2act', 'rehearse', **{
        'vid2act.recordings': str(root), 'vid2act.sources': NAMES, **changes})
  return fn


@pytest.fixture
def rehearsal(config, spaces):
  return rehearse.Rehearsal(config(**{'agent.vid2act.rehearse': 0.5}), *spaces)


@pytest.fixture
def batch():
  """A batch as the host's stream gives it, each entry 1 or True."""
  shapes = {
      'image': ((16, 16, 3), np.uint8), 'action': ((3,), np.float32), 'reward': ((), np.float32),
      'is_first': ((), bool), 'is_last': ((), bool), 'is_terminal': ((), bool),
      'stepid': ((20,), np.uint8), 'consec': ((), np.int32), 'dyn/deter': ((16,), np.float32),
      'dyn/stoch': ((4, 4), np.float32)}
  return {k: np.ones((B, T, *shape), dtype) for k, (shape, dtype) in shapes.items()}


def test_rows_are_replaced_exactly(rehearsal, batch):
  before = {k: v.copy() for k, v in batch.items()}
  mixed, wanted = rehearsal(batch, 5), rehearsal.sources.sample(5, 2, T)
  assert mixed.keys() == batch.keys()
  for key, value in mixed.items():
    assert value.dtype == before[key].dtype and value.shape == before[key].shape, key
    np.testing.assert_array_equal(value[:2], before[key][:2], key)
    np.testing.assert_array_equal(batch[key], before[key], key)
  for key in ('image', 'reward', 'is_last', 'is_terminal'):
    np.testing.assert_array_equal(mixed[key][2:], wanted[key], key)
  np.testing.assert_array_equal(mixed['action'][2:], wanted['action'][..., :3])
  assert mixed['action'][2:, ..., :2].any() and not mixed['action'][2:, ..., 2].any()
  np.testing.assert_array_equal(mixed['is_first'][2:, CONTEXT], True)
  assert not any(mixed[k][2:].any() for k in ('stepid', 'consec', 'dyn/deter', 'dyn/stoch'))


def test_actions_that_the_task_has_not_are_told(config, spaces, batch, capsys):
  rehearse.Rehearsal(config(), *spaces)
  assert 'these have more' not in capsys.readouterr().out
  one = {'action': elements.Space(np.float32, 1, -1, 1)}
  mixed = rehearse.Rehearsal(config(), spaces[0], one)({**batch, 'action': batch['action'][..., :1]}, 0)
  assert mixed['action'].shape == (B, T, 1)
  assert re.search(r'the task has 1 actions, of which alone it learns what is rehearsed of .+; these have more', capsys.readouterr().out)


def test_more_actions_than_the_teacher_is_wide(config, spaces, batch):
  acts = {'action': elements.Space(np.float32, 3, -1, 1)}
  narrow = rehearse.Rehearsal(config(**{'vid2act.act_width': 2}), spaces[0], acts)
  mixed = narrow(batch, 0)['action']
  assert mixed.shape == (B, T, 3) and not mixed[-1:, ..., 2].any()


@pytest.mark.parametrize('share, rows', [(0.25, 1), (1.0, 4), (0.6, 2)])
def test_share(share, rows, config, spaces, batch):
  mixed = rehearse.Rehearsal(config(**{'agent.vid2act.rehearse': share}), *spaces)(batch, 0)
  assert (mixed['reward'][:, 0] > 100).tolist() == [False] * (B - rows) + [True] * rows


def test_stream_counts_from_the_updates(rehearsal, batch):
  """The same windows at the same count, and others in a run that goes on."""
  def three(updates):
    agent = types.SimpleNamespace(n_updates=updates, stream=iter, other=1)
    proxy = rehearse.Rehearsing(agent, rehearsal)
    assert proxy.other == 1
    stream = proxy.stream(embodied.streams.Stateless(lambda: dict(batch)))
    return [next(stream)['action'] for _ in range(3)]
  first, again, later = three(elements.Counter(0)), three(elements.Counter(0)), three(1)
  np.testing.assert_array_equal(first, again)
  np.testing.assert_array_equal(first[1:], later[:2])
  assert (first[0] != first[1]).any()


def test_replay_ignores_rehearsed_rows(rehearsal):
  """What the agent sends back reaches the stored steps of the other rows alone."""
  replay = embodied.replay.Replay(length=T, capacity=100)
  flags = {k: np.bool_(False) for k in ('is_last', 'is_terminal')}
  for step in range(30):
    replay.add({
        'image': np.zeros((16, 16, 3), np.uint8), 'action': np.zeros(3, np.float32),
        'reward': np.float32(0), 'is_first': np.bool_(step == 0),
        'dyn/deter': np.zeros(2, np.float32), **flags})
  mixed = rehearsal(replay.sample(B), 0)
  state = np.arange(1, B + 1, dtype=np.float32)[:, None, None] * np.ones((B, T, 2), np.float32)
  replay.update({'stepid': mixed['stepid'], 'dyn/deter': state})
  stored = np.concatenate([x.data['dyn/deter'][:x.length] for x in replay.chunks.values()])
  assert set(stored.flatten()) <= {0, 1, 2} and stored.max() > 0


def test_a_recording_with_too_few_steps(config, spaces):
  with pytest.raises(UserError, match='has 24 steps.*needs 41'):
    rehearse.Rehearsal(config(report_length=40), *spaces)


def test_windows_for_the_vae_that_are_longer_than_a_recording(config):
  bundle = types.SimpleNamespace(act_width=2, manifest={'sources': NAMES})
  with pytest.raises(UserError, match='windows are 25 steps long, .* has 24 .* lower the key batch_length.$'):
    build._windows(config(batch_length=25), bundle)
  assert build._windows(config(batch_length=24), bundle)(0)['image'].shape[1] == 24


@pytest.mark.parametrize('at_once', [64, 3])
def test_the_nearest_episodes_begin_as_the_task_does(root, bundle, monkeypatch, at_once):
  """Those of the second recording, whose images have another value, and of none else."""
  sources = dataset.Sources([root / x for x in NAMES], holdout=0)
  teacher = bundles.load(bundle)
  monkeypatch.setattr(rehearse, 'AT_ONCE', at_once)
  for value, wanted in ((101, [0, 1, 2, 3]), (102, [2, 3, 0, 1])):
    images = np.full((3, 16, 16, 3), value, np.uint8)
    assert rehearse.nearest(sources, teacher, images) == wanted


def test_rows_of_the_nearest_episodes_alone(config, spaces, batch, bundle, monkeypatch):
  order = []
  monkeypatch.setattr(rehearse, 'nearest', lambda sources, teacher, images: (
      order.append(images), [2, 3, 0, 1])[1])
  settings = config(**{
      'agent.vid2act.rehearse_from': 0.5, 'vid2act.teacher': str(bundle), 'env.metaworld.size': (16, 16)})
  near = rehearse.Rehearsal(settings, *spaces)
  assert not order  # JAX computes nothing before the agent has set how.
  near.choose(settings)
  assert order[0].shape == (rehearse.BEGUN, 16, 16, 3) and len(np.unique(order[0], axis=0)) > 1
  for step in range(8):
    assert np.unique(near(batch, step)['image'][-near.rows:]).tolist() == [102]


def test_episodes_are_chosen_after_the_agent_has_set_how_jax_computes(config, spaces, monkeypatch):
  done = []
  monkeypatch.setattr(build, '_make', lambda *args: done.append('agent'))
  monkeypatch.setattr(rehearse.Rehearsal, 'choose', lambda *args: done.append('episodes'))
  build.make(config(), *spaces, None)
  assert done == ['agent', 'episodes']


def test_half_of_the_episodes_may_be_too_few_steps(config, spaces, bundle, monkeypatch):
  settings = config(**{
      'report_length': 22, 'agent.vid2act.rehearse_from': 0.25, 'vid2act.teacher': str(bundle), 'env.metaworld.size': (16, 16)})
  monkeypatch.setattr(rehearse, 'nearest', lambda *args: [0, 2, 1, 3])
  rehearsal = rehearse.Rehearsal(settings, *spaces)
  with pytest.raises(UserError, match='has 12 steps.*needs 23'):
    rehearsal.choose(settings)


def test_bad_spaces(config, spaces):
  obs, act = spaces
  more = {**obs, 'joints': elements.Space(np.float32, 5)}
  with pytest.raises(UserError, match='joints'):
    rehearse.Rehearsal(config(), more, act)
  large = {**obs, 'image': elements.Space(np.uint8, (32, 32, 3))}
  with pytest.raises(UserError, match='32, 32, 3.*16, 16, 3.*env.metaworld.size'):
    rehearse.Rehearsal(config(), large, act)
  with pytest.raises(UserError, match="named 'action'"):
    rehearse.Rehearsal(config(), obs, {'action': elements.Space(np.int32, (), 0, 3)})


@pytest.mark.parametrize('names, teacher, recorded', [
    ((), False, False), (('vid2act',), True, False), (('finetune',), True, False),
    (('actionfree',), True, False), (('rehearse',), True, True),
    (('vid2act', 'vid2act_scratch'), True, False), (('vid2act', 'vid2act_published'), True, True)])
def test_what_a_run_needs(names, teacher, recorded, configure):
  assert chain._needs(configure(*names)) == (teacher, recorded)
  assert chain._needs(configure(*names, script='eval_only')) == (teacher and configure(*names).agent.vid2act.distill, False)
  assert not names or configure(*names).method == names[-1]


def test_rehearsal_alone_needs_recordings_only(config, capsys):
  alone = config(**{f'agent.vid2act.{x}': False for x in ('distill', 'guide', 'init')})
  assert chain.prepare(alone).vid2act.teacher == ''
  assert 'Recordings: given' in capsys.readouterr().out


def test_pretraining_without_actions(configure):
  """The model is shown zeros; the data keeps its actions, and so does the VAE's memory."""
  from vid2act_plugin.teacher.pretraining import Pretrain
  assert configure('actionfree').vid2act.pretrain.actions is False
  data = {'action': np.ones((1, 2, 3)), 'image': np.ones(1)}
  for actions in (True, False):
    model = types.SimpleNamespace(config=types.SimpleNamespace(actions=actions))
    assert Pretrain._visible(model, data)['action'].any() == actions
    assert data['action'].all()


def test_bundle_without_actions(bundle, configure, monkeypatch):
  """The rows that no action ever excited are zero, so that such a teacher ignores actions."""
  from vid2act_plugin.training import pretrain
  monkeypatch.setattr(pretrain.memory, 'collect', lambda *args: {})
  params = bundles.load(bundle).params
  agent = types.SimpleNamespace(save=lambda: {'params': params})
  data = types.SimpleNamespace(
      names=['a', 'b', 'c'], act_sizes=[2, 3, 3], image=(16, 16, 3), envs=[{}] * 3, key='')
  for name, rows in (('vid2act', 3), ('actionfree', 0)):
    made = pretrain.bundle(agent, data, configure(name))
    kernel = made.params['dyn/dynin2/kernel']
    assert made.manifest['actions'] == bool(rows)
    assert kernel.any(1).tolist() == [True] * rows + [False] * (16 - rows) + [True] * 3
