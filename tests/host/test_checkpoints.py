"""Checkpoints of the host, read safely and kept in the order in which they were written."""

import pickle

import elements
import numpy as np
import pytest
from helpers.payloads import touch, works

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.host import checkpoints


class Thing:
  """Something that a checkpoint saves."""

  def __init__(self, value=None):
    self.value = value

  def save(self):
    return self.value

  def load(self, value):
    self.value = value


def checkpoint(folder, **things):
  cp = checkpoints.Checkpoint(elements.Path(folder))
  for name, thing in things.items():
    setattr(cp, name, thing)
  return cp


def test_what_was_saved_is_loaded(tmp_path):
  data = {'params': {'a': np.arange(3.0)}, 'counters': {'updates': 7}}
  checkpoint(tmp_path, agent=Thing(data), step=Thing(5)).save()
  agent, step = Thing(), Thing()
  checkpoint(tmp_path, agent=agent, step=step).load(keys=['agent'])
  assert agent.value['counters'] == {'updates': 7} and step.value is None
  np.testing.assert_array_equal(agent.value['params']['a'], np.arange(3.0))
  agent.value['params']['a'][0] = 1  # It can be written, as the host's own is.


def test_a_clock_that_went_back_loses_nothing(tmp_path, monkeypatch):
  times = iter(['20300102T000000', '20300101T000000', '20300101T000001'])
  monkeypatch.setattr(elements.checkpoint.utils, 'timestamp', lambda millis: next(times))
  step = Thing(1)
  cp = checkpoint(tmp_path, step=step)
  for step.value in (1, 2, 3):
    cp.save()
    found = Thing()
    checkpoint(tmp_path, step=found).load()
    assert found.value == step.value
    assert len([x for x in tmp_path.iterdir() if x.is_dir()]) == 1


def test_loading_executes_nothing(tmp_path, owned):
  cp = checkpoint(tmp_path / 'ckpt', agent=Thing(3))
  cp.save()
  path = checkpoints.latest(tmp_path) / 'agent.pkl'
  path.write_bytes(pickle.dumps({'params': {'a': touch()}}))
  path.with_name(checkpoints.HASHES).unlink()
  works(owned, elements.Checkpoint.load, cp)
  with pytest.raises(UserError, match='agent.pkl.*do not trust'):
    cp.load()


def flip(path, at=-9):
  content = bytearray(path.read_bytes())
  content[at] ^= 1
  path.write_bytes(content)


AGENT = {'params': {'a': np.arange(99.0)}, 'counters': {'updates': 7, 'batches': 8, 'actions': 9}}


@pytest.fixture
def saved(tmp_path):
  """A whole checkpoint and what loads it; the objects in it."""
  things = dict(agent=Thing(AGENT), step=Thing(5), place=Thing({}))
  cp = checkpoint(tmp_path / 'ckpt', **things)
  cp.save()
  return checkpoints.latest(tmp_path), cp, things


READERS = {
    'resume': lambda folder, cp: cp.load(), 'loading': lambda folder, cp: checkpoints.read(folder),
    'last': lambda folder, cp: checkpoints.last(folder.parent.parent)}


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('hurt, words', [
    (flip, 'not as it was written'), (lambda x: x.write_bytes(x.read_bytes()[:200]), 'not as it was'),
    (lambda x: x.write_bytes(b''), 'not as it was'),
    (lambda x: (x.unlink(), x.mkdir()), 'missing'), (lambda x: x.write_bytes(b'\0' * 999), 'not as')])
def test_a_checkpoint_that_is_not_as_it_was_written(saved, reader, hurt, words):
  folder, cp, things = saved
  things['step'].value = things['agent'].value = None
  READERS[reader](folder, cp)
  hurt(folder / 'agent.pkl')
  things['step'].value = 'before'
  if words == 'missing' and reader == 'last':
    assert checkpoints.last(folder.parent.parent) is None  # That is no whole checkpoint.
    return
  with pytest.raises(UserError, match=words) as error:
    READERS[reader](folder, cp)
  assert 'agent.pkl' in str(error.value) and str(error.value).isprintable()
  assert things['step'].value == 'before'  # Nothing is loaded in part.


@pytest.mark.parametrize('name', ['step', 'place'])
def test_a_file_that_is_gone_is_missed(saved, name):
  folder, cp, _ = saved
  (folder / f'{name}.pkl').unlink()
  assert checkpoints.holds(folder, name) and not checkpoints.holds(folder, 'none')
  with pytest.raises(UserError, match=f'{name}.pkl of a checkpoint is missing'):
    cp.load()


@pytest.mark.parametrize('content', [b'', b'{', b'[1]', b'\xff' * 9, b'{"agent.pkl": 3}'])
def test_hashes_that_cannot_be_read(saved, content):
  folder, cp, _ = saved
  (folder / checkpoints.HASHES).write_bytes(content)
  with pytest.raises(UserError, match='sha256.json cannot be read|agent.pkl is damaged'):
    cp.load()


def test_checkpoints_without_hashes_are_loaded(saved):
  """Those of the host and of earlier versions; what is damaged visibly is refused all the same."""
  folder, cp, things = saved
  (folder / checkpoints.HASHES).unlink()
  things['step'].value = None
  cp.load()
  assert things['step'].value == 5 and checkpoints.step(folder) == 5
  flip(folder / 'agent.pkl')
  cp.load()
  for name, value in (('step', 'x'), ('step', [1]), ('step', -1), ('step', True)):
    (folder / f'{name}.pkl').write_bytes(pickle.dumps(value))
    with pytest.raises(UserError, match='step.pkl holds no number of steps'):
      cp.load()


def test_what_does_not_fit_is_one_sentence(saved, monkeypatch):
  folder, cp, things = saved
  monkeypatch.setattr(things['place'], 'load', lambda value: value['prev'])
  with pytest.raises(UserError, match=r"place.pkl does not fit this run \(KeyError: 'prev'\)"):
    cp.load()


@pytest.mark.parametrize('name', ['x' * 10 ** 4, 'a\0b', '../..', '\ufffd'])
def test_a_latest_that_names_no_folder(saved, name):
  folder, _, _ = saved
  (folder.parent / 'latest').write_text(name)
  assert checkpoints.newest(folder.parent) is None and checkpoints.last(folder.parent.parent) is None
