"""One agent in one process or in several: it acts, learns from given batches, reports and is saved.

    python -m helpers.together CONFIG OUT [--KEY VALUE...]    # OUT is an npz of what came of it
"""

import sys

import elements
import numpy as np

from bench.timings import agents
from vid2act_plugin.host import internals, platform, processes
from vid2act_plugin.training import finite, together

UPDATES, ENVS = 5, 2


def main(path, out, *flags):
  config = platform.resolve(elements.Flags(elements.Config.load(path)).parse(flags))
  with processes.linked(config):
    agent = finite.Watched(agents.build(together.lazily(config), report=False), config)
    if not processes.writes(config):
      raise SystemExit(together.follow(agent, config))
    with together.led(agent, config) as agent:
      np.savez(out, **numbers(agent, config))


def numbers(agent, config):
  found, training, reporting = {}, agent.init_train(config.batch_size), agent.init_report(config.batch_size)
  start = agent.save()
  agent.load({**start, 'params': {k: v * .5 if k.startswith('pol/') else v for k, v in start['params'].items()}})
  rng, acting = np.random.default_rng(0), agent.init_policy(ENVS)
  for step in range(3):
    obs = {k: np.zeros((ENVS, *v.shape), v.dtype) for k, v in agent.obs_space.items()}
    obs['image'] = rng.integers(0, 256, obs['image'].shape, np.uint8)
    obs['is_first'][:], obs['is_last'][:], obs['reward'][:] = step == 0, step == 2, [0, step]
    acting, act, _ = agent.policy(acting, obs, mode='train')
    found[f'action/{step}'] = act['action']
  ledger = agent.ledger.save()
  found['ledger/merit'] = agent.ledger.merit()
  assert found['ledger/merit'].any(), ledger
  for step, batch in enumerate(agents.batches(agent, UPDATES + 1, episodes=len(ledger['by']))):
    batch = {**batch, 'seed': internals.seed(agent, step)} if processes.alone(config) else batch
    if step == UPDATES:
      _, mets = agent.report(reporting, batch)
    else:
      training, outs, mets = agent.train(training, batch)
      found.update({f'replay/{step}/{k}': v for k, v in outs.get('replay', {}).items()})
    found.update({f'{step}/{k}': v for k, v in mets.items() if '/loss' in k or k.startswith(('loss/', 'openloop'))})
  found.update({f'params/{k}': v for k, v in agent.save()['params'].items()})
  return found


if __name__ == '__main__':
  main(*sys.argv[1:])
