"""What is wrong with other people's episodes costs no other, and is said in one sentence."""

import functools
import io
import pickle
import tracemalloc
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from helpers.foreign import (
  chain,
  check,
  play,
  skipped,
  table,
  three,
  write_mp4,
  write_png,
  write_v2,
  write_v3,
)

from vid2act_plugin.common import npz
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import importing as imports
from vid2act_plugin.sources import survey as surveys
from vid2act_plugin.sources.formats import Episode


@pytest.fixture
def given(tmp_path):
  return three(tmp_path / 'in')


class Evil:

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return open, (str(self.path), 'w')


def npy(shape, dtype='<f4'):
  content = io.BytesIO()
  np.lib.format.write_array_header_1_0(
      content, dict(shape=shape, fortran_order=False, descr=dtype))
  return content.getvalue()


def archive(path, **members):
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
    for key, value in members.items():
      file.writestr(f'{key}.npy', value)
  return file


def nan(x):
  x['action'][2, 1] = np.nan
  return x


FAULTS = {
    'nan': (lambda p: write_v2(p, nan(play())), 'values of action that are not finite'),
    'reward': (lambda p: write_v2(p, {**play(), 'reward': np.full(7, np.inf)}), 'reward'),
    'large': (lambda p: write_v2(p, {**play(), 'reward': np.full(7, 1e39)}), 'recorded: reward has values that are not'),
    'actions': (lambda p: write_v2(p, play(actions=3)), '3 actions and most others have 2'),
    'discrete': (lambda p: write_v2(p, play(), action=np.arange(7)), r'actions of shape \(7,\)'),
    'stack': (lambda p: write_v2(p, play(), image=play()['image'].repeat(3, -1)), r'\(32, 32, 9\)'),
    'float': (lambda p: write_v2(p, play(), image=play()['image'] * 1.5), 'float64, and values from'),
    'size': (lambda p: write_v2(p, play(size=16)), '16x16 and those before have 32x32'),
    'short': (lambda p: write_v2(p, play(), image=play()['image'][:5]), r'images of shape \(5,'),
    'rewards': (lambda p: write_v2(p, play(), reward=np.zeros(5)), r'reward of shape \(5,\)'),
    'one': (lambda p: write_v2(p, {k: v[:1] for k, v in play().items()}), 'fewer than 2 images'),
    'two': (lambda p: write_v2(p, play(), is_first=np.arange(7) % 3 == 0), 'several episodes'),
    'text': (lambda p: write_v2(p, play(), action=np.full((7, 2), 'left')), 'type <U4'),
    'zip': (lambda p: archive(p, readme=b'hello'), "no key 'image', only readme"),
    'longer': (lambda p: archive(p, image=b'', action=npy((7, 2)) + bytes(99)), 'claims 56 bytes'),
    'damaged': (lambda p: archive(p, image=b'hello', action=b'hello'), 'no readable .npz'),
    'cut': (lambda p: (write_v2(p, play()), p.write_bytes(p.read_bytes()[:900])), 'no readable'),
    'empty': (lambda p: p.write_bytes(b''), 'no readable .npz file'),
    'pickle': (lambda p: p.write_bytes(pickle.dumps(Evil(p.parent / 'owned'))), 'no readable'),
    'object': (lambda p: write_v2(p, play(), action=np.array([[Evil(p.parent / 'owned')]] * 7)),
               'action holds Python objects, which are never loaded')}


@pytest.mark.parametrize('fault', FAULTS)
def test_a_bad_episode_costs_no_other(given, tmp_path, capsys, fault):
  path, plays = given
  FAULTS[fault][0](path / 'good0a.npz')
  imports.run(path, tmp_path / 'out')
  check(tmp_path / 'out', plays)
  sentence, = skipped(tmp_path / 'out')
  assert 'good0a.npz' in sentence and sentence.endswith('.') and '\n' not in sentence
  with pytest.raises(UserError, match=FAULTS[fault][1]):
    raise UserError(sentence)
  assert f'Skipped: {sentence}\n' in capsys.readouterr().out
  assert not (path / 'owned').exists()


@pytest.mark.parametrize('lie', [False, True])
def test_a_header_that_claims_a_terabyte_allocates_nothing(given, tmp_path, lie):
  image, path = npy((10**9, 16, 16, 4), '|u1'), given[0] / 'huge.npz'
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
    file.writestr('image.npy', image)
    file.writestr('action.npy', npy((10**11, 2)) + bytes(9999))
    if lie:  # In the archive's directory as well.
      for x, size in zip(file.filelist, (1024 * 10**9, 8 * 10**11)):
        x.file_size = size + (len(image) if x.filename == 'image.npy' else 128)
  tracemalloc.start()
  imports.run(given[0], tmp_path / 'out')
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 50e6
  assert 'claims 800,000,000,000 bytes, which are not there' in skipped(tmp_path / 'out')[0]
  check(tmp_path / 'out', given[1])


def test_rows_lying_by_columns_are_read_too(tmp_path):
  image = play()['image']
  np.savez(tmp_path / 'a.npz', image=np.asfortranarray(image))
  rows = np.stack([*npz.rows(tmp_path / 'a.npz', 'image', 2, 5)])
  np.testing.assert_array_equal(rows, image[2:5])


def test_faults_of_videos(tmp_path):
  path, good = tmp_path / 'in', play(12, 9)
  for name in ('a', 'b', 'long', 'mid', 'cut', 'fast', 'none', 'words', 'cube', 'fake'):
    write_mp4(path / f'{name}.mp4', good['image'], fps=25 if name == 'fast' else 10)
    pa.csv.write_csv(table(good), path / f'{name}.csv')
  pa.csv.write_csv(pa.concat_tables([table(good)] * 2), path / 'long.csv')
  (path / 'none.csv').unlink()
  (path / 'words.csv').write_text('action\n' + 'left\n' * 12)
  (path / 'cube.csv').unlink()
  np.save(path / 'cube.npy', np.zeros((12, 2, 2)))
  write_mp4(path / 'mid.mp4', np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8))
  content = bytearray((path / 'mid.mp4').read_bytes())
  begin, end = content.index(b'mdat'), content.index(b'moov')
  for place in range(begin + 800, end - 10, 997):  # Within images; the file's own tables stay.
    content[place: place + 6] = b'damage'
  (path / 'mid.mp4').write_bytes(content)
  (path / 'cut.mp4').write_bytes(content[:end])
  (path / 'fake.mp4').write_text("ffconcat version 1.0\nfile 'b.mp4'\n")  # Names another file.
  (path / 'empty').mkdir()
  write_png(path / 'torn', good['image'])
  pa.csv.write_csv(table(good), path / 'torn' / 'actions.csv')
  (path / 'torn' / 'frame3.png').write_bytes((path / 'torn' / 'frame3.png').read_bytes()[:60])
  imports.run(path, tmp_path / 'out')
  check(tmp_path / 'out', [good, good], atol=0.03)
  found = skipped(tmp_path / 'out')
  for name, words in dict(
      long='it takes as many', mid='cannot be read', cut='cannot be read', fast='25 images/s',
      none='no actions for', words='type object', cube=r'(12, 2, 2)', fake='cannot be read',
      torn='frame3.png cannot be read').items():
    assert [words in x for x in found if name in x.replace(str(tmp_path), '')] == [True], name
  assert len(found) == 9


def test_a_corrupt_chunk_costs_the_episodes_that_it_touches(tmp_path):
  plays = [play(6, i) for i in range(6)]
  write_v3(tmp_path / 'in', [plays], chunksize=5)
  path = chain(tmp_path / 'in')[2]  # Steps 10 to 14: of episodes 1 and 2.
  path.write_bytes(path.read_bytes()[:300])
  imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', [plays[0], *plays[3:]], success=False)
  assert len(skipped(tmp_path / 'out')) == 1 and path.name in skipped(tmp_path / 'out')[0]


def test_a_damaged_image_in_a_chunk_is_noticed(tmp_path):
  plays = [play(5, i) for i in range(6)]
  write_v3(tmp_path / 'in', [plays], chunksize=10)
  path = chain(tmp_path / 'in')[1]
  with zipfile.ZipFile(path) as archive:
    content = {k: archive.read(k) for k in archive.namelist()}
  with zipfile.ZipFile(path, 'w') as archive:
    for key, value in content.items():
      archive.writestr(key, value)  # Stored, so that a changed byte is one only in the checksum.
  data = bytearray(path.read_bytes())
  data[data.index(content['image.npy']) + 5000] ^= 1
  path.write_bytes(data)
  imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', [*plays[:2], *plays[4:]], success=False)
  assert ['CRC' in x for x in skipped(tmp_path / 'out')] == [True, True]


def test_as_many_images_as_rows_of_actions():
  head = dict(
      imported=dict(repeat=1, limit=0, resize=None), action_low=[-1, -1], action_high=[1, 1],
      reward=False, success=False)
  wrote = play()
  for count, words in ((5, 'only 5 images, but 7 rows'), (9, 'more images than its 7 rows')):
    frames = iter([*wrote['image'], *wrote['image']][:count])
    with pytest.raises(UserError, match=words):
      surveys.convert('x', functools.partial(Episode, frames, {'action': wrote['action']}), head, 0)


def save_as_in_2023(path, length, room=24):
  """Write a chunk as DreamerV3 did while it was filled: with all its room, no successor, and of `length` rows the steps."""
  rng, (time, key, _, _) = np.random.default_rng(length), path.stem.split('-')
  with np.load(path) as file:
    arrays = {k: np.concatenate([v[:length], rng.integers(0, 2, (room - length, *v.shape[1:])).astype(v.dtype)])
              for k, v in file.items()}
  for name in ('is_first', 'is_last'):
    arrays[name][length:] = True
  made = path.with_name(f"{time}-{key}-{'0' * len(key)}-{length}.npz")
  np.savez_compressed(made, **arrays)
  return made


@pytest.mark.parametrize('first, last', [([], []), ([2, 9], []), ([], [2, 9, 10]), ([1, 15], [3, 11]), ([9, 10], [1, 9])])
def test_chunks_that_were_saved_while_they_were_filled(tmp_path, first, last):
  """Of those with one id the longest counts, which is neither the first nor the last one by name."""
  plays = [play(steps, seed) for seed, steps in enumerate((6, 7, 8, 7))]
  write_v3(tmp_path / 'in', [plays], chunksize=16)
  whole, filled = chain(tmp_path / 'in')
  for path, lengths in ((whole, first), (filled, last)):
    for length in lengths:
      save_as_in_2023(path, length)
  save_as_in_2023(filled, 12)
  filled.unlink()
  imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', plays, success=False)
  assert not skipped(tmp_path / 'out')


@pytest.mark.parametrize('length, words', [(17, ['(16,) steps instead of the 17 in its name']), (0, [])])
def test_a_chunk_that_is_shorter_than_its_name_says_and_one_of_no_step(tmp_path, length, words):
  plays = [play(8, i) for i in range(3)]
  write_v3(tmp_path / 'in', [plays], chunksize=16)
  path = chain(tmp_path / 'in')[1]
  made, key = save_as_in_2023(path, 8, 16), path.stem.split('-')[1]
  made.rename(made.with_name(f"{made.stem.rpartition('-')[0]}-{length}.npz".replace(key, '1' * len(key))))
  path.unlink()
  imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', plays[:2], success=False)
  assert [w in x for w, x in zip(words, skipped(tmp_path / 'out'), strict=True)] == [True] * len(words)
