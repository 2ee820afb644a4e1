"""Make recordings whose actions are inferred: of half of the sources, and of all of them.

    python -m bench.transfer.withheld [--out runs/withheld]

The eight sources of configs/ablations/small.yaml are recorded twice, with images of 32x32 pixels for
the agent and of 64x64 for the networks that infer actions: films are larger than what an agent of
this size sees. Of every second source the actions are withheld and inferred from the random
episodes of the others (OUT/half), and those of all are inferred from random actions in the target
(OUT/all), which are 5,000, or 10,000 env steps there. Repeated, the command continues.
"""

import argparse
import pathlib
import shutil

import numpy as np

from vid2act_plugin import cli
from vid2act_plugin.common import files
from vid2act_plugin.common.output import say
from vid2act_plugin.sources import recording

SOURCES = [f'metaworld_{x}' for x in (
    'button-press', 'drawer-close', 'door-close', 'faucet-open', 'handle-press', 'plate-slide', 'reach', 'window-close')]
WITHHELD = SOURCES[::2]
TARGET = 'metaworld_handle-press-side'
UPDATES = 1000


def main():
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--out', type=pathlib.Path, default=pathlib.Path('runs/withheld'))
  out = parser.parse_args().out
  for size in (32, 64):
    call('collect', *SOURCES, '--out', out / str(size), '--episodes', 50, '--size', size, '--repeat', 2,
         '--limit', 200, '--render', 'fast', '--reward', 'sparse')
  large, known = out / '64', [x for x in SOURCES if x not in WITHHELD]
  for kind, withheld, teachers in (
      ('half', WITHHELD, [large / x for x in known]), ('all', SOURCES, [f'random:{TARGET}'])):
    for source in SOURCES:
      folder = out / kind / source
      if (folder / recording.MANIFEST).exists():
        continue
      if source not in withheld:
        with files.atomic_folder(folder) as made:
          shutil.copytree(out / '32' / source, made, dirs_exist_ok=True)
        continue
      call('label', large / source, '--out', out / f'{kind}-64', '--model', out / f'{kind}-model' / 'inverse',
           '--updates', UPDATES, '--from', *teachers)
      error = move(out / '32' / source, large / source, out / f'{kind}-64' / source, folder)
      say(f'{kind}: {source}: mean squared error of its actions {error.round(3)}')


def call(*words):
  """Run a command line of `vid2act` in this process."""
  cli.main([str(x) for x in words])


def move(small, large, labelled, folder):
  """Write the recording `small` with the actions that were inferred of the same episodes at a larger size.

  Returns the mean squared error of each action `[A]`.
  """
  manifest, episodes = recording.load(small)
  original, alike = recording.load(large)
  facts, inferred = recording.load(labelled)
  of = {entry['name']: episode for entry, episode in zip(facts['episodes'], inferred)}
  entries, errors = [], []
  with files.atomic_folder(folder) as made:
    for i, (entry, episode, larger) in enumerate(zip(original['episodes'], episodes, alike)):
      np.testing.assert_array_equal(episode['action'], larger['action'])
      found = of[entry['file']]
      errors.append(np.square(found['action'] - episode['action'])[:-1])
      entries.append(recording.write_episode(
          made, i, {**episode, 'action': found['action'], 'confidence': found['confidence']},
          manifest['episodes'][i]['behaviour']))
    recording.write_manifest(made, {
        **manifest, 'episodes': entries, 'labels': facts['labels'], 'inferred': facts['inferred']})
  return np.concatenate(errors).mean(0)


if __name__ == '__main__':
  main()
