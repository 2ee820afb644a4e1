"""Recordings on disk and the batches drawn from them."""

import json
import types
import zipfile

import numpy as np
import pytest
from helpers.recordings import archive, episode, forge, write

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


@pytest.fixture
def make(tmp_path):
  """Return a function that writes the source of that name."""
  return lambda name='one', *args, **settings: write(tmp_path / name, *args, **settings)


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


def test_recorded_actions_are_clipped(tmp_path):
  made = play(Echo(40), 5.0)
  assert np.abs(made['action']).max() == 1


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


def test_batches(make):
  data = Sources([make('one', 10), make('two', 10, actions=3), make('three', 10)], act_width=5)
  assert data.names == ['one', 'two', 'three'] and data.act_sizes == [2, 3, 2]
  assert data.image == (4, 4, 3)
  a, b, c = data.sample(7, 8, 5), data.sample(7, 8, 5), data.sample(8, 8, 5)
  assert all(np.array_equal(a[k], b[k]) for k in a)
  assert any((a[k] != c[k]).any() for k in a)
  spaces = dict(
      image=(np.uint8, (4, 4, 3)), action=(np.float32, (5,)), reward=(np.float32, ()),
      is_first=(bool, ()), is_last=(bool, ()), is_terminal=(bool, ()), source=(np.int32, ()))
  assert {k: (v.dtype, v.shape) for k, v in a.items()} == {
      k: (np.dtype(dtype), (8, 5, *shape)) for k, (dtype, shape) in spaces.items()}
  assert a['is_first'][:, 0].all()
  assert (a['action'][..., 3:] == 0).all()
  assert (a['action'][a['source'] != 1][:, 2:] == 0).all()
  assert (a['action'][a['source'] == 1][:, 2] != 0).any()
  other = Sources([make('one', 10)], act_width=5, seed=1)
  assert (other.sample(7, 8, 5)['reward'] != a['reward']).any()


def test_sources_are_balanced(make):
  data = Sources([make('one', 9), make('two', 3), make('three', 3)])
  counts = np.array([
      np.bincount(data.sample(i, 8, 4)['source'][:, 0], minlength=3) for i in range(60)])
  assert set(counts.ravel()) == {2, 3}
  assert (abs(counts.mean(0) - 8 / 3) < 0.2).all()


def test_windows_cross_episodes(make):
  data = Sources([make(count=6, length=5)])
  batch = data.sample(0, 64, 8)
  number, time = batch['reward'] // 100, batch['reward'] % 100
  assert (np.diff(number) >= 0).all() and (np.diff(number) == 1).any()
  np.testing.assert_array_equal(batch['is_first'][:, 1:], time[:, 1:] == 0)
  np.testing.assert_array_equal(batch['is_last'], time == 4)
  np.testing.assert_array_equal(batch['image'][..., 0, 0, 0], number)
  assert len(set(batch['reward'][:, 0])) > 12  # Starts lie anywhere, not at episodes.


def test_held_out_episodes_are_apart(make):
  data = Sources([make('one', 10), make('two', 4), make('single', 1)], holdout=0.2)
  images = lambda split: [
      {(k, int(x['image'][0, 0, 0, 0])) for k, x in data.sequences(split) if k == source}
      for source in range(3)]
  train, held = images('train'), images('holdout')
  assert [len(x) for x in train] == [8, 3, 1] and [len(x) for x in held] == [2, 1, 1]
  assert not train[0] & held[0] and not train[1] & held[1]
  assert train[2] == held[2]  # There is nothing else to hold out.
  batch = data.sample(0, 30, 4, 'holdout')
  assert set(batch['image'][batch['source'] == 0].ravel()) <= {8, 9}


def test_sequences_are_whole_episodes(make):
  data = Sources([make('one', 3)], holdout=0.0)
  found = [x for _, x in data.sequences()]
  assert len(found) == 3
  for i, x in enumerate(found):
    np.testing.assert_array_equal(x['reward'], episode(value=i)['reward'])


def test_errors_about_sources(make):
  one, wide, large = make('one'), make('wide', actions=9), make('large', size=8)
  with pytest.raises(UserError, match="vid2act.act_width is 8, but the source 'wide' has 9"):
    Sources([one, wide], act_width=8)
  with pytest.raises(UserError, match=r"'one' and 'large' have images of \(4, 4\) and \(8, 8\)"):
    Sources([one, large])
  with pytest.raises(UserError, match="13 steps long, but the source 'one' has 12"):
    Sources([one]).sample(0, 2, 13)
  with pytest.raises(UserError, match="'none' has no episode"):
    Sources([make('none', count=0)])
