"""What does a film cost? Actions inferred of one H.264 film of several tasks, beside those of its images.

    python -m bench.transfer.filmed RECORDING... --from DIR... --out OUT [--crf N...] [--episodes N] [--updates N]

The first episodes of the recordings, in turn, become one film with cuts between them. It and the
recordings are labelled by what is learned from --from, as `vid2act label` does. Printed is R2 per
action of each task, in the same episodes.
"""

import argparse
import json
import pathlib

import numpy as np

from vid2act_plugin.common.output import table
from vid2act_plugin.sources import labelling, recording
from vid2act_plugin.teacher import inverting

from . import cuts, withheld

IMAGES = 'images'  # In place of a film's quality.


def main():
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  add = parser.add_argument
  add('recordings', nargs='+', type=pathlib.Path, metavar='RECORDING')
  add('--from', dest='sources', nargs='+', required=True, metavar='DIR')
  add('--out', type=pathlib.Path, required=True)
  add('--crf', nargs='+', default=['23', '10'], help="qualities of films, x264's; default: 23, its own, and 10")
  add('--episodes', type=int, default=4, help='of each recording')
  add('--updates', type=int, default=1000)
  add('--json', type=pathlib.Path, help='gets the figures')
  args = parser.parse_args()
  known = {x.name: recording.load(x)[1][:args.episodes] for x in args.recordings}
  order = [(name, i) for i in range(args.episodes) for name in known]
  rows = []
  for kind in (IMAGES, *args.crf):
    if kind == IMAGES:
      for x in args.recordings:
        label(x, args, IMAGES)
      found = {(name, i): whole(*recording.load(args.out / IMAGES / name), i) for name, i in order}
    else:
      path = args.out / 'films' / kind / 'film.mp4'
      path.parent.mkdir(parents=True, exist_ok=True)
      cuts.write(path, np.concatenate([known[name][i]['image'] for name, i in order]), crf=kind)
      label(path, args, f'crf{kind}')
      lengths = [len(known[name][i]['image']) for name, i in order]
      found = dict(zip(order, parts(*recording.load(args.out / f'crf{kind}' / 'film'), lengths)))
    rows += [dict(seen=kind, task=name, r2=explained(
        [(found[name, i], known[name][i]['action'][:-1]) for i in range(args.episodes)])) for name in known]
  size = len(rows[0]['r2'])
  table('R2 of what is inferred', ['seen', 'task', *[f'action {i}' for i in range(size)]], [
      [x['seen'], x['task'], *['' if y is None else f'{y:.2f}' for y in x['r2']]] for x in rows])
  if args.json:
    args.json.write_text(json.dumps(rows, indent=1) + '\n')


def label(path, args, name):
  """Label a recording or a film into OUT/NAME, by a model that all of them share."""
  withheld.call(
      'label', path, '--from', *args.sources, '--out', args.out / name, '--model', args.out / 'model' / 'inverse',
      '--updates', args.updates)


def whole(manifest, episodes, number):
  """Return the actions `[T, A]` that were inferred of the episode of that number."""
  place = [x['name'] for x in manifest['episodes']].index(recording.name(number))
  return episodes[place]['action'][:-1]


def parts(manifest, episodes, lengths):
  """Return the actions `[T, A]` inferred of each part of a film; NaN where nothing is, as where nothing moves."""
  starts = np.cumsum([0, *lengths])
  found = np.full((starts[-1], episodes[0]['action'].shape[1]), np.nan)
  for entry, episode in zip(manifest['episodes'], episodes):
    first = int(labelling.CLIP.search(entry['name'])[0][1:].split('-')[0])
    found[first: first + len(episode['action']) - 1] = episode['action'][:-1]
  return [found[a: b - 1] for a, b in zip(starts, starts[1:])]


def explained(pairs):
  """Return R2 of inferred and true actions, over the steps at which any was inferred."""
  guess, action = map(np.concatenate, zip(*pairs))
  there = ~np.isnan(guess).any(1)
  return inverting.explained(guess[there], action[there])


if __name__ == '__main__':
  main()
