"""What is killed: a command for each kind of work, small, and the same result every time."""

import dataclasses
import json
import sys
import typing

import numpy as np

from vid2act_plugin.teacher import bundle

from . import films

SOURCES = ('metaworld_door-close', 'metaworld_faucet-open')
OVERLAY = r"""
batch_size: 4
batch_length: 8
report_length: 8
vid2act: {max_sources: 2}
vid2act.pretrain: {updates: 300, batch_size: 4, batch_length: 8, log_every: 100, save_every: 10}
vid2act.pretrain.memory: 16
run: {steps: 400, eval_every: 400, eval_eps: 1, train_ratio: 8, save_every: 1, debug: True}
replay.chunksize: 32
env.metaworld: {size: [16, 16], limit: 15}
.*\.mults: [1, 2]
.*\.rssm: {deter: 16, hidden: 8, classes: 4, stoch: 4}
.*\.units: 16
.*\.layers: 1
"""


def collect(shared, folder):
  """Return the command that collects two sources."""
  return [
      '-m', 'vid2act_plugin.cli', 'collect', *SOURCES, '--out', folder, '--episodes', 8, '--limit',
      15, '--size', 16, '--render', 'fast', '--workers', 2]


def importing(shared, folder):
  """Return the command that imports a data set, which is made if need be."""
  data = shared / 'data'
  if not data.exists():
    data.mkdir(parents=True)
    rng, T = np.random.default_rng(0), 150
    for i in range(40):
      action = rng.uniform(-1, 1, (T, 4)).astype(np.float32)
      action[0] = 0
      np.savez(data / f'{i:02}.npz', image=rng.integers(0, 256, (T, 64, 64, 3), np.uint8),
               action=action, reward=rng.normal(size=T).astype(np.float32))
  return ['-m', 'vid2act_plugin.cli', 'import', data, '--out', folder, '--resize', 32]


def label(shared, folder):
  """Return the command that labels films, which are made if need be, from what was collected unkilled."""
  data = shared / 'films'
  if not data.exists():
    data.mkdir(parents=True)
    films.unlabelled(data)
  return ['-m', 'vid2act_plugin.cli', 'label', data, '--from', *(shared / 'collect' / x for x in SOURCES),
          '--out', folder, '--updates', 100]


def bundles(shared, folder):
  """Return the command that writes a bundle again and again."""
  return ['-m', 'bench.robustness.stages', folder / 'teacher']


def pretrain(shared, folder):
  """Return the command that pretrains a teacher on what was collected unkilled."""
  return _host(shared, folder, '--script', 'pretrain')


def train(shared, folder):
  """Return the command that trains with the teacher that was pretrained unkilled."""
  return _host(shared, folder, '--vid2act.teacher', shared / 'pretrain' / 'teacher')


def _host(shared, folder, *more):
  (shared / 'tiny.yaml').write_text(OVERLAY)
  return ['-m', 'dreamerv3', '--configs', 'vid2act', 'metaworld', 'quickstart',
          shared / 'tiny.yaml', '--logdir', folder, '--vid2act.recordings', shared / 'collect',
          *more]


def export(shared, folder):
  """Return the command that exports what was imported unkilled."""
  return ['-m', 'vid2act_plugin.cli', 'export', shared / 'import' / 'data', '--format', 'lerobot', '--out',
          folder / 'out']


def ablate(shared, folder):
  """Return the command that runs two variants, both acting at random."""
  (shared / 'tiny.yaml').write_text(OVERLAY)
  (shared / 'matrix.yaml').write_text(json.dumps(dict(  # JSON is YAML.
      configs=['metaworld', 'quickstart', str(shared / 'tiny.yaml'), {
          'random_agent': True, 'run.debug': False, 'logger.outputs': ['jsonl']}],
      variants={'one': [], 'two': [{'batch_size': 3}]}, tasks=['metaworld_door-lock'], seeds=[0],
      against='one')))
  return ['-m', 'vid2act_plugin.cli', 'ablate', shared / 'matrix.yaml', '--out', folder, '--jobs', 2]


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of work: its command, the kinds whose unkilled results it needs.

  refusal: what it says, repeated, when it was done before.
  """

  command: typing.Callable
  needs: tuple = ()
  refusal: str = ''


KINDS = {
    'collect': Kind(collect), 'import': Kind(importing),
    'label': Kind(label, ('collect',)),
    'export': Kind(export, ('import',), 'exists already'), 'bundle': Kind(bundles),
    'pretrain': Kind(pretrain, ('collect',)), 'train': Kind(train, ('collect', 'pretrain')),
    'ablate': Kind(ablate)}


def save(folder, times=10):
  """Write a bundle with an array of some tens of MB again and again."""
  size = dict(dyn=dict(rssm=dict(deter=8, stoch=4, classes=6)))
  for _ in range(times):
    bundle.Bundle(
        {'dyn/a': np.arange(6e6, dtype=np.float32)},
        dict(deter=np.zeros((4, 8), np.float16), source=np.zeros(4, np.int32)),
        dict(sources=['a'], act_sizes=[3], act_width=3, image=[16, 16, 3], updates=7, agent=size,
             env={}, recordings='abc', host='host', jax='0')).save(folder)


if __name__ == '__main__':
  save(sys.argv[1])
