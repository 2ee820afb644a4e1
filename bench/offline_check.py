"""Five updates of vid2act, Meta-World, and a short run, from the wheels of `offline.py` alone.

    make offline-check

Run it with the Python of an environment that has JAX, NumPy and SciPy, and
PYTHONPATH naming the folder that the wheels were installed into.
"""

import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(os.path.abspath(__file__)).parents[1]))

RUN = ('-m', 'dreamerv3', '--configs', 'metaworld', 'quickstart', '--random_agent', 'True', '--run.steps', '60',
       '--run.eval_every', '40', '--run.eval_eps', '1', '--env.metaworld.limit', '20', '--logger.outputs', 'jsonl')
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
      updates=int(agent.agent.n_updates), run=run(), renderer=frames.describe(),
      python=platform.python_version(),
      **{x: importlib.metadata.version(x) for x in ('jax', 'numpy', 'scipy', 'metaworld')})))


def run():
  """Return the notes of a run of the command that acts at random, evaluates, and has to end well."""
  with tempfile.TemporaryDirectory() as folder:
    done = subprocess.run(  # Elsewhere than here, so that the wheel's code runs.
        [sys.executable, *RUN, '--logdir', folder], cwd=folder, capture_output=True, text=True,
        env={**os.environ, 'PYTHONPATH': str(pathlib.Path(os.environ['PYTHONPATH']).absolute())})
    if done.returncode or not pathlib.Path(folder, 'summary.json').exists():
      sys.exit(f'{done.stdout[-2000:]}{done.stderr[-3000:]}The run ended with status {done.returncode}.')
    return [x for x in done.stdout.splitlines() if x.startswith('Note: ')]


if __name__ == '__main__':
  main()
