"""What saves a run of the tests CPU time, for itself and for every command that it starts.

On two cores the tests mostly import, trace and compile; what they compile runs for milliseconds.
"""

import contextlib
import importlib.metadata
import os
import pathlib
import shutil

CACHE = pathlib.Path.home() / '.cache' / 'vid2act' / 'tests'
LIMIT = 2 ** 30  # Bytes; beyond, what earlier versions of the code left is thrown away.
# Compile fast instead of well: a fifth of the time for an update of a small agent.
FLAGS = {'xla_backend_optimization_level': '0', 'xla_cpu_experimental_ynn_fusion_type': ''}
if importlib.metadata.version('jaxlib').startswith('0.10.'):  # A flag that XLA lacks ends the process.
  FLAGS['xla_cpu_use_fusion_emitters'] = 'false'
COMPILED = {  # Also what compiles in a moment: there is much of it, and every command needs it.
    'JAX_COMPILATION_CACHE_DIR': str(CACHE / 'xla'),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1'}


def begin():
  """Set the environment; what is set already is kept. Before anything imports JAX."""
  given = os.environ.get('XLA_FLAGS', '')
  flags = [f'--{k}={v}' for k, v in FLAGS.items() if k not in given]
  os.environ['XLA_FLAGS'] = ' '.join([given, *flags]).strip()
  for key, value in {'JAX_PLATFORMS': 'cpu', **COMPILED}.items():
    os.environ.setdefault(key, value)


def tidy():
  """Empty the cache when it has grown beyond its limit."""
  with contextlib.suppress(FileNotFoundError):  # Others are at it.
    if sum(x.stat().st_size for x in CACHE.rglob('*') if x.is_file()) > LIMIT:
      shutil.rmtree(CACHE, ignore_errors=True)
