"""The command `vid2act doctor`, here and in places that are broken on purpose."""

import contextlib
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

from vid2act_plugin.host import tree as host
from vid2act_plugin.tools import doctor, probes

NAMES = list(doctor.CHECKS)
NOBODY = 65534
NVIDIA = """#!/bin/sh
case "$1" in *driver_version*) echo 580.65.06;; *compute_cap*) echo 9.0;; *) echo Some GPU;; esac
"""


def start(*args, cwd=None, **env):
  return subprocess.Popen(
      [sys.executable, '-m', 'vid2act_plugin.cli', 'doctor', *args], stdout=subprocess.PIPE,
      stderr=subprocess.PIPE, text=True, cwd=cwd, env={**os.environ, **env})


def write(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  return path


def installed(folder, name, *lines):
  """Make `folder` look as if it had a distribution of that name, version 9.0."""
  text = '\n'.join(('Metadata-Version: 2.1', f'Name: {name}', 'Version: 9.0', *lines, ''))
  write(folder / f'{name.replace("-", "_")}-9.0.dist-info' / 'METADATA', text)


@pytest.fixture(scope='module')
def broken(tmp_path_factory):
  """What the doctor finds where much is wrong at once: status, answer and the folder."""
  folder = tmp_path_factory.mktemp('broken')
  write(folder / 'home/.cache/vid2act', 'a file where the cache should be')
  for name in ('dreamerv3', 'embodied'):
    ignore = shutil.ignore_patterns('__pycache__')
    shutil.copytree(host.find() / name, folder / 'path' / name, ignore=ignore)
  with (folder / 'path/dreamerv3/main.py').open('a') as file:
    file.write('# Ours no more.\n')
  installed(folder / 'path', 'mujoco')
  write(folder / 'bin/nvidia-smi', NVIDIA).chmod(0o755)
  process = start(
      '--json', cwd=folder, HOME=str(folder / 'home'), PYTHONPATH=str(folder / 'path'),
      PATH=f'{folder / "bin"}{os.pathsep}{os.environ["PATH"]}', MUJOCO_GL='nonsense',
      DREAMERV3_PLUGINS='', JAX_PLATFORMS='cpu')
  output, errors = process.communicate(timeout=120)
  assert not errors
  answer = json.loads(output)
  return process.returncode, answer, {x['name']: x for x in answer['checks']}, folder


def test_nothing_fails_here_and_lines_come_as_checks_finish():
  process, times = start(PYTHONUNBUFFERED=''), []
  lines = []
  for line in process.stdout:
    lines.append(line.split(maxsplit=2))
    times.append(time.time())
  assert process.wait() == 0, lines
  assert [x[1] for x in lines] == NAMES
  found = {name: (status, text) for status, name, text in lines}
  assert {found[x][0] for x in ('python', 'packages', 'host', 'plugin')} == {'ok'}
  assert 'GFLOP/s' in found['jax'][1] and 'Meta-World' in found['rendering'][1]
  assert times[-1] - times[0] > 1  # A product and frames are timed for one second each.


def test_a_broken_place_gives_status_1_and_all_checks_a_cure(broken):
  code, answer, checks, _ = broken
  assert code == 1 and answer['ok'] is False and list(checks) == NAMES
  assert all(set(x) == {'name', 'status', 'text', 'cure'} for x in answer['checks'])
  assert all(bool(x['cure']) == (x['status'] != 'ok') for x in answer['checks'])
  assert checks['python']['status'] == 'ok'


@pytest.mark.parametrize('name, text, cure', [
    ('packages', 'mujoco 9.0 (==3.3.0)', "'mujoco==3.3.0'"),
    ('host', 'dreamerv3/main.py (changed)', 'off the Python path'),
    ('plugin', 'DREAMERV3_PLUGINS', 'unset'),
    ('rendering', 'nonsense', 'unset MUJOCO_GL'),
    ('cache', 'is not a folder', 'vid2act.cache')])
def test_what_is_broken_fails(broken, name, text, cure):
  check = broken[2][name]
  assert check['status'] == 'fail' and text in check['text'] and cure in check['cure'], check


def test_a_gpu_that_jax_does_not_use_is_a_warning(broken):
  check = broken[2]['jax']
  assert check['status'] == 'warn' and 'Some GPU' in check['text'] and 'GFLOP/s' in check['text']
  assert 'make install EXTRA=cuda13' in check['cure']


def test_a_missing_package_and_another_python_fail(tmp_path, monkeypatch):
  installed(
      tmp_path, doctor.NAME, 'Requires-Python: <3', 'Requires-Dist: no-such-package>=2',
      "Requires-Dist: not-asked-for; extra == 'dev'")
  monkeypatch.syspath_prepend(tmp_path)
  check = doctor.examine('packages')
  assert check['status'] == 'fail' and 'no-such-package missing' in check['text']
  assert "'no-such-package>=2'" in check['cure'] and 'not-asked-for' not in str(check)
  assert doctor.examine('python')['status'] == 'fail'


def test_the_cache_is_counted(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
  folder = tmp_path / '.cache/vid2act'
  assert doctor.examine('cache')['status'] in ('ok', 'warn')
  assert not folder.parent.exists()  # Looking makes nothing.
  for name in ('door', 'reach'):
    write(folder / 'recordings/key' / name / 'manifest.json', '{}')
  write(folder / 'recordings/key/door/1.npz', ' ' * 3 * 2 ** 20)
  write(folder / 'imports/key/robot/manifest.json', '{}')
  write(folder / 'teachers/key/teacher/manifest.json', '{}')
  write(folder / 'teachers/unfinished/stage.yaml', '')
  write(folder / 'xla/one-cache', ''), write(folder / 'xla/one-atime', '')
  text = doctor.examine('cache')['text']
  for words in ('2 recordings (3 MiB)', '1 imported', '1 teachers (0 MiB)', '1 compiled functions'):
    assert words in text, text


def test_an_error_that_nobody_foresaw_is_one_line(monkeypatch):
  def odd():
    raise ValueError('what\nnot')
  monkeypatch.setitem(doctor.CHECKS, 'folder', odd)
  check = doctor.examine('folder')
  assert check['status'] == 'fail' and check['text'] == 'ValueError: what not'
  assert check['cure'] == doctor.REINSTALL


@contextlib.contextmanager
def stranger(closed):
  """Be one who may not enter the folder `closed`, as a user of a container whose home is another's."""
  closed.mkdir(parents=True, exist_ok=True)
  closed.chmod(0)
  before = os.geteuid()
  os.seteuid(before or NOBODY)  # The superuser may enter any.
  try:
    yield
  finally:
    os.seteuid(before)
    closed.chmod(0o700)


@pytest.fixture
def home(monkeypatch):
  """A home that anybody may enter and write, as pytest's folders are not."""
  found = doctor.defaults()  # From where a stranger may not read.
  monkeypatch.setattr(doctor, 'defaults', lambda: found)
  monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
  with tempfile.TemporaryDirectory() as folder:
    for path in (pathlib.Path(folder), pathlib.Path(folder, 'home')):
      path.mkdir(exist_ok=True)
      path.chmod(0o777)
    monkeypatch.setenv('HOME', str(path))
    yield path


@pytest.mark.parametrize('closed', ['.', '..', '.cache', '.cache/vid2act'])
def test_a_cache_that_cannot_be_entered_can_be_another(home, closed):
  (home / '.cache/vid2act/recordings/key/door').mkdir(parents=True)
  with stranger(home / closed):
    check = doctor.examine('cache')
  assert check['status'] == 'fail' and check['text'].endswith('cannot be written (Permission denied)'), check
  assert check['cure'] == 'allow it, or name another with `--vid2act.cache DIR`'


@pytest.mark.parametrize('part', ['recordings', 'teachers/key', 'elsewhere/xla'])
def test_a_part_of_the_cache_that_cannot_be_entered_hides_no_other(home, part, monkeypatch):
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(home / '.cache/vid2act/elsewhere/xla'))
  folder = home / '.cache/vid2act'
  write(folder / 'imports/key/robot/manifest.json', '{}')
  folder.chmod(0o777)
  with stranger(folder / part):
    check = doctor.examine('cache')
  assert check['status'] in ('ok', 'warn') and 'can be written' in check['text'] and '1 imported' in check['text'], check


def test_a_home_that_nobody_knows_and_one_with_too_long_a_name(home, monkeypatch):
  monkeypatch.setenv('HOME', str(home / ('a' * 300)))
  check = doctor.examine('cache')
  assert check['status'] == 'fail' and 'File name too long' in check['text'] and '--vid2act.cache DIR' in check['cure']
  monkeypatch.delenv('HOME')
  monkeypatch.setattr(pwd, 'getpwuid', {}.__getitem__)  # Of a number without a name.
  check = doctor.examine('cache')
  assert check['status'] == 'fail' and check['text'] == 'Could not determine home directory'
  assert check['cure'] == 'set the variable HOME, or name another with `--vid2act.cache DIR`'


def test_a_present_folder_that_is_closed_or_gone(home, monkeypatch):
  (home / 'a/b').mkdir(parents=True)
  monkeypatch.chdir(home / 'a/b')
  with stranger(home / 'a'):
    check = doctor.examine('folder')
  assert check['status'] == 'fail' and 'Permission denied' in check['text'], check
  assert check['cure'] == 'allow it, or name another with `--logdir DIR`'
  (home / 'a/b').rmdir()
  check = doctor.examine('folder')
  assert check['status'] == 'fail' and check['cure'] == 'change into another'
  assert check['text'] == 'the present one is gone, or closed to you (No such file or directory)'


@pytest.mark.parametrize('code, words', [
    ('import os; os.abort()', 'died of SIGABRT'),
    ('raise SystemExit("no driver")', 'status 1 and said no driver'),
    ('import time; time.sleep(60)', 'did not end within 3 s'),
    ('def answer(function): print("vid2act:[3, null]", flush=True); import os; os.abort()', None)])
def test_a_child_that_crashes_or_hangs_is_survived(tmp_path, monkeypatch, code, words):
  write(tmp_path / 'vid2act_plugin/__init__.py', '')
  write(tmp_path / 'vid2act_plugin/tools/__init__.py', '')
  write(tmp_path / 'vid2act_plugin/tools/probes.py', code)
  monkeypatch.chdir(tmp_path)  # Where the child finds these first.
  result, error = probes.child('draw', timeout=3 if 'sleep' in code else 60)
  assert words in error if words else (result, error) == (3, None)


def test_without_metaworld_a_sphere_is_drawn(tmp_path, monkeypatch):
  write(tmp_path / 'metaworld.py', 'raise ModuleNotFoundError("No module named metaworld")')
  monkeypatch.chdir(tmp_path)
  result, error = probes.child('draw')
  assert error is None and result['drawn'] and 'sphere' in result['scene'] and result['rate'] > 0
