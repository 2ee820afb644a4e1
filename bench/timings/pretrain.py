"""How much a pretraining update costs beside a full one of stock DreamerV3, and whether data waits.

    python -m bench.timings.pretrain [--rounds N]
"""

import argparse
import os
import tempfile

import elements
import embodied
import jax
import numpy as np

from vid2act_plugin.sources import recording
from vid2act_plugin.sources.dataset import Sources
from vid2act_plugin.training import pretrain

from . import agents, measure

SOURCES, EPISODES, STEPS = 6, 4, 150


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--rounds', type=int, default=15)
  args = parser.parse_args()
  config = agents.configure().update({
      'vid2act.pretrain': {'batch_size': 8, 'batch_length': 32},
      'logdir': tempfile.mkdtemp()})
  stock = agents.updater(agents.build(config))
  data = Sources(_recordings(), act_width=config.vid2act.act_width)
  agent = pretrain.build(config, data)
  samples = measure.interleave(
      {'pretrain': _updater(agent, data), 'stock': stock, 'loader': _loader(data)}, args.rounds)
  loader = measure.ratio(samples, 'pretrain', 'loader')
  print(f'The loader gives batches {loader:.0f} times as fast as they are used (aim: >= 5).')
  measure.report(
      measure.ratio(samples, 'pretrain', 'stock'), 0.60,
      dict(sources=SOURCES, size='size1m', image=64, batch=[8, 32], cores=os.cpu_count()), samples,
      loader=round(loader, 1), loader_aim=5)


def _recordings():
  """Write recordings of noise and return their folders."""
  root, rng, T = elements.Path(tempfile.mkdtemp()), np.random.default_rng(0), STEPS + 1
  folders, index = [], np.arange(T)
  for k in range(SOURCES):
    folder, entries = f'{root}/source_{k}', []
    for i in range(EPISODES):
      action = rng.uniform(-1, 1, (T, agents.ACTIONS)).astype(np.float32)
      action[-1] = 0
      entries.append(recording.write_episode(folder, i, dict(
          image=rng.integers(0, 256, (T, *agents.IMAGE), np.uint8), action=action,
          reward=rng.normal(size=T).astype(np.float32), success=np.zeros(T, np.float32),
          is_first=index == 0, is_last=index == STEPS, is_terminal=index < 0)))
    recording.write_manifest(folder, dict(
        source=f'source_{k}', suite='', task='', behaviour={}, seed=0, env={}, versions={},
        act_size=agents.ACTIONS, episodes=entries))
    folders.append(folder)
  return folders


def _updater(agent, data):
  """Return a function that updates once, always with the same batch."""
  state = dict(carry=agent.init_train(8))
  stream = iter(agent.stream(embodied.streams.Stateless(lambda: data.sample(0, 8, 32))))
  def update():
    batch = next(stream)
    state['carry'], _, _ = agent.train(state['carry'], batch)
    jax.block_until_ready(agent.params)
  return update


def _loader(data):
  state = dict(step=0)
  def load():
    state['step'] += 1
    data.sample(state['step'], 8, 32)
  return load


if __name__ == '__main__':
  main()
