"""How long a policy step of vid2act takes beside one of stock DreamerV3.

Also one that a source carries out, in which the policy follows along: `executed`.

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
  for name, overlays in (('stock', ()), ('vid2act', ('vid2act',)), ('executed', ('vid2act',))):
    config = agents.configure(*overlays)
    if overlays:
      config = config.update({'vid2act.teacher': str(agents.teacher(config, args.teachers))})
    agent = agents.build(config)
    if overlays:
      by = -1 if name == 'executed' else 0  # The last source, or the policy.
      agent.ledger.choose = lambda candidates, rng, by=by: candidates[by]
    functions[name] = _actor(agent)
  samples = measure.interleave(functions, args.rounds, 20)
  measure.report(
      measure.ratio(samples, 'vid2act', 'stock'), 1.10,
      dict(teachers=args.teachers, size='size1m', image=64, envs=1, cores=os.cpu_count()), samples,
      executed=round(measure.ratio(samples, 'executed', 'stock'), 3))


def _actor(agent):
  rng = np.random.default_rng(0)
  obs = {k: np.zeros((1, *v.shape), v.dtype) for k, v in agents.metaworld()[0].items()}
  obs['image'] = rng.integers(0, 256, (1, *agents.IMAGE), np.uint8)
  obs['is_first'][:] = True
  state = dict(carry=agent.init_policy(1))
  def act():
    # The actions come back as NumPy arrays: nothing is left to wait for.
    state['carry'], _, _ = agent.policy(state['carry'], obs, mode='train')
    obs['is_first'][:] = False
  return act


if __name__ == '__main__':
  main()
