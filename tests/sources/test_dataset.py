"""Batches drawn from recordings."""

import numpy as np
import pytest
from helpers.recordings import episode

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import recording
from vid2act_plugin.sources.dataset import Sources


def test_batches(make):
  folders = [make('one', 10), make('two', 10, actions=3), make('three', 10)]
  data = Sources(folders, act_width=5)
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
  other = Sources(folders, act_width=5, seed=1)
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
  both = [data.streams[x][0]['image'] for x in ('train', 'holdout')]
  assert np.shares_memory(*both) and both[0].shape == both[1].shape  # In memory once.
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


def test_confidence_is_one_of_true_actions_and_that_of_inferred_ones(make, tmp_path):
  inferred = {**episode(value=1), 'confidence': np.linspace(0, 1, 6).astype(np.float32)}
  entry = recording.write_episode(tmp_path / 'inferred', 0, inferred)
  recording.write_manifest(tmp_path / 'inferred', {
      **recording.load_manifest(make('one', 2)), 'source': 'inferred', 'episodes': [entry]})
  data = Sources([tmp_path / 'one', tmp_path / 'inferred'], holdout=0)
  assert (data.streams['train'][0]['confidence'] == 1).all()
  np.testing.assert_array_equal(data.streams['train'][1]['confidence'], inferred['confidence'])
  assert 'confidence' not in data.sample(0, 2, 3)
  assert data.sample(0, 2, 3, more=['confidence'])['confidence'].shape == (2, 3)


@pytest.mark.parametrize('value', [-0.1, 1.1, np.nan])
def test_confidence_is_a_share(value, tmp_path):
  bad = {**episode(), 'confidence': np.full(6, value, np.float32)}
  with pytest.raises(UserError, match='confidence'):
    recording.write_episode(tmp_path, 0, bad)
