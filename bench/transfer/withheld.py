"""Make recordings whose actions are inferred: of one of the sources, of half and of all of them.

    python -m bench.transfer.withheld [--out runs/withheld] [--only one half all]

The eight sources of configs/ablations/small.yaml are recorded twice, with images of 32x32 pixels for
the agent and of 64x64 for the networks that infer actions: films are larger than what an agent of
this size sees. Withheld are the actions of the one source that is of use in the target (OUT/one),
of every second one (OUT/half), both inferred from the random episodes of the others, and of all
(OUT/all), inferred from random actions in the target, which are 5,000, or 10,000 env steps there.
OUT/withheld.json has R2 of each action. Repeated, the command continues.
"""

import argparse
import json
import pathlib
import shutil

import numpy as np

from vid2act_plugin import cli
from vid2act_plugin.common import files
from vid2act_plugin.common.output import say
from vid2act_plugin.sources import recording
from vid2act_plugin.teacher import inverting

SOURCES = [f'metaworld_{x}' for x in (
    'button-press', 'drawer-close', 'door-close', 'faucet-open', 'handle-press', 'plate-slide', 'reach', 'window-close')]
WITHHELD = dict(one=['metaworld_handle-press'], half=SOURCES[::2], all=SOURCES)
TARGET = 'metaworld_handle-press-side'
UPDATES = 1000


def main():
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--out', type=pathlib.Path, default=pathlib.Path('runs/withheld'))
  parser.add_argument('--only', nargs='+', choices=list(WITHHELD), default=list(WITHHELD))
  args = parser.parse_args()
  out = args.out
  for size in (32, 64):
    call('collect', *SOURCES, '--out', out / str(size), '--episodes', 50, '--size', size, '--repeat', 2,
         '--limit', 200, '--render', 'fast', '--reward', 'sparse')
  large, table = out / '64', out / 'withheld.json'
  rows = [x for x in json.loads(table.read_text()) if x['kind'] not in args.only] if table.exists() else []
  for kind in args.only:
    known = [large / x for x in SOURCES if x not in WITHHELD[kind]] or [f'random:{TARGET}']
    for source in SOURCES:
      folder = out / kind / source
      if source not in WITHHELD[kind]:
        if not folder.exists():
          with files.atomic_folder(folder) as made:
            shutil.copytree(out / '32' / source, made, dirs_exist_ok=True)
        continue
      if not folder.exists():
        call('label', large / source, '--out', out / f'{kind}-64', '--model', out / f'{kind}-model' / 'inverse',
             '--updates', UPDATES, '--from', *known)
        move(out / '32' / source, large / source, out / f'{kind}-64' / source, folder)
      r2 = found(out / '32' / source, folder)
      say(f'{kind}: {source}: R2 of its actions {r2}')
      rows.append(dict(kind=kind, source=source.split('_')[1], r2=r2))
      with files.atomic_write(table) as part:
        part.write_text(json.dumps(rows, indent=1), encoding='utf-8')


def call(*words):
  """Run a command line of `vid2act` in this process."""
  cli.main([str(x) for x in words])


def move(small, large, labelled, folder):
  """Write the recording `small` with the actions that were inferred of the same episodes at a larger size."""
  manifest, episodes = recording.load(small)
  original, alike = recording.load(large)
  facts, inferred = recording.load(labelled)
  of = {entry['name']: episode for entry, episode in zip(facts['episodes'], inferred)}
  entries = []
  with files.atomic_folder(folder) as made:
    for i, (entry, episode, larger) in enumerate(zip(original['episodes'], episodes, alike)):
      np.testing.assert_array_equal(episode['action'], larger['action'])
      label = of[entry['file']]
      entries.append(recording.write_episode(
          made, i, {**episode, 'action': label['action'], 'confidence': label['confidence']},
          manifest['episodes'][i]['behaviour']))
    recording.write_manifest(made, {
        **manifest, 'episodes': entries, 'labels': facts['labels'], 'inferred': facts['inferred']})


def found(original, labelled):
  """Return R2 of the actions `[A]` of a recording whose episodes are those of another."""
  guess, true = (np.concatenate([x['action'][:-1] for x in recording.load(folder)[1]]) for folder in (
      labelled, original))
  return inverting.explained(guess, true)


if __name__ == '__main__':
  main()
