"""Which support of CUDA fits the driver and the GPU that nvidia-smi tells of."""

import contextlib
import importlib.metadata
import subprocess
import sys

import pytest
from helpers.commands import guarded

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.host import platform


@pytest.mark.parametrize('driver, capability, extra', [
    ('580.65.06', '9.0', 'cuda13'), ('600.1', '12.0', 'cuda13'), ('580', '7.5', 'cuda13'),
    ('575.57.08', '9.0', 'cuda12'), ('580.65.06', '7.0', 'cuda12'), ('525.60', '6.1', 'cuda12'),
    ('', '', 'cuda12'), ('[N/A]', 'unknown', 'cuda12'), ('580.65.06', '[N/A]', 'cuda12')])
def test_the_extra_fits_the_driver_and_the_gpu(monkeypatch, tmp_path, driver, capability, extra):
  program = tmp_path / 'nvidia-smi'
  program.write_text(
      f'#!/bin/sh\ncase "$1" in *driver*) echo "{driver}";; *cap*) echo "{capability}";; esac\n')
  program.chmod(0o755)
  monkeypatch.setenv('PATH', f'{tmp_path}:/bin:/usr/bin')
  version = importlib.metadata.version('jax')
  assert platform.install() == (
      f"`make install EXTRA={extra}` in the repository, or `pip install 'jax[{extra}]=={version}'`")


@pytest.mark.parametrize('name', ['auto', 'cuda', 'gpu'])
def test_the_host_is_told_cuda_by_any_name(configure, monkeypatch, name):
  monkeypatch.setattr(platform, 'PLUGINS', ('json',))  # A package that is there.
  monkeypatch.delenv('JAX_PLATFORMS', False)
  monkeypatch.delenv('CUDA_VISIBLE_DEVICES', False)
  config = configure('metaworld', **{'jax.platform': name})
  assert platform.resolve(config, find_gpu=lambda: 'Some GPU').jax.platform == 'cuda'


@pytest.mark.parametrize('changes, words', [
    ({'jax.train_devices': [0, 1]}, 'jax.train_devices has 1, but this process has 1 devices'),
    ({'jax.policy_devices': [8], 'jax.mock_devices': 8}, 'jax.policy_devices has 8, .* 8 devices'),
    ({'jax.train_devices': [0, -1], 'jax.mock_devices': 2}, 'has -1'),
    ({'batch_size': 7}, 'batch_size makes batches of 7, which the 2 .*multiple of 2'),
    ({'vid2act.pretrain.batch_size': 9}, 'vid2act.pretrain.batch_size makes batches of 9'),
    ({'vid2act.pretrain.batch_size': 9, 'vid2act.teacher': 'given'}, ''),
    ({'vid2act.pretrain.batch_size': 9, 'script': 'pretrain', 'batch_size': 7, 'vid2act.teacher': ''}, 'pretrain'),
    ({'jax.policy_devices': [0, 1], 'run.envs': 3}, 'run.envs makes batches of 3'),
    ({'jax.policy_devices': [0, 1], 'run.envs': 2, 'run.eval_envs': 4, 'run.eval_eps': 3}, 'run.eval_envs .* of 3'),
    ({'batch_size': 7, 'random_agent': True}, '')])
def test_devices_that_cannot_be_used(configure, monkeypatch, changes, words):
  monkeypatch.setenv('XLA_FLAGS', '')
  usual = {'jax.train_devices': [0, 1], 'jax.mock_devices': 2, 'script': 'train_eval'}
  if list(changes) == ['jax.train_devices']:
    usual = {}
  config = configure('vid2act', 'metaworld', **{**usual, **changes})
  with pytest.raises(UserError, match=words) if words else contextlib.nullcontext():
    platform.resolve(config)


@pytest.mark.parametrize('given', ['', '--xla_backend_optimization_level=0', '--xla_cpu_experimental_ynn_fusion_type=X'])
def test_flags_of_xla_on_a_cpu_are_ours_unless_the_user_gave_them(configure, monkeypatch, given):
  monkeypatch.setenv('XLA_FLAGS', given)
  for _ in range(2):
    platform.resolve(configure('metaworld', **{'jax.platform': 'cpu'}))
  found = dict(x.removeprefix('--').split('=') for x in platform.os.environ['XLA_FLAGS'].split())
  assert found == {**platform.FLAGS, **dict(x[2:].split('=') for x in given.split())}


def test_without_a_gpu(configure):
  config = configure('metaworld', **{'jax.platform': 'auto', 'jax.compute_dtype': 'bfloat16'})
  with pytest.raises(UserError, match='jax.platform is cuda.*no NVIDIA GPU'):
    platform.resolve(config.update({'jax.platform': 'cuda'}), find_gpu=lambda: None)
  assert platform.resolve(config, find_gpu=lambda: None).jax.compute_dtype == 'float32'


@pytest.mark.parametrize('variables, auto, cuda', [
    ({'CUDA_VISIBLE_DEVICES': ''}, False, False), ({'CUDA_VISIBLE_DEVICES': '-1'}, False, False),
    ({'CUDA_VISIBLE_DEVICES': '0'}, True, True), ({'JAX_PLATFORMS': 'cpu'}, False, True),
    ({'JAX_PLATFORMS': 'cuda,cpu'}, True, True), ({'JAX_PLATFORMS': ''}, True, True)])
def test_a_gpu_that_the_user_hides_is_not_taken(configure, monkeypatch, capsys, variables, auto, cuda):
  """nvidia-smi tells of it all the same; so runs of a cluster that asked for none, too."""
  monkeypatch.setattr(platform, 'PLUGINS', ('json',))
  for name in ('JAX_PLATFORMS', 'CUDA_VISIBLE_DEVICES'):
    monkeypatch.delenv(name, False)
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  resolve = lambda name: platform.resolve(configure('metaworld', **{'jax.platform': name}), find_gpu=lambda: 'Some GPU').jax.platform
  assert resolve('auto') == ('cuda' if auto else 'cpu')
  assert ('is present (Some GPU), but the variable' in capsys.readouterr().out) != auto
  with contextlib.nullcontext() if cuda else pytest.raises(UserError, match='is cuda, but the variable CUDA_VISIBLE.*; use --jax'):
    assert resolve('cuda') == 'cuda'
  assert resolve('') == ''  # As DreamerV3 has it: JAX chooses.


def test_a_gpu_without_cuda_names_the_extra(configure, capsys, monkeypatch):
  monkeypatch.setattr(platform, '_query', lambda *_: None)
  monkeypatch.delenv('JAX_PLATFORMS', False)
  platform.resolve(configure('metaworld', **{'jax.platform': 'auto'}), find_gpu=lambda: 'Some GPU')
  assert '`make install EXTRA=cuda12`' in capsys.readouterr().out  # No driver is seen here.


READ = """
import jax, numpy as np
jax.config.update('jax_transfer_guard', 'disallow')
one = jax.jit(lambda x: x.sum())
for number, read in enumerate((float, int, np.asarray, np.array, str, lambda x: x.item())):
  x = one(jax.device_put(np.ones(3)))
  try:
    read(x)
    raise SystemExit(f'{number} was read')
  except RuntimeError as e:
    assert 'Disallowed device-to-host' in str(e), e
  with jax.transfer_guard('allow'):
    read(one(jax.device_put(np.ones(3))))
  assert jax.device_get(x) == 3
  read(x)
"""


def test_commands_of_the_tests_read_arrays_as_a_gpu_lets_them():
  subprocess.run([sys.executable, '-c', READ], check=True, env=guarded())
  assert subprocess.run([sys.executable, '-c', READ], capture_output=True, text=True).stderr == '0 was read\n'
