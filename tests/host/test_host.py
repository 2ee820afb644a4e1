"""The patched host, on copies of the installed one and of a checkout.

VID2ACT_CHECKOUT names a checkout of DreamerV3, patched or not; without it the
tests that need one are skipped.
"""

import contextlib
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import threading

import psutil
import pytest
from helpers import orphans
from ruamel.yaml import YAML

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.common.resources import data
from vid2act_plugin.host import install
from vid2act_plugin.host import tree as host

MAIN = 'dreamerv3/main.py'
ROOT = pathlib.Path(__file__).parents[2]
WORKERS = ROOT / 'tests' / 'helpers' / 'workers.py'


def checkout():
  path = os.environ.get('VID2ACT_CHECKOUT')
  return pathlib.Path(path).resolve() if path else pytest.skip('no checkout in VID2ACT_CHECKOUT; not ours to copy')


@pytest.fixture(params=['installed', 'checkout'])
def tree(request, tmp_path):
  """A patched copy of the host that a test may write to."""
  source = host.find() if request.param == 'installed' else checkout()
  assert source, 'run `vid2act host build` before the tests'
  for name in ('dreamerv3', 'embodied'):
    ignore = shutil.ignore_patterns('__pycache__')
    shutil.copytree(source / name, tmp_path / 'tree' / name, ignore=ignore)
  host.patch(tmp_path / 'tree')
  return tmp_path / 'tree'


def snapshot(tree):
  return {x: (x.stat().st_ino, x.stat().st_mtime_ns) for x in tree.rglob('*') if x.is_file()}


def contents(tree):
  return {x.relative_to(tree).as_posix(): x.read_bytes() for x in tree.rglob('*') if x.is_file()}


def spoil(path):
  text = bytearray(path.read_bytes())
  text[-2] ^= 1
  path.write_bytes(text)


def run(*args, tree=None, timeout=60, **env):
  env = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(tree or ''), **env}
  return subprocess.run(
      [sys.executable, *args], env=env, cwd=tree, timeout=timeout, capture_output=True, text=True)


def test_the_installed_host_is_the_patched_one():
  result = run('-m', 'vid2act_plugin.cli', 'host', 'verify', tree=ROOT)
  assert result.returncode == 0, result.stderr
  assert len(result.stdout.splitlines()) == 1
  assert install.build().startswith('Nothing to do.')


@pytest.mark.parametrize('file', [MAIN, 'dreamerv3/plugins.py', 'embodied/core/driver.py'])
def test_one_changed_byte_is_named_and_nothing_is_written(tree, file):
  spoil(tree / file)
  before = snapshot(tree)
  with pytest.raises(UserError, match=f'{file} .changed.'):
    cli.main(['host', 'verify', str(tree)])
  for action in ('revert', 'patch'):
    with pytest.raises(UserError, match=f'{file} .changed.*nothing was written'):
      cli.main(['host', action, str(tree)])
  assert snapshot(tree) == before


def test_a_user_error_prints_one_sentence_and_exits_with_1(tree):
  spoil(tree / MAIN)
  result = run('-m', 'vid2act_plugin.cli', 'host', 'verify', str(tree), tree=ROOT)
  assert result.returncode == 1
  assert MAIN in result.stderr and 'Traceback' not in result.stderr


def test_revert_restores_the_bytes_and_patch_brings_them_back(tree):
  patched = contents(tree)
  version, _ = host.identify(tree)
  entry = host.series()[version]
  host.revert(tree)
  for file, hashes in entry['files'].items():
    assert host.digest(tree / file) == hashes['before']
  assert not any((tree / x).exists() for x in entry['added'])
  assert host.revert(tree) == []
  host.patch(tree)
  for file, hashes in entry['files'].items():
    assert host.digest(tree / file) == hashes['after']
  assert contents(tree) == patched


def test_a_second_patch_changes_nothing(tree, capsys):
  before = snapshot(tree)
  cli.main(['host', 'patch', str(tree)])
  assert snapshot(tree) == before
  assert 'Nothing to do.' in capsys.readouterr().out


def test_refresh_replaces_files_of_ours_only(tree):
  spoil(tree / 'dreamerv3/plugins.py')
  cli.main(['host', 'patch', '--refresh', str(tree)])
  assert host.verify(tree)
  spoil(tree / MAIN)
  with pytest.raises(UserError, match='nothing was written'):
    host.patch(tree, refresh=True)


def test_a_hard_linked_cache_keeps_its_bytes_and_modes_stay(tree, tmp_path):
  host.revert(tree)
  os.link(tree / MAIN, tmp_path / 'cache')
  (tree / MAIN).chmod(0o640)
  original = (tmp_path / 'cache').read_bytes()
  host.patch(tree)
  assert (tmp_path / 'cache').read_bytes() == original != (tree / MAIN).read_bytes()
  assert stat.S_IMODE((tree / MAIN).stat().st_mode) == 0o640


@pytest.mark.parametrize('action', [host.patch, host.revert])
def test_a_tree_left_halfway_is_completed(tree, monkeypatch, action):
  whole = contents(tree)
  host.revert(tree)
  original = contents(tree)
  if action is host.revert:
    host.patch(tree)
  calls, replace = [], os.replace

  def killed(source, target):
    calls.append(target)
    if len(calls) > 3:
      raise KeyboardInterrupt
    replace(source, target)
  with monkeypatch.context() as m:
    m.setattr(os, 'replace', killed)
    with pytest.raises(KeyboardInterrupt):
      action(tree)
  assert {'original', 'patched'} == set(host.identify(tree)[1].values())
  action(tree)
  assert contents(tree) == (whole if action is host.patch else original)


def test_an_unknown_version_is_refused(tree, tmp_path):
  host.revert(tree)
  for file in (MAIN, 'embodied/jax/agent.py'):
    (tree / file).write_text('# Another version.\n')
  info = tree / 'dreamer-9.9.dist-info'
  info.mkdir()
  (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: dreamer\nVersion: 9.9\n')
  before = snapshot(tree)
  with pytest.raises(UserError, match='dreamer 9.9.*embodied/jax/agent.py .*nothing was written'):
    host.patch(tree)
  assert snapshot(tree) == before
  with pytest.raises(UserError, match='is no host'):
    cli.main(['host', 'patch', str(tmp_path)])


def test_the_distribution_is_told_from_a_checkout_with_the_same_files(tree):
  entry = host.series()['dreamer-3.3.0']
  (tree / 'embodied/envs').mkdir(exist_ok=True)
  if all(host.digest(tree / k) == v['after'] for k, v in entry['files'].items()):
    for action in (host.patch, host.revert, lambda x: host.patch(x, refresh=True)):
      with pytest.raises(UserError, match='embodied/envs .unexpected.*nothing was written'):
        action(tree)
  else:
    assert host.identify(tree)[0] == 'e3f0224' and host.patch(tree) == []


def test_another_archive_is_not_built(tmp_path, monkeypatch):
  monkeypatch.setattr(host, 'find', lambda: None)
  (tmp_path / 'dreamer.tar.gz').write_bytes(b'not it')
  with pytest.raises(UserError, match='sha256'):
    install.build(tmp_path / 'dreamer.tar.gz')


def test_status_lists_every_touched_file(tree, capsys):
  spoil(tree / 'embodied/jax/agent.py')
  cli.main(['host', 'status', str(tree)])
  rows = dict(x.split(maxsplit=1) for x in capsys.readouterr().out.splitlines())
  assert rows['embodied/jax/agent.py'] == 'changed' and rows[MAIN] == 'patched'
  assert {'host', 'path', 'python', 'jax'} < set(rows)


def test_workers_step_report_errors_and_end(tree):
  env = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': f'{tree}{os.pathsep}{WORKERS.parent}'}
  command = [sys.executable, '-u', str(WORKERS)]
  with subprocess.Popen(
      command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
    timer = threading.Timer(240, process.kill)  # A hang must fail, not last.
    timer.start()
    lines = []
    for line in process.stdout:
      lines.append(line.strip())
      if line.startswith('pid'):
        process.kill()
    timer.cancel()
  assert f'host {tree}' in lines[0]
  assert 'steps 6 left False' in lines
  assert "step RuntimeError 'bad step'" in lines
  assert 'start RuntimeError no such room' in lines
  assert 'crash AssertionError Worker died' in lines
  worker = int(lines[-1].split()[1])
  with contextlib.suppress(psutil.NoSuchProcess):
    assert orphans.gone([psutil.Process(worker)], 60), f'worker {worker} outlived its killed parent'


def test_flags_of_the_environment_stay_first_and_single(tree):
  code = (
      'import os; from embodied.jax import internal; '
      "[internal.setup(platform='cpu') for _ in range(2)]; print(os.environ['XLA_FLAGS'])")
  flag = '--xla_backend_optimization_level=1'
  flags = run('-c', code, tree=tree, XLA_FLAGS=flag).stdout.split()
  assert flags[0] == flag and len(flags) == len(set(flags)) > 1


def test_the_host_starts_as_a_module(tree):
  result = run('-m', 'dreamerv3', '--configs', 'nothere', tree=tree, DREAMERV3_PLUGINS='')
  assert result.returncode == 1
  assert "'nothere'" in result.stderr and 'Traceback' not in result.stderr


def test_our_presets_equal_those_of_the_checkout():
  load = lambda x: YAML(typ='safe').load(x.read_text())
  ours, theirs = load(data('configs') / 'host.yaml'), load(checkout() / 'dreamerv3/configs.yaml')

  def typed(x):
    if isinstance(x, dict):
      return {k: typed(v) for k, v in x.items()}
    return [typed(y) for y in x] if isinstance(x, list) else (type(x), x)
  assert typed(ours) == typed(theirs)
