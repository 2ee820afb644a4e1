"""Five updates of vid2act, and Meta-World, from the wheels of `offline.py` alone.

    make offline-check

Run it with the Python of an environment that has JAX, NumPy and SciPy, and
PYTHONPATH naming the folder that the wheels were installed into.
"""

import importlib.metadata
import json
import os
import pathlib
import platform
import sys

sys.path.insert(0, str(pathlib.Path(os.path.abspath(__file__)).parents[1]))

LAZY = ('scope', 'av', 'pyarrow', 'h5py', 'minari', 'dm_control', 'matplotlib', 'pandas')


def main():
  from bench.timings import gpu_workers
  frames = gpu_workers.Frames(['door-close'])
  frames.steps('door-close', 'full', 2), frames.steps('door-close', 'fast', 2)
  path = gpu_workers.Teacher('cpu', 'size1m', 6, tiny=True).path()
  agent = gpu_workers.Train('cpu', 'size1m', ('vid2act',), path, tiny=True)
  agent.update(3)  # After the two that come first.
  import dreamerv3.main  # noqa: F401  What the command imports.
  if found := [x for x in LAZY if x in sys.modules]:
    sys.exit(f'Not needed for a run, but imported: {", ".join(found)}.')
  print(json.dumps(dict(
      updates=int(agent.agent.n_updates), renderer=frames.describe(),
      python=platform.python_version(),
      **{x: importlib.metadata.version(x) for x in ('jax', 'numpy', 'scipy', 'metaworld')})))


if __name__ == '__main__':
  main()
