"""Collected steps per second with two workers beside one.

    python -m bench.timings.collect [--rounds N]
"""

import argparse
import os
import subprocess
import sys
import tempfile

from . import measure

SOURCES = ('metaworld_door-close', 'metaworld_reach-wall')
EPISODES, LIMIT = 20, 150


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--rounds', type=int, default=2)
  args = parser.parse_args()
  samples = measure.interleave(
      {f'{n} workers': lambda n=n: _collect(n) for n in (1, 2)}, args.rounds, 0)
  steps = len(SOURCES) * EPISODES * (LIMIT + 1)
  rates = {k: round(steps / min(v)) for k, v in samples.items()}
  print(f'Steps per second, start of the workers included: {rates}')
  measure.report(
      measure.ratio(samples, '1 workers', '2 workers'), 1.7,
      dict(sources=SOURCES, episodes=EPISODES, limit=LIMIT, render='fast', cores=os.cpu_count()),
      samples, most=False, steps_per_second=rates)


def _collect(workers):
  out = tempfile.mkdtemp()
  subprocess.run(
      [sys.executable, '-m', 'vid2act_plugin.cli', 'collect', *SOURCES, '--out', out,
       '--episodes', str(EPISODES), '--limit', str(LIMIT), '--render', 'fast',
       '--workers', str(workers)], check=True, stdout=subprocess.DEVNULL)


if __name__ == '__main__':
  main()
