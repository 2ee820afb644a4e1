"""Files and folders that are complete or as they were, whatever lies beside them and whoever dies."""

import contextlib
import errno
import fcntl
import os
import threading

import pytest
from helpers import orphans

from vid2act_plugin import cli
from vid2act_plugin.common import files, lock
from vid2act_plugin.common.errors import UserError

WRITE = '''
import pathlib, sys, time
from vid2act_plugin.common import files
with getattr(files, sys.argv[1])(pathlib.Path(sys.argv[2])) as part:
  if part.is_file():
    part.write_text('half')
  print(part, flush=True)
  time.sleep(60)
'''


def test_a_file_is_complete_or_as_it_was(tmp_path):
  path = tmp_path / 'a'
  for text in ('one', 'two'):
    with files.atomic_write(path) as part:
      part.write_text(text)
    assert path.read_text() == text and list(tmp_path.iterdir()) == [path]
  with pytest.raises(KeyError):
    with files.atomic_write(path) as part:
      part.write_text('three')
      raise KeyError
  assert path.read_text() == 'two' and list(tmp_path.iterdir()) == [path]
  (tmp_path / 'b').touch()
  assert path.stat().st_mode == (tmp_path / 'b').stat().st_mode


def test_what_the_dead_leave_on_nfs_is_removed(tmp_path, monkeypatch):
  """There a lock needs a file that is open for writing, see flock(2)."""
  def flock(file, kind, take=fcntl.flock):
    number = file if isinstance(file, int) else file.fileno()
    if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
      raise OSError(errno.EBADF, 'Bad file descriptor')
    take(file, kind)
  monkeypatch.setattr(lock.fcntl, 'flock', flock)
  (tmp_path / '.a-01234567.part').write_text('half')
  with files.atomic_write(tmp_path / 'a') as part:
    with files.atomic_write(tmp_path / 'a') as other:  # What lives stays.
      assert part.exists() and part != other
    part.write_text('whole')
  assert [x.name for x in tmp_path.iterdir()] == ['a'] and (tmp_path / 'a').read_text() == 'whole'


def test_links_that_were_planted_lead_nowhere(tmp_path, monkeypatch):
  """Names cannot be foreseen; and where one is guessed all the same, nothing is followed."""
  victim, path = tmp_path / 'victim', tmp_path / 'a'
  victim.write_text('precious')
  (tmp_path / f'a.{os.getpid()}.part').symlink_to(victim)
  with files.atomic_write(path) as part:
    part.write_text('mine')
  assert (path.read_text(), victim.read_text()) == ('mine', 'precious')
  monkeypatch.setattr(files.secrets, 'token_hex', lambda _: '01234567')
  (tmp_path / '.a-01234567.part').symlink_to(victim)
  for write in (files.atomic_write, files.temporary):
    with pytest.raises(FileExistsError):
      with write(path):
        pass
  assert (path.read_text(), victim.read_text()) == ('mine', 'precious')


def test_a_lock_that_is_a_link_is_refused(tmp_path):
  victim = tmp_path / 'victim'
  victim.write_text('precious')
  (tmp_path / 'link').mkdir()
  (tmp_path / 'link' / lock.FILE).symlink_to(victim)
  (tmp_path / 'pipe').mkdir()
  os.mkfifo(tmp_path / 'pipe' / lock.FILE)
  for name, words in (('link', 'is a link'), ('pipe', 'is no regular file')):
    with pytest.raises(UserError, match=f'{name}/{lock.FILE} {words}; remove it'):
      cli.main(['collect', 'metaworld_reach', '--out', str(tmp_path / name)])
    assert lock.owner(tmp_path / name) is None
  assert victim.read_text() == 'precious'


@pytest.mark.parametrize('write', ['atomic_write', 'atomic_folder'])
def test_what_the_dead_leave_is_removed_and_the_living_is_not(write, tmp_path):
  path = tmp_path / 'a'
  said, _ = orphans.killed(WRITE, write, path)
  assert [str(x) for x in tmp_path.iterdir()] == [said[0].removesuffix('/a')]
  for name in ('.a-short.part', '.b-01234567.part'):
    (tmp_path / name).touch()
  os.mkfifo(tmp_path / '.a-76543210.part')  # To be opened without waiting for a writer.
  with getattr(files, write)(path) as one:
    with getattr(files, write)(path) as two:
      assert one.exists() and two.exists()
      assert len(list(tmp_path.iterdir())) == 4
    path.unlink() if path.is_file() else path.rmdir()
  assert {x.name for x in tmp_path.iterdir()} == {'a', '.a-short.part', '.b-01234567.part'}


def test_a_folder_that_came_meanwhile_is_kept(tmp_path, monkeypatch):
  folder = tmp_path / 'out'
  with pytest.raises(UserError, match='exists by now'):
    with files.atomic_folder(folder) as made:
      (made / 'x').write_text('second')
      folder.mkdir()
      (folder / 'x').write_text('first')
      monkeypatch.setattr(files.pathlib.Path, 'exists', lambda _: False)  # Just after a look.
  assert (folder / 'x').read_text() == 'first' and list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_holds_anything_else_is_not_replaced(tmp_path):
  folder = tmp_path / 'out'
  for name in ('x', 'y'):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text('precious')
    with pytest.raises(UserError, match="holds 'y', which would be lost") if name == 'y' else contextlib.nullcontext():
      with files.atomic_folder(folder, replace=['x']) as made:
        (made / 'x').write_text('new')
  assert {x.name: x.read_text() for x in folder.iterdir()} == {'x': 'new', 'y': 'precious'}
  (tmp_path / 'file').write_text('precious')
  with pytest.raises(UserError, match='is a file; name a folder'):
    with files.atomic_folder(tmp_path / 'file', replace=['x']):
      pass
  assert (tmp_path / 'file').read_text() == 'precious' and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize('exchange', [True, False])
def test_writers_of_one_folder_meet(exchange, tmp_path, monkeypatch):
  """Each replaces what another has just written; where the system can, it is never absent."""
  if not exchange:
    monkeypatch.setattr(files, '_exchange', lambda *args: False)
  folder, faults, absent = tmp_path / 'out', [], []
  def write(text):
    try:
      for _ in range(30):
        with files.atomic_folder(folder, replace=['x']) as made:
          (made / 'x').write_text(text)
    except Exception as e:
      faults.append(e)
  write('first')
  threads = [threading.Thread(target=write, args=(x,)) for x in 'ab']
  for thread in threads:
    thread.start()
  while any(x.is_alive() for x in threads):
    absent.append(not folder.exists())
  assert not faults and not (exchange and any(absent))
  assert (folder / 'x').read_text() in 'ab' and list(tmp_path.iterdir()) == [folder]
