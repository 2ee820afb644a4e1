"""Behaviours: what is learned from recordings, of whom, and how it is kept."""

import json
import types

import numpy as np
import pytest
from helpers import spoilt

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import dataset, recording
from vid2act_plugin.teacher import behaviours, bundle, cloning

SETTINGS = dict(
    updates=400, batch_size=64, frames=2, shift=0, channels=8, hidden=32, episodes=0)
SIZE, LENGTH = 8, 12


def episode(rng, sign, won):
  """Images get brighter or darker by steps; the action is by how much, times `sign`, if it is won."""
  moves = rng.choice([-1, 1], LENGTH)
  light = 128 + 8 * np.cumsum(moves)
  image = np.broadcast_to(light[:, None, None, None], (LENGTH, SIZE, SIZE, 3)).astype(np.uint8)
  moves[0] = 0  # Nothing before the first image tells.
  action = sign * (1 if won else -1) * 0.8 * np.stack([moves, np.zeros(LENGTH)], 1)
  action[-1] = 0
  first, last = np.zeros((2, LENGTH), bool)
  first[0] = last[-1] = True
  return dict(
      image=image, action=action.astype(np.float32),
      reward=np.full(LENGTH, float(won), np.float32), is_first=first, is_last=last,
      is_terminal=np.zeros(LENGTH, bool), success=np.full(LENGTH, won, np.float32))


def write(folder, sign, success=True):
  """Write 20 episodes, of which every other one is won, and told so if `success`."""
  rng, entries = np.random.default_rng(sign + 1), []
  for i in range(20):
    made = episode(rng, sign, i % 2 == 0)
    made['success'] *= success
    entries.append(recording.write_episode(folder, i, made))
  recording.write_manifest(folder, dict(
      source=folder.name, suite='fake', task=folder.name, behaviour={}, seed=0, env={},
      versions={}, act_size=2, episodes=entries))
  return folder


@pytest.fixture(scope='module')
def sources(tmp_path_factory):
  root = tmp_path_factory.mktemp('recordings')
  return dataset.Sources(
      [write(root / 'same', 1), write(root / 'other', -1, success=False)], holdout=0.2, act_width=3)


@pytest.fixture(scope='module')
def learned(sources):
  import embodied.jax.nets
  import jax.numpy as jnp
  embodied.jax.nets.COMPUTE_DTYPE = jnp.float32
  training = cloning.Training(sources, SETTINGS)
  for i in range(SETTINGS['updates']):
    training(i)
  return training.result()


def test_only_good_episodes_are_demonstrations(sources):
  for split, count in (('train', 8), ('holdout', 2)):
    same, other = sources.demonstrations(split)
    assert len(same) == len(other) == count
    assert all(stop - start == LENGTH for start, stop in same)
    for found, stream in zip((same, other), sources.streams[split]):
      assert all(stream['reward'][start] == 1 for start, _ in found)


def test_failures_held_out_are_no_measure_of_what_succeeded(sources, monkeypatch):
  """Where only failures are held out, no error is told; it would be that of what is not imitated."""
  lost = [[(False, gained) for _, gained in sources.worth['holdout'][0]], sources.worth['holdout'][1]]
  monkeypatch.setitem(sources.worth, 'holdout', lost)
  same, other = sources.demonstrations('holdout')
  assert not same and len(other) == 2 and len(sources.demonstrations()[0]) == 8
  assert cloning._Steps(sources, 'holdout', 2).first(0, 512)[1].shape == (0, 3)
  found = cloning.Training(sources, SETTINGS).result().facts['error']
  assert found[0] is None and found[1] > 0


def test_it_tells_motion_and_sources_apart(learned):
  assert max(learned.facts['error']) < 0.05, learned.facts
  act, frames = learned.actor(), np.zeros((4, 2, SIZE, SIZE, 3), np.uint8)
  frames[:, 0], frames[:, 1] = 128, np.array([136, 120, 136, 120])[:, None, None, None]
  found = act(frames, [0, 0, 1, 1])
  assert found.shape == (4, 3)
  np.testing.assert_allclose(found[:, 0], [0.8, -0.8, -0.8, 0.8], atol=0.25)


def test_the_first_image_stands_for_those_before(sources):
  steps = cloning._Steps(sources, 'train', 3)
  frames, action, source = steps.first(1, 10 ** 6)
  assert len(action) == 8 * (LENGTH - 1) and (source == 1).all()
  assert (frames[0] == frames[0, :1]).all() and (frames[1, 0] == frames[1, 1]).all()
  assert (frames[2, 1:] == frames[3, :2]).all() and (frames[1, 1] != frames[1, 2]).any()
  start, _ = sources.demonstrations()[1][1]
  assert (frames[LENGTH - 1] == sources.streams['train'][1]['image'][start]).all()
  rng = np.random.default_rng(0)
  drawn = np.bincount(steps.draw(rng, 2000)[2])
  assert 0.9 < drawn[0] / drawn[1] < 1.1


def test_inferred_actions_are_drawn_by_their_confidence(sources):
  split = {**sources.streams['train'][0]}
  split['confidence'] = np.where(split['action'][:, 0] > 0, 0.25, 1).astype(np.float32)
  other = types.SimpleNamespace(
      streams={'train': [split, sources.streams['train'][1]]}, demonstrations=sources.demonstrations)
  def positive(data):
    _, action, source = cloning._Steps(data, 'train', 2).draw(np.random.default_rng(0), 4000)
    return [(action[source == k][:, 0] > 0).mean() for k in (0, 1)]
  (before, same), (now, still) = positive(sources), positive(other)
  assert same == still and abs(now - before / (4 - 3 * before)) < 0.05


def test_all_frames_of_a_step_move_together(plain):
  import jax
  rng = np.random.default_rng(0)
  frames = np.repeat(rng.integers(0, 256, (50, 1, 6, 6, 3), np.uint8), 2, 1)
  moved = np.asarray(cloning.shift(frames, 1, jax.random.PRNGKey(0)))
  assert (moved[:, 0] == moved[:, 1]).all()
  wide = np.pad(frames, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), mode='edge')
  places = set()
  for i in range(50):
    fits = [(y, x) for y in range(3) for x in range(3)
            if (wide[i, :, y: y + 6, x: x + 6] == moved[i]).all()]
    assert fits
    places |= set(fits)
  assert len(places) == 9
  assert cloning.shift(frames, 0, jax.random.PRNGKey(0)) is frames


def test_the_same_recordings_give_the_same(sources, learned):
  again = cloning.Training(sources, SETTINGS)
  losses = [float(again(i)) for i in range(3)]
  other = cloning.Training(sources, SETTINGS)
  assert losses == [float(other(i)) for i in range(3)]


def test_written_and_read(learned, tmp_path):
  learned.write(tmp_path / 'behaviours')
  assert behaviours.exists(tmp_path / 'behaviours')
  found = behaviours.read(tmp_path / 'behaviours')
  assert found.facts == json.loads(json.dumps(learned.facts))
  frames = np.random.default_rng(0).integers(0, 256, (2, 2, SIZE, SIZE, 3), np.uint8)
  np.testing.assert_array_equal(found.actor()(frames, [0, 1]), learned.actor()(frames, [0, 1]))


@pytest.mark.parametrize('spoil, said', [
    (lambda folder, facts: (folder / behaviours.TENSORS).write_bytes(b'x'), 'is not as it was written'),
    (lambda folder, facts: (folder / behaviours.TENSORS).unlink(), 'No such file'),
    (lambda folder, facts: facts['settings'].update(hidden=64), 'is not finite float32 of shape'),
    (lambda folder, facts: facts['settings'].update(channels=10 ** 9), 'its sizes'),
    (lambda folder, facts: facts['settings'].update(frames='3'), 'its sizes'),
    (lambda folder, facts: facts.pop('settings'), 'lack the settings'),
    (lambda folder, facts: facts.pop('act_sizes'), "the field 'act_sizes'"),
    (lambda folder, facts: facts.update(success=[None, [2, 0]]), 'lack .* a success for each source'),
    (lambda folder, facts: facts.update(sources=['same']), 'its act_sizes'),
    (lambda folder, facts: facts.update(sources=['same'], act_sizes=[2], error=[0.5], success=[None]),
     'is not finite float32 of shape')])
def test_what_is_amiss_is_told(learned, tmp_path, spoil, said):
  folder = tmp_path / 'behaviours'
  text = spoilt.refusal(behaviours, learned, folder, spoil, said)
  assert str(folder) in text and text.endswith('; name one that --script clone has written, LOGDIR/behaviours.')
  with pytest.raises(UserError, match='; delete this folder, and they are learned again'):
    behaviours.read(folder, behaviours.MADE)


def test_not_finite_is_refused(learned, tmp_path):
  bad = {k: np.full_like(v, np.nan) for k, v in learned.params.items()}
  with pytest.raises(ValueError, match='is not finite'):
    behaviours.checked(bad, learned.facts)


def test_a_bundle_keeps_them(learned, tmp_path):
  made = bundle.Bundle({}, dict(source=np.zeros(0, np.int32)), dict(
      sources=['same', 'other'], act_sizes=[2, 2], act_width=3, image=[SIZE, SIZE, 3],
      agent={'dyn': {'rssm': dict(deter=4, stoch=2, classes=2)}}, env={}, recordings='', updates=1))
  made.save(tmp_path / 'before')
  assert behaviours.of(bundle.load(tmp_path / 'before')) is None
  made.clones, made.manifest['behaviours'] = learned.params, learned.facts
  made.save(tmp_path / 'teacher')
  found = behaviours.of(bundle.load(tmp_path / 'teacher'))
  assert found.facts == json.loads(json.dumps(learned.facts))
  assert all((found.params[k] == v).all() for k, v in learned.params.items())
  made.manifest['sources'] = ['same', 'else']
  made.save(tmp_path / 'mixed')
  with pytest.raises(UserError, match='their sources are not those of its manifest'):
    behaviours.of(bundle.load(tmp_path / 'mixed'))
  path = tmp_path / 'teacher' / bundle.CLONES
  path.write_bytes(path.read_bytes()[:-1] + b'\0')
  with pytest.raises(UserError, match=f'{bundle.CLONES} is missing or does not have the hash'):
    bundle.load(tmp_path / 'teacher')


def test_images_of_any_size():
  for image in ([4, 4, 3], [16, 16, 3], [32, 48, 3], [100, 84, 3]):
    facts = dict(sources=['a'], act_width=2, image=image, settings=SETTINGS)
    assert behaviours.shapes(facts)['behaviours/action/bias'] == (2,)


def test_padded_actions_do_not_count(sources):
  narrow = types.SimpleNamespace(**{**vars(sources), 'act_sizes': [2, 1]})
  narrow.demonstrations = sources.demonstrations
  training, spoilt = (cloning.Training(narrow, SETTINGS) for _ in range(2))
  draw = spoilt.steps['train'].draw
  def changed(rng, count):
    frames, action, source = draw(rng, count)
    action = action.copy()
    action[source == 1, 1:] = 7
    action[:, 2] = 7
    return frames, action, source
  spoilt.steps['train'].draw = changed
  assert float(training(0)) == float(spoilt(0))
