"""Choose the JAX platform and keep what it compiles."""

import importlib.metadata
import importlib.util
import os
import pathlib
import shutil
import subprocess

from ..common import parallel
from ..common.errors import UserError
from ..common.output import say

PLUGINS = ('jax_cuda12_plugin', 'jax_cuda13_plugin')
LEARNING = 'train', 'train_eval'
FLAGS = {  # On a CPU, unless the user's own XLA_FLAGS say otherwise.
    'xla_backend_optimization_level': '1',  # A quarter less compilation at equal speed.
    'xla_cpu_experimental_ynn_fusion_type': '',  # With them, updates took up to a quarter longer.
}
# Of several processes: what they send each other on CPUs is told apart by its order alone.
IN_ORDER = {'xla_cpu_enable_concurrency_optimized_scheduler': 'false'}
CUDA13 = 580, 7.5  # NVIDIA driver and compute capability from which CUDA 13 works.


def resolve(config, find_gpu=None):
  """Return `config` with `jax.platform auto` replaced, and the compilation cache on.

  Raises a `UserError` if CUDA is asked for and cannot be had.
  """
  gpu = (find_gpu or gpu_name)()
  cuda = any(importlib.util.find_spec(x) for x in PLUGINS)
  platform, hidden = config.jax.platform, _hidden(config.jax.platform == 'auto')
  if not platform:  # JAX chooses, as DreamerV3 has it.
    _cache(config)
    return config
  if platform in ('cuda', 'gpu') and not (gpu and cuda and not hidden):
    lacking = 'no NVIDIA GPU was found' if not gpu else f'jaxlib has no CUDA support for the {gpu}' if not cuda else hidden
    raise UserError(
        f'The key jax.platform is {platform}, but {lacking}; '
        + (f'install it: {install()}.' if gpu and not cuda else 'use --jax.platform auto or cpu.'))
  if platform == 'gpu':  # By this name the host sets flags that XLA has no more, which ends the process.
    platform = 'cuda'
  if platform == 'auto':
    platform = 'cuda' if gpu and cuda and not hidden else 'cpu'
    if gpu and hidden:
      say(f'A GPU is present ({gpu}), but {hidden}.')
    elif gpu and not cuda:
      say(f'A GPU is present ({gpu}), but jaxlib has no CUDA support; install it: {install()}.')
  _devices(config, platform)
  if platform == 'cpu':
    config = _cpu(config)
  else:
    say(f'JAX platform: {platform} ({gpu}), {config.jax.compute_dtype}')
  _cache(config)
  return config.update({'jax.platform': platform})


def _hidden(by_jax):
  """Return in words by which variable the user hides GPUs from us, '' if by none; by_jax: also one of JAX's own."""
  for name, hides in (
      ('CUDA_VISIBLE_DEVICES', lambda x: not parallel.gpus()),
      ('JAX_PLATFORMS', lambda x: by_jax and x and not {'cuda', 'gpu'} & {*x.split(',')})):
    if name in os.environ and hides(os.environ[name]):
      return f"the variable {name} is '{os.environ[name]}'"
  return ''


def gpu_name():
  """Return the first GPU's name, or None; without starting JAX, whose flags are not set yet."""
  return _query('name')


def install():
  """Return how to get JAX's support of CUDA, of the version that the driver and the GPU have."""
  extra = _extra(_query('driver_version'), _query('compute_cap'))
  return (f'`make install EXTRA={extra}` in the repository, or '
          f"`pip install 'jax[{extra}]=={importlib.metadata.version('jax')}'`")


def _extra(driver, capability):
  """Return cuda13 where both are known to suffice, else cuda12."""
  try:
    able = int(driver.split('.')[0]) >= CUDA13[0] and float(capability) >= CUDA13[1]
  except (AttributeError, ValueError):  # None, or what is no number.
    able = False
  return 'cuda13' if able else 'cuda12'


def _query(field):
  """Return what nvidia-smi says of the first GPU, or None."""
  if not shutil.which('nvidia-smi'):
    return None
  query = ['nvidia-smi', f'--query-gpu={field}', '--format=csv,noheader']
  try:
    out = subprocess.run(query, capture_output=True, text=True, timeout=20)
  except subprocess.TimeoutExpired:
    return None
  return out.stdout.splitlines()[0].strip() if out.returncode == 0 and out.stdout else None


def _devices(config, platform):
  """Raise a `UserError` for devices that are not there, or that cannot share a batch evenly."""
  found = len(parallel.gpus()) if platform == 'cuda' else max(1, config.jax.mock_devices)
  known = found and platform in ('cuda', 'cpu') and 'host_platform_device_count' not in os.environ.get('XLA_FLAGS', '')
  for key in ('train_devices', 'policy_devices'):
    absent = [x for x in config.jax[key] if not 0 <= x < found] if known else []
    if absent:
      raise UserError(
          f'The key jax.{key} has {absent[0]}, but this process has {found} devices, counted from 0; name '
          'those, or pretend more on a CPU with jax.mock_devices.')
  script, evaluated = config.script, min(config.run.eval_envs, config.run.eval_eps)
  taught = config.agent.typ == 'vid2act' and not config.vid2act.teacher
  processes = max(1, config.jax.num_processes)  # A stage before training is made by one.
  for key, value, share, each, used in (
      ('batch_size', config.batch_size, 'train_devices', processes, script in LEARNING),
      ('vid2act.pretrain.batch_size', config.vid2act.pretrain.batch_size, 'train_devices',
       processes if script == 'pretrain' else 1, script == 'pretrain' or taught and script in LEARNING),
      ('run.envs', config.run.envs, 'policy_devices', 1, script in LEARNING),
      ('run.eval_envs', evaluated, 'policy_devices', 1, script in ('train_eval', 'eval_only'))):
    count = max(1, len(config.jax[share]) * each)
    if used and value % count and not config.random_agent:
      raise UserError(
          f'The key {key} makes batches of {value}, which the {count} devices of jax.{share} cannot share '
          f'evenly; set it to a multiple of {count}, or use fewer devices or processes.')


def _cpu(config):
  dtype = config.jax.compute_dtype
  if dtype == 'bfloat16':  # Emulated on most CPUs.
    dtype = 'float32'
  say(f'JAX platform: cpu ({parallel.cores()} cores), {dtype}')
  together = config.jax.num_processes > 1
  if together:
    import jax
    jax.config.update('jax_cpu_enable_async_dispatch', False)
  for name, value in {**FLAGS, **(IN_ORDER if together else {})}.items():
    given = os.environ.get('XLA_FLAGS', '')
    if name not in given:
      os.environ['XLA_FLAGS'] = f'{given} --{name}={value}'.strip()
  return config.update({'jax.compute_dtype': dtype, 'jax.prealloc': False})


def _cache(config):
  import jax
  folder = pathlib.Path(config.vid2act.cache).expanduser() / 'xla'
  if not os.environ.get('JAX_COMPILATION_CACHE_DIR'):
    jax.config.update('jax_compilation_cache_dir', str(folder))
