"""Which support of CUDA fits the driver and the GPU that nvidia-smi tells of."""

import importlib.metadata

import pytest

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
  config = configure('metaworld', **{'jax.platform': name})
  assert platform.resolve(config, find_gpu=lambda: 'Some GPU').jax.platform == 'cuda'


@pytest.mark.parametrize('given', ['', '--xla_backend_optimization_level=0', '--xla_cpu_experimental_ynn_fusion_type=X'])
def test_flags_of_xla_on_a_cpu_are_ours_unless_the_user_gave_them(configure, monkeypatch, given):
  monkeypatch.setenv('XLA_FLAGS', given)
  for _ in range(2):
    platform.resolve(configure('metaworld', **{'jax.platform': 'cpu'}))
  found = dict(x.removeprefix('--').split('=') for x in platform.os.environ['XLA_FLAGS'].split())
  assert found == {**platform.FLAGS, **dict(x[2:].split('=') for x in given.split())}
