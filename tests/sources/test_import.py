"""The command `vid2act import`: what becomes of the episodes, and of an interrupted import."""

import shutil

import numpy as np
import pytest
from helpers.foreign import SIZE, check, play, shown, skipped, three, write_v2

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import importing as imports
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.sources import survey as surveys
from vid2act_plugin.sources.dataset import Sources


@pytest.fixture
def given(tmp_path):
  return three(tmp_path / 'in')


def test_sources_give_the_right_pairs(given, tmp_path):
  imports.run(given[0], tmp_path / 'out')
  data = Sources([tmp_path / 'out'], holdout=0, act_width=5)
  assert data.act_sizes == [2] and data.names == ['out'] and data.image == (SIZE, SIZE, 3)
  for _, found in data.sequences():
    np.testing.assert_allclose(
        shown(found['image'])[1:], found['action'][:-1, :2], atol=0.006)
  batch = data.sample(0, 8, 5)
  inside = ~batch['is_last'][:, :-1]
  led = np.stack([shown(x) for x in batch['image']])[:, 1:]
  np.testing.assert_allclose(led[inside], batch['action'][:, :-1, :2][inside], atol=0.006)


def test_actions_beyond_the_bounds_are_scaled_and_can_be_scaled_back(tmp_path, capsys):
  plays = [play(seed=i) for i in range(3)]
  for i, x in enumerate(plays):
    write_v2(tmp_path / 'in' / f'{i}.npz', {**x, 'action': x['action'] * [1, 20] + [0, 5]})
  manifest = imports.run(tmp_path / 'in', tmp_path / 'out')
  low, high = np.array(manifest['action_low']), np.array(manifest['action_high'])
  used = np.concatenate([x['action'][:-1, 1] for x in plays]) * 20 + 5
  np.testing.assert_allclose([low, high], [[-1, used.min()], [1, used.max()]], rtol=1e-6)
  assert '1 from [' in capsys.readouterr().out
  for found, wrote in zip(recordings.load(tmp_path / 'out')[1], plays):
    np.testing.assert_array_equal(found['action'][:, 0], wrote['action'][:, 0])
    back = low + (found['action'] + 1) / 2 * (high - low)
    np.testing.assert_allclose(back[:-1, 1], wrote['action'][:-1, 1] * 20 + 5, rtol=1e-4, atol=1e-3)
    assert not found['action'][-1].any()


@pytest.mark.parametrize('bounds, low, high', [
    ('-2:2,-30:0', [-2, -30], [2, 0]), ('-1e1:10', [-10, -10], [10, 10]), ('-1:1', [-1, -1], [1, 1])])
def test_bounds_that_the_user_gives(tmp_path, capsys, bounds, low, high):
  """They are the environment's, whatever range was used; what lies beyond is what they cut off, and is told."""
  plays = [play(seed=i) for i in range(2)]
  for i, x in enumerate(plays):
    write_v2(tmp_path / 'in' / f'{i}.npz', {**x, 'action': x['action'] * [1, 20]})
  manifest = imports.run(tmp_path / 'in', tmp_path / 'out', keys={'bounds': bounds})
  assert [manifest['action_low'], manifest['action_high']] == [low, high]
  low, high, used = np.array(low), np.array(high), np.concatenate([x['action'][:-1] for x in plays]) * [1, 20]
  beyond = ((used < low) | (used > high)).any(1).sum()
  assert 0 < beyond < len(used) and f'{beyond} steps with actions beyond' in capsys.readouterr().out
  found = np.concatenate([x['action'][:-1] for x in recordings.load(tmp_path / 'out')[1]])
  np.testing.assert_allclose(low + (found + 1) / 2 * (high - low), np.clip(used, low, high), atol=1e-5)


@pytest.mark.parametrize('bounds, words', [
    ('1:-1', 'is 1:-1; give LOW:HIGH'), ('2', 'is 2; give LOW:HIGH'), ('-1:1:2', 'give LOW:HIGH'), ('a:b', 'give LOW'),
    ('0:inf', 'give LOW'), ('-1:1,2', 'give LOW'), ('0:1,0:1,0:1', 'has 2 actions, and --key bounds has 3 pairs')])
def test_bounds_that_are_none(given, tmp_path, capsys, bounds, words):
  with pytest.raises(UserError) as error:
    imports.run(given[0], tmp_path / 'out', keys={'bounds': bounds})
  assert words in str(error.value) + capsys.readouterr().out and not (tmp_path / 'out/manifest.json').exists()


def test_actions_within_the_bounds_stay_as_they_are_to_the_last_bit():
  action = np.array([[1e-12, -0.3], [1, 1 / 3]])
  np.testing.assert_array_equal(surveys.scale(action, -np.ones(2), np.ones(2)), action)


def test_repeat_and_limit(given, tmp_path):
  imports.run(given[0], tmp_path / 'out', repeat=4, limit=5)
  whole = imports.run(given[0], tmp_path / 'whole', repeat=4)
  assert whole['env'] == dict(repeat=4, size=[SIZE, SIZE])
  for name, keep, terminal in (('out', [0, 4, 5], False), ('whole', [0, 4, 6], True)):
    for found, wrote in zip(recordings.load(tmp_path / name)[1], given[1]):
      np.testing.assert_array_equal(found['image'], wrote['image'][keep])
      np.testing.assert_array_equal(found['action'][:-1], wrote['action'][keep[:-1]])
      r, s = wrote['reward'], wrote['success']
      sums = [r[0], r[1:5].sum(), r[5:keep[-1] + 1].sum()]
      np.testing.assert_allclose(found['reward'], sums, rtol=1e-6)
      assert found['success'].tolist() == [s[0], s[1:5].max(), s[5:keep[-1] + 1].max()]
      assert found['is_terminal'].tolist() == [False, False, terminal]


def test_images_are_averaged_over_areas_and_stretched(tmp_path):
  wrote = play()
  wrote['image'] = np.random.default_rng(0).integers(0, 256, (7, 40, 60, 3), np.uint8)
  write_v2(tmp_path / 'in' / 'a.npz', wrote)
  cli.main(['import', str(tmp_path / 'in'), '--out', str(tmp_path / 'out'), '--resize', '10', '20'])
  found = recordings.load(tmp_path / 'out' / 'in')[1][0]['image']
  mean = wrote['image'].reshape(7, 10, 4, 20, 3, 3).mean((2, 4))
  np.testing.assert_allclose(found, mean, atol=1)  # Rounded twice.
  imports.run(tmp_path / 'in', tmp_path / 'square', resize=(8, 8))
  assert recordings.load(tmp_path / 'square')[1][0]['image'].shape == (7, 8, 8, 3)


def test_an_interrupted_import_continues(given, tmp_path, monkeypatch, capsys):
  path, plays = given
  (path / 'bad.npz').write_bytes(b'nothing')
  imports.run(path, tmp_path / 'whole')
  real = recordings.write_episode
  def interrupted(folder, index, *rest):
    if index == 2:
      raise KeyboardInterrupt
    return real(folder, index, *rest)
  with monkeypatch.context() as patch:
    patch.setattr(recordings, 'write_episode', interrupted)
    with pytest.raises(SystemExit) as status:
      cli.main(['import', str(path), '--out', str(tmp_path), '--name', 'out'])
  assert status.value.code == 130 and recordings.count(tmp_path / 'out') == 2
  assert not imports.complete(tmp_path / 'out') and not imports.complete(tmp_path / 'nowhere')
  first, second = (tmp_path / 'out' / recordings.name(i) for i in range(2))
  second.write_bytes(second.read_bytes()[:-5])
  before = first.stat().st_mtime_ns
  imports.run(path, tmp_path / 'out')
  assert first.stat().st_mtime_ns == before
  check(tmp_path / 'out', plays)
  assert imports.complete(tmp_path / 'out')
  hashes = lambda x: [y['sha256'] for y in recordings.load_manifest(tmp_path / x)['episodes']]
  assert hashes('out') == hashes('whole') and len(skipped(tmp_path / 'out')) == 1
  assert 'complete already' not in capsys.readouterr().out
  imports.run(path, tmp_path / 'out')
  assert 'is complete already: 3 episodes' in capsys.readouterr().out


def test_rewards_that_not_all_episodes_have_are_zero_in_all(given, tmp_path, capsys):
  write_v2(given[0] / 'other.npz', play(seed=9), reward=None)
  imports.run(given[0], tmp_path / 'out')
  check(tmp_path / 'out', [*given[1], play(seed=9)], reward=False)
  assert 'not in all of the data, and so zero: reward\n' in capsys.readouterr().out


def test_more_episodes_later(given, tmp_path):
  write_v2(given[0] / 'good9.npz', play(seed=9))
  imports.run(given[0], tmp_path / 'out', episodes=1)
  check(tmp_path / 'out', given[1][:1])
  imports.run(given[0], tmp_path / 'out', episodes=3)
  check(tmp_path / 'out', given[1])


def test_other_options_or_data_than_before(given, tmp_path):
  imports.run(given[0], tmp_path / 'out')
  with pytest.raises(UserError, match='imported with repeat = 1, not 2; use the former'):
    imports.run(given[0], tmp_path / 'out', repeat=2)
  write_v2(given[0] / 'wide.npz', play(seed=5, scale=4))
  with pytest.raises(UserError, match='has changed since .* action_low was'):
    imports.run(given[0], tmp_path / 'out')
  check(tmp_path / 'out', given[1])
  shutil.copytree(tmp_path / 'out', tmp_path / 'own')
  manifest = recordings.load_manifest(tmp_path / 'own')
  del manifest['imported']
  recordings.write_manifest(tmp_path / 'own', manifest)
  with pytest.raises(UserError, match='was not imported'):
    imports.run(given[0], tmp_path / 'own')


def test_mistakes_on_the_command_line(given, tmp_path):
  path = given[0]
  for name in ('empty', 'other'):
    (tmp_path / name).mkdir()
  (tmp_path / 'other/notes.txt').write_text('mine')
  for words, args in (
      ('There is no', (tmp_path / 'nowhere', tmp_path / 'out')),
      ('empty holds nothing; name one with', (tmp_path / 'empty', tmp_path / 'out')),
      (r'of no format that is known .* --format \(lerobot, .*\), in vid2act.sources as FORMAT:PATH', (tmp_path / 'other', tmp_path / 'out')),
      ('has no episode; name', (tmp_path / 'empty', tmp_path / 'out', 'video')),
      ('choose one of lerobot', (path, tmp_path / 'out', 'other')),
      ('would lie in the data', (path, path / 'out')),
      ('--resize is', (path, tmp_path / 'out', '', (0, 3))),
      ('--repeat is 0', (path, tmp_path / 'out', '', None, 0)),
      ('--limit is -1', (path, tmp_path / 'out', '', None, 1, -1)),
      ('OURS is one of', (path, tmp_path / 'out', '', None, 1, 0, 0, {'picture': 'x'}))):
    with pytest.raises(UserError, match=words):
      imports.run(*args)
  for name in ('../out', '..'):
    with pytest.raises(UserError, match='not a path'):
      cli.main(['import', str(path), '--out', str(tmp_path), '--name', name])
  imports.run(path, tmp_path / 'out')
  with pytest.raises(UserError, match='a recording of ours already'):
    imports.run(tmp_path / 'out', tmp_path / 'again')
