"""The inverse dynamics model: which action it tells at which image, from whom, and how sure."""

import json

import numpy as np
import pytest
from helpers import moves, spoilt

from vid2act_plugin.sources import dataset, recording
from vid2act_plugin.teacher import inverse, inverting

SETTINGS = dict(updates=400, batch_size=32, networks=2, channels=8, hidden=32, shift=0)


@pytest.fixture(scope='module')
def sources(tmp_path_factory):
  root = tmp_path_factory.mktemp('recordings')
  return dataset.Sources(
      [moves.write(root / x, seed=i, base=60 + 4 * i) for i, x in enumerate(('one', 'two'))], 0.2, 2)


@pytest.fixture(scope='module')
def learned(sources):
  import embodied.jax.nets
  import jax.numpy as jnp
  embodied.jax.nets.COMPUTE_DTYPE = jnp.float32
  training = inverting.Training(sources, SETTINGS, dict(seed=0))
  for i in range(SETTINGS['updates']):
    training(i)
  return training.result()


def test_an_action_is_the_one_that_leads_to_the_next_image(learned):
  image, action = moves.play(seed=999, length=40)
  found, confidence = learned(image)
  assert found.dtype == confidence.dtype == np.float32
  assert found.shape == action.shape and confidence.shape == (40,)
  error = lambda shift: np.square(found[5:-5] - action[5 + shift: len(action) - 5 + shift]).mean()
  assert error(0) < 0.02 < 0.2 < min(error(-1), error(1)), [error(i) for i in (-1, 0, 1)]
  assert not found[-1].any() and confidence[-1] == 1


def test_errors_are_told_of_episodes_and_of_tasks_not_learned_from(learned):
  for r2 in (*learned.facts['r2'], *learned.facts['r2_unseen']):
    assert min(r2) > 0.9, learned.facts
  assert max(max(x) for x in learned.facts['r2_mean']) <= 0.01


def test_a_single_episode_is_not_held_out_from_itself(tmp_path):
  """It is learned from, so that its error tells nothing; of two such, each is judged by who did not learn from it."""
  folders = [moves.write(tmp_path / x, count=n, seed=i) for i, (x, n) in enumerate((('one', 1), ('two', 1), ('three', 4)))]
  made = lambda chosen, networks: inverting.Training(
      dataset.Sources(chosen, 0.2, 2), {**SETTINGS, 'networks': networks}, dict(seed=0)).result().facts
  alone = made(folders[:1], 2)
  assert alone['r2'] == alone['r2_unseen'] == [None] and alone['slope'] == alone['scale'] == [1, 1]
  assert inverse.reached(alone) is None and not inverse.worth(alone)
  both = made(folders[:2], 2)
  assert both['r2'] == [None, None] and all(both['r2_unseen'])
  mixed = made(folders, 4)
  assert mixed['r2'][:2] == [None, None] and mixed['r2'][2] and mixed['r2_unseen'] == [None] * 3


def test_every_source_is_left_out_by_one_network(sources):
  training = inverting.Training(sources, SETTINGS, {})
  assert training.apart == [[0], [1]] and training.seen == [[1], [0]]
  rng, steps = np.random.default_rng(0), training.steps
  known = {x['image'].tobytes(): k for k, stream in enumerate(steps.streams) for x in (
      {'image': y} for y in stream['image'])}
  for among in training.seen:
    frames, _ = steps.draw(rng, 50, among)
    assert {known[x[inverse.BACK].tobytes()] for x in frames} == set(among)
  alone = inverting.Training(sources, {**SETTINGS, 'networks': 3}, {})
  assert alone.apart == [[], []] and alone.seen == [[0, 1]] * 3


def test_experts_are_not_learned_from_where_there_is_random_play(tmp_path, plain, monkeypatch):
  """What they do is told by where they are, and that is otherwise in another task."""
  monkeypatch.setattr(inverting, 'ENOUGH', 200)
  folders = [moves.write(tmp_path / name, count=90, seed=i) for i, name in enumerate(('one', 'two'))]
  for folder in folders:
    manifest = recording.load_manifest(folder)
    for i, entry in enumerate(manifest['episodes']):
      entry['behaviour'] = {'policy': 'random'}
      if i % 3:
        manifest['episodes'][i] = recording.write_episode(
            folder, i, moves.expert(100 * i, 1, 60), {'policy': 'expert'})
    recording.write_manifest(folder, manifest)
  data = dataset.Sources(folders, 0.2, 2)
  training = inverting.Training(data, SETTINGS, {})
  assert training.facts['random'] and training.steps.counts == [24 * 13] * 2
  frames, _ = training.steps.draw(np.random.default_rng(0), 50, [0, 1])
  assert (frames[:, :, -1] == 60).all()
  assert training.held.counts == [6 * 13] * 2 and training.new.counts == [12 * 13] * 2
  other = moves.expert(999, -1)
  def error():
    for i in range(SETTINGS['updates']):
      training(i)
    made = training.result()
    return np.square(made(other['image'])[0] - other['action'])[:-1, 0].mean(), made.facts
  good, facts = error()
  assert all(x > 0.2 for y in facts['r2_unseen'] for x in y), facts['r2_unseen']
  monkeypatch.setattr(inverting, 'ENOUGH', 9999)
  training = inverting.Training(data, SETTINGS, {})
  assert not training.facts['random'] and training.steps.counts == [72 * 13] * 2
  bad, _ = error()
  assert good < 0.5 * bad, (good, bad)


@pytest.mark.parametrize('networks', [1, 2, 3])
def test_where_no_random_episode_was_held_out(tmp_path, plain, monkeypatch, networks):
  monkeypatch.setattr(inverting, 'ENOUGH', 100)
  folder = moves.write(tmp_path / 'one', count=20)
  manifest = recording.load_manifest(folder)
  for entry in manifest['episodes'][:15]:
    entry['behaviour'] = {'policy': 'random'}
  recording.write_manifest(folder, manifest)
  training = inverting.Training(dataset.Sources([folder], 0.2, 2), {**SETTINGS, 'networks': networks, 'updates': 1}, {})
  assert not any(training.held.counts)
  made = training.result()
  assert made.facts['r2'] == [None] and np.isfinite(made.facts['scale']).all()


def test_no_image_of_another_episode_is_seen():
  around = inverse.around(np.array([10, 11, 18]), np.array([10] * 3), np.array([20] * 3))
  np.testing.assert_array_equal(around, [
      [10, 10, 10, 11, 12, 13], [10, 10, 11, 12, 13, 14], [16, 17, 18, 19, 19, 19]])


def test_where_pictures_tell_nothing_it_is_less_sure(tmp_path, plain):
  """In dark scenes, actions have nothing to do with what is seen."""
  folder, rng = moves.write(tmp_path / 'mixed', count=60), np.random.default_rng(0)
  settings = {**SETTINGS, 'updates': 1200, 'networks': 1, 'hidden': 64}
  manifest = recording.load_manifest(folder)
  for i in range(0, 60, 2):
    dark = moves.episode(i, base=0)
    dark['action'][:-1] = rng.uniform(-0.9, 0.9, (moves.LENGTH - 1, 2))
    manifest['episodes'][i] = recording.write_episode(folder, i, dark)
  recording.write_manifest(folder, manifest)
  training = inverting.Training(dataset.Sources([folder], 0.2, 2), settings, dict(seed=0))
  for i in range(settings['updates']):
    training(i)
  made = training.result()
  clear, dark = (made(moves.play(seed=999, base=x)[0])[1][:-1].mean() for x in (60, 0))
  assert clear > dark + 0.3, (clear, dark)


def test_actions_that_never_change_have_no_r2():
  action = np.stack([np.linspace(-1, 1, 9), np.full(9, 0.3)], 1)
  assert inverting.explained(action, action) == [1.0, None]
  assert inverting.explained(0 * action, action) == [0.0, None]


def test_what_is_guessed_in_vain_is_not_said():
  rng = np.random.default_rng(0)
  action = rng.normal(0.2, 1, (2000, 3))
  guess = np.stack([action[:, 0], rng.normal(0.2, 1, 2000), 0.2 - (action[:, 2] - 0.2)], 1)
  found = inverting.slope([guess[:900], guess[900:]], [action[:900], action[900:]], np.full(3, 0.2))
  np.testing.assert_allclose(found, [1, 0, 0], atol=0.06)
  half = inverting.slope([guess + rng.normal(0, 1, guess.shape)], [action], np.full(3, 0.2))
  np.testing.assert_allclose(half[0], 0.5, atol=0.05)


def test_written_and_read(learned, tmp_path):
  learned.write(tmp_path / 'inverse')
  found = inverse.read(tmp_path / 'inverse')
  assert found.facts == json.loads(json.dumps(learned.facts))
  assert found.digest() == learned.digest()
  image, _ = moves.play(seed=5)
  np.testing.assert_array_equal(found(image)[0], learned(image)[0])


@pytest.mark.parametrize('spoil, said', [
    (lambda folder, facts: (folder / inverse.TENSORS).write_bytes(b'x'), 'is not as it was written'),
    (lambda folder, facts: (folder / inverse.TENSORS).unlink(), 'No such file'),
    (lambda folder, facts: facts['settings'].update(hidden=64), 'is not finite float32 of shape'),
    (lambda folder, facts: facts['settings'].update(channels=10 ** 9), 'its sizes'),
    (lambda folder, facts: facts.update(scale=[1.0]), 'its scale is not 2 numbers'),
    (lambda folder, facts: facts.pop('settings'), 'settings')])
def test_what_is_amiss_is_told(learned, tmp_path, spoil, said):
  folder = tmp_path / 'inverse'
  text = spoilt.refusal(inverse, learned, folder, spoil, said)
  assert str(folder) in text and 'delete this folder' in text
