"""What a file may claim: bytes, items, depth; and that what is no regular file is never read."""

import contextlib
import os
import pickle
import zlib

import numpy as np
import pytest
from helpers.special import SPECIAL, in_time

from vid2act_plugin.common import budget, files, npz, safe_pickle, safe_yaml
from vid2act_plugin.common.errors import UserError, reading

BIG = budget.FREE


def test_bytes_are_those_that_a_file_of_its_size_can_mean(tmp_path):
  limit = budget.Budget(10)
  limit.take(BIG - 5)
  with pytest.raises(ValueError, match='an image claims'):
    limit.take(6, 'an image')
  limit.take(5)
  assert limit.taken == BIG
  (tmp_path / 'x').write_bytes(bytes(BIG // budget.USUAL + 1000))
  budget.Budget.of(tmp_path / 'x', tmp_path / 'nowhere').take(BIG + 1)


def test_more_than_the_machine_has_is_no_fault_of_the_file(monkeypatch):
  monkeypatch.setattr(budget, 'memory', lambda: 1000)
  budget.Budget(10 ** 9).take(800)
  with pytest.raises(budget.TooLarge, match='800 to be had here'):
    budget.Budget(10 ** 9).take(801)


def tangle(levels, value='x'):
  """Return a tuple of the one before, twice, that often: of 2 ** levels leaves."""
  for _ in range(levels):
    value = value, value
  return value


def endless():
  value = []
  value.append({'a': value})
  return value


@pytest.mark.parametrize('value, words', [
    (tangle(15), 'claims 65,535 items'), ({'a': [tangle(15)]}, 'items'), (tangle(25), 'nested more than 20'),
    (endless(), 'nested more than 20'), ([np.zeros(BIG // 20)] * 9, 'bytes'), ([0] * 10_001, 'items')])
def test_what_is_shared_counts_as_often_as_it_is_named(value, words):
  with pytest.raises(ValueError, match=words):
    budget.Budget(100).measure(value)
  budget.Budget(100).measure([tangle(10), {'a': tangle(10)}, np.zeros(9)])


def test_a_library_gets_no_more_than_it_may(monkeypatch):
  """One that believes what it reads: Deflate makes 40 MB of 200 kB."""
  bomb = zlib.compress(bytes(40 << 20), 1)
  monkeypatch.setattr(budget, 'THREADS', 10 << 20)
  with pytest.raises(MemoryError), budget.capped(10 << 20):
    zlib.decompress(bomb)
  with budget.capped(100 << 20):
    assert len(zlib.decompress(bomb)) == 40 << 20
  assert len(zlib.decompress(bomb)) == 40 << 20


def test_whose_fault_a_lack_of_memory_is(monkeypatch):
  def ask(left):
    monkeypatch.setattr(budget, '_left', lambda: left)
    with reading('The file x', 'copy it'):
      raise MemoryError
  with pytest.raises(UserError, match='x cannot be read .ValueError: it claims more memory than a file'):
    ask(10 ** 10)
  with pytest.raises(MemoryError, match='while reading The file x'):
    ask(10 ** 6)


MERGES = 'a0: &a0 {x: 1, y: 2}\n' + '\n'.join(
    f'a{i}: &a{i} {{<<: [{", ".join([f"*a{i - 1}"] * 9)}]}}' for i in range(1, 9))
ALIASES = 'a0: &a0 [x, x]\n' + '\n'.join(
    f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]' for i in range(1, 9))


@pytest.mark.parametrize('text, words', [
    (ALIASES, 'items'), (MERGES, 'items'), ('[' * 3_000, 'nested more than 20'),
    ('x: ' + '{a: ' * 400, 'nested more than 20'), ('a: &a [*a]', 'nested more than 20'),
    ('# x\n' * 99_999, 'more than 100,000'), ('a: [1,\n2', 'line 2'), ('a: !!python/name:os.system', 'tag'),
    ('? [&a [x, x], *a]\n: 1', 'unhashable'), ('\x00', 'not allowed')])
def test_yaml(text, words, tmp_path):
  (tmp_path / 'x.yaml').write_text(text)
  with in_time(), pytest.raises(ValueError, match=words) as error:
    safe_yaml.load(tmp_path / 'x.yaml')
  assert '\n' not in str(error.value)


def test_yaml_may_repeat_what_it_names(tmp_path):
  (tmp_path / 'x.yaml').write_text('a: &a {x: [1, 2]}\nb: *a\nc: {<<: *a, y: 3}\n')
  a = {'x': [1, 2]}
  assert safe_yaml.load(tmp_path / 'x.yaml') == {'a': a, 'b': a, 'c': {**a, 'y': 3}}


def test_json():
  assert files.loads(b'{"a": [1, 2]}') == {'a': [1, 2]}
  for text in (b'[' * 100_000, b'{"a":' * 21 + b'1' + b'}' * 21):
    with pytest.raises(ValueError, match='nested more than 20'):
      files.loads(text)


def test_lines(tmp_path, monkeypatch):
  (tmp_path / 'x').write_bytes(b'1\n22\n333')
  assert list(files.lines(tmp_path / 'x')) == [b'1\n', b'22\n', b'333']
  monkeypatch.setattr(files, 'TEXT', 2)
  with pytest.raises(ValueError, match='line of more than 2'):
    list(files.lines(tmp_path / 'x'))
  with pytest.raises(ValueError, match='more than 3 bytes'):
    files.read(tmp_path / 'x', 3)


READERS = {
    'regular': files.regular, 'read': files.read, 'lines': lambda x: list(files.lines(x)),
    'sha256': files.sha256, 'yaml': safe_yaml.load, 'npz': npz.keys, 'pickle': safe_pickle.load,
    'json': lambda x: files.parse(x.parent, x.name)}


@pytest.mark.parametrize('kind', SPECIAL)
@pytest.mark.parametrize('name', READERS)
def test_readers_read_regular_files_alone(tmp_path, name, kind):
  SPECIAL[kind](tmp_path / 'x')
  with in_time(), pytest.raises((OSError, UserError), match='x') as error:
    READERS[name](tmp_path / 'x')
  assert kind in str(error.value)


def test_a_link_to_a_regular_file_is_one(tmp_path):
  (tmp_path / 'x').write_text('1')
  os.symlink(tmp_path / 'x', tmp_path / 'link')
  assert files.read(tmp_path / 'link') == b'1'


class Shared:
  """Is pickled as an array of a content that all such arrays share."""

  content = bytearray(2 ** 20)

  def __reduce__(self):
    function, args, _ = np.zeros(0, np.uint8).__reduce__()
    return function, args, (1, (len(self.content),), np.dtype('u1'), False, self.content)


def test_arrays_that_share_their_content_are_counted(tmp_path):
  """Some 20 bytes of the file, and a copy of 1 MB."""
  for count in (3, 300):
    (tmp_path / 'x').write_bytes(pickle.dumps([Shared() for _ in range(count)], 5))
    with contextlib.nullcontext() if count == 3 else (
        pytest.raises(UserError, match='x is damaged .ValueError: an array claims')):
      assert len(safe_pickle.load(tmp_path / 'x')) == count


def test_shapes_that_take_for_ever_to_compare(tmp_path):
  def pairs(value):
    return tangle(60, value)
  function, args, _ = np.zeros(0, np.uint8).__reduce__()
  class Odd:
    def __reduce__(self):
      return function, args, (1, (pairs(1), pairs(2)), np.dtype('u1'), False, b'')
  (tmp_path / 'x').write_bytes(pickle.dumps(Odd()))
  with in_time(), pytest.raises(UserError, match='x has an array without a shape'):
    safe_pickle.load(tmp_path / 'x')
