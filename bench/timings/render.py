"""Frames per second of Meta-World, `render: fast` beside Meta-World's own renderer.

    python -m bench.timings.render [TASK...] [--rounds N]
"""

import argparse
import os

import numpy as np

from vid2act_plugin.envs import render
from vid2act_plugin.envs.metaworld import MetaWorld

from . import measure

TASKS = ('door-close', 'faucet-open', 'handle-press', 'plate-slide', 'reach-wall', 'window-close')
FRAMES = 5


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('tasks', nargs='*', default=TASKS)
  parser.add_argument('--rounds', type=int, default=5)
  args = parser.parse_args()
  render.setup_gl()
  pairs, functions = {}, {}
  for task in args.tasks:
    for quality in ('full', 'fast'):
      env = MetaWorld(task, render=quality)
      env.step({'reset': True})
      rng, act = np.random.default_rng(0), {'reset': False}
      functions[f'{task} {quality}'] = lambda e=env: [e.camera() for _ in range(FRAMES)]
      functions[f'{task} {quality}, step'] = lambda e=env, r=rng, a=act: [
          e.step({**a, 'action': r.uniform(-1, 1, 4)}) for _ in range(FRAMES)]
      pairs[task, quality] = env
  samples = measure.interleave(functions, args.rounds, 1)
  rate = lambda quality, suffix='': round(float(
      FRAMES / np.mean([np.median(samples[f'{x} {quality}{suffix}']) for x in args.tasks])), 1)
  fps = {q: rate(q) for q in ('full', 'fast')}
  steps = {q: rate(q, ', step') for q in ('full', 'fast')}
  print(f'Images per second: {fps}; with a step of the simulator: {steps}')
  ratios = [measure.ratio(samples, f'{x} full', f'{x} fast') for x in args.tasks]
  measure.report(
      float(np.mean(ratios)), 12,
      dict(tasks=list(args.tasks), image=64, renderer=env.describe(), cores=os.cpu_count()),
      samples, most=False, frames_per_second=fps, steps_per_second=steps)


if __name__ == '__main__':
  main()
