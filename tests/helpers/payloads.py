"""Payloads that make a file when they are executed, and the proof that they would."""

import os

import numpy as np
import pytest


class Call:
  """Is pickled as the call of a function."""

  def __init__(self, function, *args):
    self.call = function, args

  def __reduce__(self):
    return self.call


@pytest.fixture
def owned(tmp_path, monkeypatch):
  """The file that a payload makes, in the working directory."""
  (tmp_path / 'cwd').mkdir()
  monkeypatch.chdir(tmp_path / 'cwd')
  path = tmp_path / 'cwd' / 'owned'
  yield path
  assert not path.exists()


def works(owned, load, *args):
  """Assert that whoever loads without care executes the payload; then clean up."""
  try:
    load(*args)
  except Exception:
    pass
  assert owned.exists()
  owned.unlink()


def touch():
  return Call(os.system, 'touch owned')


def objects():
  array = np.empty(1, object)
  array[0] = touch()
  return array
