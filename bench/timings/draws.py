"""A run's step where batches are drawn when they are due, beside one where a thread reads ahead.

    python -m bench.timings.draws

DreamerV3 reads ahead; ours draws at fixed points, so that a seed repeats a run. A step is here what
a run of stock does for each transition: act, keep the transition, and make an update. Both sides
have the same agent, and a replay and a learner of their own.
"""

import tempfile

import elements
import numpy as np
from dreamerv3 import main as hostmain

from vid2act_plugin.training.learner import Learner

from . import agents, measure

FILLED, ROUNDS, STEPS = 2000, 20, 4


class Ahead(Learner):
  """Takes batches as the host's loop does."""

  def _batch(self, mode):
    if mode not in self.streams:
      self.streams[mode] = iter(self.agent.stream(hostmain.make_stream(self.config, self.replay, mode)))
    return next(self.streams[mode])


def main():
  config = agents.configure('metaworld', **{'logdir': tempfile.mkdtemp()})
  agent = agents.build(config, report=False)
  sides = {name: side(kind, config, agent, name) for name, kind in (('ahead', Ahead), ('now', Learner))}
  samples = measure.interleave(sides, ROUNDS)
  measure.report(measure.ratio(samples, 'now', 'ahead'), 1.05, dict(
      size='size1m', image=64, batch=[config.batch_size, config.batch_length], steps=STEPS), samples)


def side(kind, config, agent, name):
  """Return a function that makes `STEPS` steps of a run with its own replay, which has steps already."""
  rng, replay, counter = np.random.default_rng(0), hostmain.make_replay(config, name), elements.Counter()
  args = elements.Config(**config.run, **{k: config[k] for k in ('batch_size', 'batch_length')})
  learner = kind(config, args.update(train_ratio=float(args.batch_size * args.batch_length)), agent, replay, counter)
  carry = agent.init_policy(1)
  def step(learn=True):
    nonlocal carry
    obs = dict(
        image=rng.integers(0, 256, (1, *agents.IMAGE), np.uint8), reward=np.zeros(1, np.float32),
        **{k: np.zeros(1, bool) for k in ('is_first', 'is_last', 'is_terminal')})
    carry, acts, outs = agent.policy(carry, obs)
    replay.add({k: v[0] for k, v in {**obs, **acts, **outs}.items()})
    counter.increment()
    learn and learner()
  for _ in range(FILLED):
    step(learn=False)
  learner()  # The host's ratio makes one update at its first call.
  return lambda: [step() for _ in range(STEPS)]


if __name__ == '__main__':
  main()
