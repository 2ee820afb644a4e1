"""Whatever a file holds, it is read correctly or refused in one sentence that names it.

The short form of `bench/robustness/fuzz.py`.
"""

import pathlib

import pytest

from bench.robustness import fuzz, kinds, odd
from vid2act_plugin.common.errors import UserError

INPUTS = 6  # Of each kind.


@pytest.fixture(scope='module')
def judge():
  judge = fuzz.Judge()
  yield judge
  judge.close()


@pytest.mark.parametrize('kind', kinds.KINDS)
def test_a_good_input_is_read(judge, kind):
  assert judge(kind, kinds.make(kind)) == ('read', '')


@pytest.mark.parametrize('kind', kinds.KINDS)
def test_a_bad_input_is_read_or_refused(judge, kind):
  seen = []

  def attempt(files):
    seen.append(judge(kind, files))
    assert seen[-1][0] in ('read', 'refused'), seen[-1][1]
  fuzz.spoil(kind, kinds.make(kind), INPUTS, 0, attempt)
  assert len(seen) >= INPUTS // 2


def each(files):
  """Return one file of every kind among the files of an input."""
  return list({pathlib.PurePath(x).suffix or x: x for x in files}.values())


@pytest.mark.parametrize('kind', sorted({*kinds.KINDS} - {*kinds.NAMELESS}))
def test_no_reader_waits_for_a_pipe(judge, kind):
  files = kinds.make(kind)
  for name in each(files):
    verdict, reason = judge(kind, {**files, name: b'\0pipe'})
    assert verdict in ('read', 'refused'), f'{name}: {reason}'


@pytest.mark.parametrize('before', ['', 'seed: 1\n'])
def test_odd_overlays_are_read_or_refused(judge, before):
  for text in [*odd.YAML, odd.BOMB, odd.PATTERNS]:
    content = (before + text).encode('utf-8', 'surrogatepass')
    verdict, reason = judge('overlay', {'mine.yaml': content})
    assert verdict in ('read', 'refused'), f'{text:.200}: {reason}'


def fail(folder):
  raise KeyError('x')


def forget(folder):
  raise UserError('Something is bad.')


def refuse_without_memory(folder):
  raise UserError(f'The file {folder} is bad (MemoryError: x).')


def leave(folder):
  (folder.parent / 'x.part').write_text('half')


def change(folder):
  (folder / 'data.x').write_text('changed')


def grow(folder):
  bytearray(12 * 10 ** 8)


@pytest.mark.parametrize('reader, words', [
    (fail, "KeyError: 'x'"), (forget, 'names no file'), (refuse_without_memory, 'too much memory'),
    (leave, 'x.part'), (change, 'changed its input'), (grow, 'reading took')])
def test_the_judge_notices(monkeypatch, tmp_path, reader, words):
  monkeypatch.setitem(kinds.KINDS, 'own', (None, reader, ''))
  verdict, reason = fuzz.judge('own', {'data.x': b'x'}, tmp_path)
  assert verdict == 'tracebacks' and words in reason
