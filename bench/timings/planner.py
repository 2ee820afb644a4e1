"""What the planner earns in tasks of the DeepMind Control Suite, and how long that takes.

    python -m bench.timings.planner [TASK...] [--episodes N] [--steps N]

The last line is a JSON object, task -> return and seconds per episode (means).
"""

import argparse
import json
import time

import numpy as np

from vid2act_plugin.common import progress
from vid2act_plugin.envs.dmcontrol import DMControl

TASKS = ('cheetah_run', 'walker_walk', 'hopper_stand', 'walker_run')


def main():
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('tasks', nargs='*', default=TASKS, metavar='TASK')
  parser.add_argument('--episodes', type=int, default=1, help='per task; default: %(default)s')
  parser.add_argument(
      '--steps', type=int, default=1000, help='control steps per episode; default: %(default)s')
  args = parser.parse_args()
  result = {}
  for task in args.tasks:
    played = [_episode(task, i, args.steps) for i in range(args.episodes)]
    reward, seconds = np.mean(played, 0)
    result[task] = {'return': round(reward, 1), 'seconds': round(seconds, 1)}
    print(f'{task}: return {reward:.1f}, {seconds:.1f} s per episode of {args.steps} control steps')
  print(json.dumps(result))


def _episode(task, index, limit):
  """Return the sum of rewards of one episode, and its seconds without drawing."""
  env = DMControl(task, limit=limit, render='fast')
  env.camera = lambda: None  # Only the planner is of interest here.
  env.episode = index
  obs, total, began = env.step({'reset': True}), 0.0, time.perf_counter()
  with progress.bar(f'{task}, episode {index}', limit // env.repeat, 'steps') as bar:
    while not obs['is_last']:
      obs = env.step({'action': env.expert_action(), 'reset': False})
      total += float(obs['reward'])
      bar.advance()
      bar.text(f'return {total:.0f}')
  return total, time.perf_counter() - began


if __name__ == '__main__':
  main()
