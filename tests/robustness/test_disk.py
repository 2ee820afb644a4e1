"""A full disk, folders that cannot be written and too little memory: one sentence, and it continues."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from vid2act_plugin.common.errors import UserError, as_user_errors
from vid2act_plugin.sources import recording as recordings

CLI = '-m', 'vid2act_plugin.cli'
HOST = (
    '-m', 'dreamerv3', '--configs', 'metaworld', '--random_agent', 'True', '--run.debug', 'True',
    '--run.steps', '40', '--run.eval_every', '40', '--run.eval_eps', '1', '--env.metaworld.limit',
    '6', '--env.metaworld.size', '16,16', '--env.metaworld.render', 'fast', '--logger.outputs',
    'jsonl', '--replay.size', '1e5')
LIMITED = '''
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.argv[2], sys.argv[2:])
'''
NAMESPACE = 'unshare', '-rm', 'sh', '-c'  # A file system of one's own, where that is allowed.


def call(*args, size=None, status=0, words=()):
  """Run Python, with files of at most `size` bytes; assert its status and what it says."""
  command = [sys.executable, *map(str, args)]
  if size:
    command = [sys.executable, '-c', LIMITED, str(size), *command]
  # Under the limit bytecode would be written in part, too, and be found by whoever comes next.
  environ = {**os.environ, 'PYTHONDONTWRITEBYTECODE': '1'}
  done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environ)
  said(done, status, words)
  return done.stdout


def said(done, status, words):
  assert done.returncode == status, done.stdout + done.stderr
  assert 'Traceback' not in done.stdout + done.stderr, done.stderr
  assert all(x in done.stderr for x in map(str, words)), done.stderr


def torn(folder):
  """Return the names of what was not written to its end."""
  return [x.name for x in folder.rglob('*') if x.name.endswith('.part')]


def noise(T, size=16):
  return np.random.default_rng(T).integers(0, 256, (T, size, size, 3), np.uint8)


@pytest.fixture
def data(tmp_path):
  """One short episode and one that is longer, as DreamerV2 has them."""
  (tmp_path / 'data').mkdir()
  for T in (4, 60):
    action = np.full((T, 2), 0.5, np.float32)
    np.savez(tmp_path / 'data' / f'{T:02}.npz', image=noise(T), action=action,
             reward=np.ones(T, np.float32))
  return tmp_path / 'data'


@pytest.fixture
def big(tmp_path):
  """A recording of two episodes with 118 MB of images each, which are small files."""
  entries, T = [], 600
  t = np.arange(T)
  for i in range(2):
    entries.append(recordings.write_episode(tmp_path / 'big', i, dict(
        image=np.zeros((T, 256, 256, 3), np.uint8), action=np.zeros((T, 2), np.float32),
        reward=np.zeros(T, np.float32), success=np.zeros(T, np.float32), is_first=t == 0,
        is_last=t == T - 1, is_terminal=t < 0)))
  recordings.write_manifest(tmp_path / 'big', dict(
      source='big', suite='x', task='big', behaviour={}, seed=0, env={}, versions={}, act_size=2,
      episodes=entries))
  return tmp_path / 'big'


def test_a_full_disk_while_collecting(tmp_path):
  command = [*CLI, 'collect', 'metaworld_reach', '--out', tmp_path, '--limit', '20', '--size', '32',
             '--render', 'fast', '--workers', '1', '--random-share', '0']
  call(*command, '--episodes', 1)
  folder = tmp_path / 'metaworld_reach'
  kept = (folder / recordings.name(0)).stat().st_mtime_ns
  call(*command, '--episodes', 2, size=9000, status=1, words=(
      folder / recordings.name(1), 'File too large', 'same command continues'))
  assert len(recordings.load(folder)[1]) == 1 and not torn(tmp_path)
  call(*command, '--episodes', 2)
  assert len(recordings.load(folder)[1]) == 2
  assert (folder / recordings.name(0)).stat().st_mtime_ns == kept


def test_a_full_disk_while_importing(data, tmp_path):
  command = [*CLI, 'import', data, '--out', tmp_path / 'out']
  call(*command, size=20000, status=1, words=(
      recordings.name(1), 'File too large', 'free some space', 'repeat the command'))
  manifest, episodes = recordings.load(tmp_path / 'out/data')
  assert len(episodes) == 1 and not manifest['complete'] and not torn(tmp_path)
  call(*command)
  manifest, episodes = recordings.load(tmp_path / 'out/data')
  assert len(episodes) == 2 and manifest['complete'] and not manifest['skipped']


@pytest.mark.skipif(
    not shutil.which('unshare') or bool(subprocess.run(
        [*NAMESPACE, 'mount -t tmpfs none /mnt'], capture_output=True).returncode),
    reason='needs a file system of its own')
def test_a_disk_that_is_really_full(data, tmp_path):
  """It has 24 kB: enough for the lock, one episode and its manifest."""
  (tmp_path / 'out').mkdir()
  script = (
      f'mount -t tmpfs -o size=24k none {tmp_path}/out; '
      f'{sys.executable} -m vid2act_plugin.cli import {data} --out {tmp_path}/out; '
      f'status=$?; cat {tmp_path}/out/data/manifest.json; ls -R {tmp_path}/out; exit $status')
  done = subprocess.run([*NAMESPACE, script], capture_output=True, text=True, timeout=60)
  said(done, 1, (recordings.name(1), 'No space left on device', 'free some space'))
  text = done.stdout[done.stdout.index('\n{') + 1:]
  manifest, end = json.JSONDecoder().raw_decode(text)
  assert len(manifest['episodes']) == 1 and '.part' not in text[end:]


def test_a_full_disk_while_a_bundle_is_written(bundle, tmp_path):
  shutil.copytree(bundle, tmp_path / 'teacher')
  program = (
      'import sys; from vid2act_plugin.common import errors; from vid2act_plugin.teacher import bundle\n'
      'with errors.as_user_errors(sys.argv[1]): bundle.load(sys.argv[1]).save(sys.argv[1])')
  call('-c', program, tmp_path / 'teacher', size=2000, status=1,
       words=(tmp_path / 'teacher', 'File too large', 'free some space'))
  assert [x.name for x in tmp_path.iterdir()] == ['teacher']
  call('-c', program, tmp_path / 'teacher')


def test_a_full_disk_while_training(tmp_path):
  call(*HOST, '--logdir', tmp_path, size=16000, status=1, words=(tmp_path, 'File too large'))
  call(*HOST, '--logdir', tmp_path)
  assert json.loads((tmp_path / 'summary.json').read_text())['env_steps'] == 40
  assert not torn(tmp_path)


@pytest.mark.parametrize('kind', ['a file', 'read-only'])
@pytest.mark.parametrize('command', [
    [*CLI, 'collect', 'metaworld_reach', '--out'], [*CLI, 'import', 'DATA', '--out'],
    [*CLI, 'export', 'DATA', '--format', 'minari', '--out'], [*HOST, '--logdir']],
    ids=['collect', 'import', 'export', 'train'])
def test_a_folder_that_cannot_be_written(data, tmp_path, kind, command):
  (tmp_path / 'file').write_text('mine')
  where = str(tmp_path / 'file/in') if kind == 'a file' else '/sys/vid2act/in'
  if 'export' in command:
    call(*CLI, 'import', data, '--out', tmp_path / 'made')
    data = tmp_path / 'made/data'
  command = [str(data) if x == 'DATA' else x for x in command]
  call(*command, where, status=1, words=(os.path.dirname(where), 'cannot be written', 'name another'))
  assert (tmp_path / 'file').read_text() == 'mine'


LITTLE = '''
import resource, sys
from vid2act_plugin import cli
from vid2act_plugin.common import errors
from vid2act_plugin.sources import dataset as sources, importing as imports
from vid2act_plugin.tools import inspect as inspection
from vid2act_plugin.sources.formats import dreamerv2
used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]),) * 2)
'''


def test_too_little_memory_for_recordings(big):
  program = LITTLE + 'with errors.as_user_errors(sys.argv[2]): sources.Sources([sys.argv[2]])'
  call('-c', program, 10 ** 8, big, status=1, words=(
      big / recordings.name(0), 'Memory ran out', 'stop other programs'))
  call('-c', program, 2 * 10 ** 9, big)


def test_too_little_memory_does_not_skip_episodes(tmp_path):
  (tmp_path / 'data').mkdir()
  for T in (4, 8000):
    np.savez_compressed(
        tmp_path / 'data' / f'{T:04}.npz', image=np.zeros((T, 16, 16, 3), np.uint8),
        action=np.zeros((T, 2 if T < 10 else 2000), np.float32), reward=np.ones(T, np.float32))
  program = LITTLE + 'cli.main(sys.argv[2:])'
  command = 'import', tmp_path / 'data', '--out', tmp_path / 'out'
  call('-c', program, 5 * 10 ** 7, *command, status=1, words=('8000.npz', 'Memory ran out'))
  assert not (tmp_path / 'out/data' / recordings.MANIFEST).exists()
  assert 'Most of the data was left out' in call('-c', program, 4 * 10 ** 9, *command, status=3)


def test_other_errors_are_faults_of_ours():
  with pytest.raises(UserError, match='^No camera$'), as_user_errors('here'):
    raise RuntimeError(UserError('No camera'))  # As the host's driver has it from an environment's process.
  with pytest.raises(RuntimeError, match='^mine$'), as_user_errors('here'):
    raise RuntimeError('mine')
  with pytest.raises(FileNotFoundError), as_user_errors('here'):
    open('/nowhere/at/all')
  with pytest.raises(UserError, match='/dev/null/in cannot be written'), as_user_errors('here'):
    open('/dev/null/in')
