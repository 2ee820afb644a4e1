"""Env steps per second of the whole run script `train`, vid2act beside stock DreamerV3.

    python -m bench.timings.loop [--teachers N] [--steps N]

Both train on Meta-World at the same time, each on a core of its own, so that
whatever else the machine does slows both. Rates are those that the runs log
after the first updates.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from vid2act_plugin.common import progress

from . import measure


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--teachers', type=int, default=6)
  parser.add_argument('--steps', type=int, default=340, help='env steps; updates begin at 288')
  args = parser.parse_args()
  from . import agents
  teacher = agents.teacher(agents.configure(), args.teachers)
  root, cores = pathlib.Path(tempfile.mkdtemp()), sorted(os.sched_getaffinity(0))
  runs = {
      'stock': ['--configs', 'metaworld', 'size1m'],
      'vid2act': ['--configs', 'vid2act', 'metaworld', 'size1m', '--vid2act.teacher', teacher]}
  children = [
      _start([*flags, '--logdir', root / name, '--run.steps', args.steps], cores[i % len(cores)])
      for i, (name, flags) in enumerate(runs.items())]
  with progress.waiting('training stock and vid2act'):
    for child in children:
      if child.wait():
        raise SystemExit(f'A run ended with status {child.returncode}; its message is above.')
  samples = {name: _rates(root / name) for name in runs}
  mean = {k: sum(v) / len(v) for k, v in samples.items()}
  print({k: f'{v:.2f} env steps/s' for k, v in mean.items()})
  measure.report(
      mean['vid2act'] / mean['stock'], 0.87,
      dict(teachers=args.teachers, size='size1m', image=64, batch=[8, 32], train_ratio=256,
           cores_each=1), samples, most=False)


def _start(flags, core):
  shared = [
      '--script', 'train', '--run.debug', 'True', '--env.metaworld.render', 'fast',
      '--batch_size', 8, '--batch_length', 32, '--report_length', 32, '--run.envs', 1,
      '--run.log_every', 10, '--run.report_every', 1e6, '--run.save_every', 1e6,
      '--env.metaworld.limit', 100]
  child = subprocess.Popen(
      [sys.executable, '-m', 'dreamerv3', *map(str, [*flags, *shared])], stdout=subprocess.DEVNULL)
  os.sched_setaffinity(child.pid, [core])
  return child


def _rates(logdir):
  """Return env steps per second in every period of the log in which there were updates."""
  rows = [json.loads(x) for x in (logdir / 'metrics.jsonl').read_text().splitlines()]
  rates = [x['fps/policy'] for x in rows if x.get('fps/train', 0) > 0]
  if len(rates) < 3:
    raise SystemExit(f'There were updates in {len(rates)} periods only; use more --steps.')
  return rates[1:]  # The first period has steps without updates in it.


if __name__ == '__main__':
  main()
