"""Pipes, devices and folders in the place of files: no reader waits for them or reads them."""

import os

import pytest
from helpers.foreign import three
from helpers.recordings import write
from helpers.special import SPECIAL, in_time

from bench.robustness import bad, fuzz
from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import recording as recordings


def test_every_special_file_is_made(tmp_path):
  for i, content in enumerate(bad.SPECIAL):
    fuzz.write(tmp_path / str(i), {'x': content})
    assert not (tmp_path / str(i) / 'x').is_file() and os.path.lexists(tmp_path / str(i) / 'x')


@pytest.mark.parametrize('kind', sorted(SPECIAL))
def test_commands(tmp_path, kind):
  """One of several episodes costs no other, and the data themselves are refused."""
  path, _ = three(tmp_path / 'in')
  SPECIAL[kind](path / 'other.npz')
  out = ['--out', str(tmp_path / 'out')]
  with in_time():
    cli.main(['import', str(path), *out])
  manifest, episodes = recordings.load(tmp_path / 'out' / 'in')
  assert len(episodes) == 3 and [kind in x for x in manifest['skipped']] == [True]
  if kind == 'folder':
    return
  SPECIAL[kind](tmp_path / 'alone.npz')
  with in_time(), pytest.raises(UserError, match='alone.npz|/dev/zero') as error:
    cli.main(['import', str(tmp_path / 'alone.npz'), *out, '--format', 'dreamerv2'])
  assert kind in str(error.value) or 'There is no' in str(error.value)


@pytest.mark.parametrize('name', ['manifest.json', 'episode-000001.npz'])
def test_inspect_goes_on(tmp_path, capsys, name):
  folder = write(tmp_path / 'one', 2)
  (folder / name).unlink()
  os.mkfifo(folder / name)
  with in_time(), pytest.raises((SystemExit, UserError)):
    cli.main(['inspect', str(folder), '--no-pictures'])
