"""A small network's training is interrupted and continues: the same numbers as in one go."""

import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers import moves
from helpers.commands import guarded

from vid2act_plugin.sources import dataset
from vid2act_plugin.teacher import cloning, inverting
from vid2act_plugin.training import partial, resume

KINDS = {
    'behaviours': lambda data, **more: cloning.Training(data, dict(
        dict(updates=9, batch_size=8, frames=2, shift=1, channels=4, hidden=8, episodes=0), **more)),
    'inverse': lambda data, **more: inverting.Training(data, dict(
        dict(updates=9, batch_size=8, networks=2, channels=4, hidden=8, shift=1), **more), {'seed': 0})}


def sources(root):
  return dataset.Sources([moves.write(root / x, count=6, seed=i) for i, x in enumerate(('one', 'two'))], 0.2, 2)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return sources(tmp_path_factory.mktemp('recordings'))


@pytest.fixture(params=sorted(KINDS))
def make(request, data, plain):
  return lambda **more: KINDS[request.param](data, **more)


def stopping(number):
  """Return a check that lets the run stop after so many updates."""
  calls = []
  def check():
    calls.append(0)
    if len(calls) == number:
      raise resume.Stopped
  return check


def same(one, two):
  assert one.params.keys() == two.params.keys() and one.facts == two.facts
  for key, value in one.params.items():
    np.testing.assert_array_equal(value, two.params[key])


def test_continued_it_ends_as_in_one_go(make, tmp_path, capsys):
  whole = partial.updated(make(), 'learn', tmp_path / 'whole')
  for number in (4, 3):
    with pytest.raises(resume.Stopped):
      partial.updated(make(), 'learn', tmp_path / 'parts', stopping(number))
  capsys.readouterr()
  same(whole, partial.updated(make(), 'learn', tmp_path / 'parts'))
  assert 'Continued after update 7.' in capsys.readouterr().out
  same(whole, partial.updated(make(), 'learn', tmp_path / 'parts', stopping(1)))
  partial.discard(tmp_path / 'parts')
  assert not (tmp_path / 'parts').exists()
  other = partial.updated(make(), 'learn', tmp_path / 'again', stopping(10))
  same(whole, other)


def test_it_is_kept_now_and_then(make, tmp_path, monkeypatch):
  monkeypatch.setattr(partial, 'PAUSE', -1)
  def killed():
    if len(seen) == 5:
      raise ZeroDivisionError
    seen.append(0)
  seen = []
  with pytest.raises(ZeroDivisionError):
    partial.updated(make(), 'learn', tmp_path / 'parts', killed)
  training = make()
  assert partial._load(training, tmp_path / 'parts') == 5
  assert any(np.abs(a - b).max() > 0 for a, b in zip(training.params.values(), make().params.values()))


@pytest.mark.parametrize('spoil, said', [
    (lambda folder: (folder / partial.NAMES[0]).write_bytes(b'x'), 'is not as it was written'),
    (lambda folder: (folder / partial.NAMES[1]).write_text('{'), 'What was kept in'),
    (lambda folder: (folder / partial.NAMES[0]).unlink(), 'No such file')])
def test_what_is_damaged_is_learned_anew(make, tmp_path, capsys, spoil, said):
  whole = partial.updated(make(), 'learn', tmp_path / 'parts')
  spoil(tmp_path / 'parts')
  same(whole, partial.updated(make(), 'learn', tmp_path / 'parts'))
  found = capsys.readouterr().out
  assert said in found and 'it is learned anew' in found and 'Continued' not in found


def test_another_training_is_not_continued(make, tmp_path, capsys):
  partial.updated(make(), 'learn', tmp_path / 'parts')
  other = make()
  other.holdout = 0.5
  assert not partial._load(other, tmp_path / 'parts')
  other.holdout, other.seed = make().holdout, 1
  assert not partial._load(other, tmp_path / 'parts')
  for change in (dict(hidden=16), dict(updates=5)):
    same(partial.updated(make(**change), 'learn', tmp_path / 'parts'),
         partial.updated(make(**change), 'learn', tmp_path / 'fresh'))
    assert 'is of other recordings or settings; it is learned anew' in capsys.readouterr().out
    partial.discard(tmp_path / 'fresh')


def as_in_pretraining(root):
  """What an agent forbids, as it is made, for the whole process."""
  data = sources(root)
  jax.config.update('jax_transfer_guard', 'disallow')
  for name, make in KINDS.items():
    partial.updated(make(data), name, root / name)


def test_it_learns_in_a_process_that_has_an_agent_on_a_gpu(tmp_path):
  here = pathlib.Path(__file__).parent
  code = f"import pathlib, {pathlib.Path(__file__).stem} as x; x.as_in_pretraining(pathlib.Path('{tmp_path}'))"
  subprocess.run([sys.executable, '-c', code], check=True, env=guarded(here, here.parent))
