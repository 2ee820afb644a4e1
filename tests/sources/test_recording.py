"""Recordings on disk."""

import json
import types
import zipfile

import numpy as np
import pytest
from helpers.recordings import archive, episode, forge

from vid2act_plugin.common import budget, parallel
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import play as recorder
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.sources.dataset import Sources


class Echo:
  """An environment whose image shows the last action and the time; its expert counts."""

  act_space = {'action': types.SimpleNamespace(shape=(2,))}

  def __init__(self, length):
    self.length = length

  def expert_action(self):
    return np.array([self.time + 1, -self.time - 1], np.float32) / 100

  def step(self, action):
    self.time = 0 if action['reset'] else self.time + 1
    act = np.zeros(2) if action['reset'] else action['action']
    image = np.zeros((4, 4, 3), np.uint8)
    image[0, :2, 0] = np.round(100 + 100 * act)
    image[1, 0, 0] = self.time
    return {
        'image': image, 'reward': np.float32(self.time), 'is_first': self.time == 0,
        'is_last': self.time == self.length - 1, 'is_terminal': False,
        'log/success': np.float32(self.time == 2)}


def test_round_trip(make):
  folder = make()
  manifest, episodes = recordings.load(folder)
  assert recordings.count(folder) == len(episodes) == 3
  assert manifest['convention'] == recordings.CONVENTION
  for i, found in enumerate(episodes):
    wrote = episode(value=i)
    assert found.keys() == wrote.keys()
    for key in wrote:
      assert found[key].dtype == wrote[key].dtype
      np.testing.assert_array_equal(found[key], wrote[key])


def play(env, noise):
  expert = lambda env, obs, rng: env.expert_action()
  behaviour = dict(policy='expert', noise=noise)
  return recorder.record(env, expert, behaviour, np.random.default_rng(0))


def test_action_t_is_taken_at_image_t(tmp_path):
  made = play(Echo(5), 0.1)
  recordings.write_episode(tmp_path, 0, made)
  shown = (made['image'][:, 0, :2, 0].astype(float) - 100) / 100
  assert made['image'][:, 1, 0, 0].tolist() == [0, 1, 2, 3, 4]
  assert made['reward'].tolist() == [0, 1, 2, 3, 4]
  assert made['success'].tolist() == [0, 0, 1, 0, 0]
  # What an image shows led into it, and so is the action of the step before.
  np.testing.assert_allclose(made['action'][:-1], shown[1:], atol=0.006)
  expert = np.arange(1, 5)[:, None] * np.array([0.01, -0.01])
  assert np.abs(made['action'][:-1] - expert).max() > 0.05  # Not the expert's: the noisy one.
  assert (made['action'][-1] == 0).all() and (made['action'][:-1] != 0).all()


def test_what_is_not_finite_is_told_of_who_gave_it():
  def sick(key):
    class Sick(Echo):
      def step(self, action):
        assert action['reset'] or np.isfinite(action['action']).all()
        return {**super().step(action), **({key: np.nan} if self.time == 2 else {})}

      def expert_action(self):
        return super().expert_action() * (np.nan if key == 'action' and self.time == 2 else 1)
    return Sick(5)
  for key, words in (('reward', 'the environment gave a reward'), ('log/success', 'the environment gave a success'),
                     ('action', 'the behaviour gave an action')):
    with pytest.raises(ValueError, match=f'{words} that is not finite') as error:
      play(sick(key), 0.1)
    job = dict(index=7, name='metaworld_reach')
    def fail(job, error=error.value):
      raise error
    with pytest.raises(UserError, match=f"Episode 7 of the source 'metaworld_reach' failed with ValueError: {words}.* once"):
      parallel.taken(job, *parallel.attempt(fail, job))


def test_recorded_actions_are_clipped(tmp_path):
  made = play(Echo(40), 5.0)
  assert np.abs(made['action']).max() == 1


def test_flat_pictures_are_no_bomb(make, monkeypatch):
  """Whole recordings of them, and long episodes, are small files that mean hundreds of times their size."""
  monkeypatch.setattr(budget, 'FREE', 1)
  folder = make('flat', 3, length=200, size=64)
  assert (folder / recordings.name(2)).stat().st_size * 200 < 200 * 64 * 64 * 3
  manifest, episodes = recordings.load(folder)
  assert len(episodes) == 3 and Sources([folder]).names == ['flat']
  assert recordings.read_episode(folder, manifest['episodes'][1])['image'].shape == (200, 64, 64, 3)


@pytest.mark.parametrize('damage, word', [
    (lambda x: x[:-200], 'incomplete'), (lambda x: x[:99] + b'?' + x[100:], 'changed'),
    (lambda x: b'', 'changed')])
def test_damaged_file(make, damage, word):
  path = make() / recordings.name(1)
  path.write_bytes(damage(path.read_bytes()))
  with pytest.raises(UserError, match=word) as error:
    Sources([path.parent])
  assert str(path) in str(error.value)


def test_missing_file_and_truncated_file_of_a_matching_hash(make):
  folder = make()
  forge(folder, (folder / recordings.name(0)).read_bytes()[:-300])
  with pytest.raises(UserError, match='no readable .npz.*collect or import'):
    recordings.load(folder)
  (folder / recordings.name(0)).unlink()
  assert recordings.count(folder) == 2
  with pytest.raises(UserError, match='episode-000000.npz cannot be read'):
    recordings.load(folder)


def test_pickles_are_refused(make, tmp_path):
  class Evil:
    def __reduce__(self):
      return (open, (str(tmp_path / 'owned'), 'w'))
  folder = make()
  forge(folder, archive(**{**episode(), 'reward': np.array([Evil()] * 6)}))
  with pytest.raises(UserError, match='episode-000000.npz is no readable'):
    recordings.load(folder)
  assert not (tmp_path / 'owned').exists()


@pytest.mark.parametrize('key, change, words', [
    ('reward', lambda x: x.astype(np.float64), 'float64'),
    ('image', lambda x: x.astype(np.float32), 'float32'),
    ('image', lambda x: x[:3], 'shape'),
    ('image', lambda x: x[..., :1], 'channels'),
    ('reward', lambda x: x * np.nan, 'finite'),
    ('action', lambda x: x * np.inf, 'finite'),
    ('action', lambda x: x * 9, r'within \[-1, 1\]'),
    ('action', lambda x: x + 0.01, 'at is_last'),
    ('is_first', lambda x: x | True, 'is_first'),
    ('is_last', lambda x: x & False, 'is_last')])
def test_wrong_content(make, key, change, words):
  folder, wrong = make(), episode()
  with np.errstate(invalid='ignore'):
    wrong[key] = change(wrong[key])
  forge(folder, archive(**wrong))
  with pytest.raises(UserError, match=words) as error:
    recordings.load(folder)
  assert str(folder / recordings.name(0)) in str(error.value)
  with pytest.raises(UserError, match=words):
    recordings.write_episode(folder, 9, wrong)


def test_wrong_keys(make):
  folder, wrong = make(), episode()
  wrong.pop('success')
  forge(folder, archive(**wrong))
  with pytest.raises(UserError, match='has the keys'):
    recordings.load(folder)


def test_missing_and_malformed_manifest(make, tmp_path):
  with pytest.raises(UserError, match='no recording in .*nowhere.*vid2act collect'):
    recordings.load(tmp_path / 'nowhere')
  assert recordings.count(tmp_path / 'nowhere') == 0
  path = make() / recordings.MANIFEST
  good = json.loads(path.read_text())
  for text, word in (
      ('{"format": 1', 'JSON'), ('[]', 'object'), (json.dumps({**good, 'format': 9}), 'format'),
      (json.dumps({**good, 'episodes': [{'file': 'x'}]}), 'lacks')):
    path.write_text(text)
    with pytest.raises(UserError, match=word) as error:
      recordings.load(path.parent)
    assert str(path) in str(error.value)


@pytest.mark.parametrize('name', ['../episode-000000.npz', '/etc/passwd', 'other.npz'])
def test_manifests_stay_in_their_folder(make, name):
  folder = make()
  manifest = json.loads((folder / recordings.MANIFEST).read_text())
  manifest['episodes'][0]['file'] = name
  recordings.write_manifest(folder, manifest)
  with pytest.raises(UserError, match='not the name of an episode'):
    recordings.load(folder)


def test_equal_episodes_are_equal_files_without_dates(make):
  one, two = make('one'), make('two')
  read = lambda x: (x / recordings.name(0)).read_bytes()
  assert read(one) == read(two)
  with zipfile.ZipFile(one / recordings.name(0)) as f:
    assert {x.date_time[0] for x in f.infolist()} == {1980}


def test_content_key(make):
  key = lambda *xs: recordings.content_key([recordings.load_manifest(x) for x in xs])
  one, two = make('one'), make('two', env=dict(render='fast'))
  assert key(one, two) == key(one, two) != key(two, one)
  assert key(make('one', env=dict(render='full'))) != key(make('one', env=dict(render='fast')))
  assert key(make('one')) != key(make('one', count=2))
