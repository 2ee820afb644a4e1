"""Configs of what `gpu.py` measures, and the memory that it took."""

import pathlib
import re
import tempfile

TINY = {
    r'.*\.rssm': {'deter': 32, 'hidden': 16, 'classes': 4, 'stoch': 4, 'blocks': 4},
    r'.*\.depth': 2, r'.*\.units': 16, r'.*\.layers': 1, r'.*\.bins': 15, r'.*\.bspace': 4,
    r'.*\.strided': True, 'agent.imag_last': 2, 'agent.imag_length': 3, 'batch_size': 2,
    'batch_length': 8, 'report_length': 8}


def configure(platform, size, overlays=(), teacher='', tiny=False, **changes):
  """Return the whole config; tiny: the smallest models and batches, whatever `size` says."""
  from . import agents
  found = {'batch_size': 16, 'batch_length': 64, 'report_length': 64, 'vid2act.teacher': teacher}
  small = TINY if tiny else {}
  config = agents.configure(
      *overlays, size=size, **{**found, **small, 'jax.platform': platform, **changes})
  return lazily(config)


def lazily(config):
  """Return the config with functions compiled when they are first used: here none reports."""
  import elements
  return elements.Config({**config, 'jax': {**config.jax, 'precompile': False}})


def loop_config(platform, overlays=(), teacher='', changes=(), ablation=None, tiny=False):
  """Return the config of a whole run; ablation: a matrix whose settings all its runs share."""
  import dreamerv3
  import elements
  from dreamerv3 import plugins
  from ruamel.yaml import YAML
  known = plugins.configs(pathlib.Path(dreamerv3.__path__[0]) / 'configs.yaml')
  config = elements.Config(known['defaults'])
  shared = YAML(typ='safe').load(pathlib.Path(ablation).read_text())['configs'] if ablation else ()
  for item in (*shared, *overlays):
    config = config.update(known[item] if isinstance(item, str) else item)
  if tiny:
    config = config.update(TINY)
  if platform == 'cpu':
    config = config.update({'jax.compute_dtype': 'float32'})
  return config.update({
      'jax.platform': platform, 'jax.profiler': False, 'jax.prealloc': False,
      'vid2act.teacher': teacher, 'vid2act.sources': ['auto'], 'script': 'train',
      'run.log_every': 1e6, 'run.report_every': 1e6, 'run.save_every': 1e6,
      'run.eval_every': 0, 'run.steps': 1e6,
      'logger.outputs': ['jsonl'], 'logdir': tempfile.mkdtemp(), **dict(changes)})


def peak():
  """Return the most megabytes that were in use: of the GPU, or of the process on a CPU (Linux)."""
  import jax
  stats = jax.local_devices()[0].memory_stats()
  if stats and 'peak_bytes_in_use' in stats:
    return round(stats['peak_bytes_in_use'] / 1e6)
  status = pathlib.Path('/proc/self/status').read_text()
  return round(int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]) * 1024 / 1e6)
