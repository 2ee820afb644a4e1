"""Links in recordings, as caches of hubs are made of: read where they lead to files, never written."""

import os

import pytest
from helpers.foreign import check, three
from helpers.recordings import write

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import importing as imports
from vid2act_plugin.sources import recording as recordings


def linked(folder):
  """Make the files of a folder links, as caches of hubs do; returns the contents elsewhere."""
  blobs = folder.parent / 'blobs'
  blobs.mkdir()
  for i, file in enumerate(sorted(x for x in folder.iterdir() if x.name[0] != '.')):
    file.symlink_to(os.path.relpath(file.rename(blobs / f'{i:040x}'), folder))
  return {x: x.read_bytes() for x in blobs.iterdir()}


def test_links_of_a_cache_are_read_and_never_written(tmp_path):
  path, plays = three(tmp_path / 'in')
  imports.run(path, tmp_path / 'out', episodes=2)
  before = linked(tmp_path / 'out')
  assert recordings.count(tmp_path / 'out') == 2 == len(recordings.load(tmp_path / 'out')[1])
  first = recordings.name(0)
  (tmp_path / 'out' / first).resolve().write_bytes(b'damaged')
  damaged = {x: x.read_bytes() for x in before}
  imports.run(path, tmp_path / 'out', episodes=3)
  assert {x: x.read_bytes() for x in (tmp_path / 'blobs').iterdir()} == damaged
  check(tmp_path / 'out', plays)
  assert not (tmp_path / 'out' / first).is_symlink()


def test_a_link_shows_nothing_of_what_is_no_recording(tmp_path):
  """What it leads to has to have the hash of the manifest, and no sentence quotes it."""
  recording = write(tmp_path / 'one')
  (secret := recording.parent / 'secret').write_text('{"password": "abc"}')
  for name in (recordings.name(0), recordings.MANIFEST):
    (recording / name).unlink()
    (recording / name).symlink_to(secret)
    with pytest.raises(UserError) as error:
      recordings.load(recording)
    assert 'password' not in str(error.value) and 'abc' not in str(error.value)
  assert secret.read_text() == '{"password": "abc"}'
