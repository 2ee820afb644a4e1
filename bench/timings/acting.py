"""How long a policy step of vid2act takes beside one of stock DreamerV3.

    python -m bench.timings.acting [--teachers N] [--rounds N]
"""

import argparse
import os

import numpy as np

from . import agents, measure


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--teachers', type=int, default=6)
  parser.add_argument('--rounds', type=int, default=300)
  args = parser.parse_args()
  functions = {}
  for name, overlays in (('stock', ()), ('vid2act', ('vid2act',))):
    config = agents.configure(*overlays)
    if overlays:
      config = config.update({'vid2act.teacher': str(agents.teacher(config, args.teachers))})
    functions[name] = _actor(agents.build(config))
  samples = measure.interleave(functions, args.rounds, 20)
  measure.report(
      measure.ratio(samples, 'vid2act', 'stock'), 1.10,
      dict(teachers=args.teachers, size='size1m', image=64, envs=1, cores=os.cpu_count()), samples)


def _actor(agent):
  rng = np.random.default_rng(0)
  obs = {k: np.zeros((1, *v.shape), v.dtype) for k, v in agents.metaworld()[0].items()}
  obs['image'] = rng.integers(0, 256, (1, *agents.IMAGE), np.uint8)
  state = dict(carry=agent.init_policy(1))
  def act():
    # The actions come back as NumPy arrays: nothing is left to wait for.
    state['carry'], _, _ = agent.policy(state['carry'], obs, mode='train')
  return act


if __name__ == '__main__':
  main()
