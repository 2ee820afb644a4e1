"""Where films of several tasks are cut: precision and recall on films made of recordings.

    python -m bench.transfer.cuts RECORDING... --out FOLDER [--brief]

Parts of episodes of the recordings follow each other in a film, two of one task among them; a cut
is found if it is told at that very image. The films are written as people have them (H.264,
which loses something), four times as large. With --brief, every second part is of one or two
images. The last line is JSON.
"""

import argparse
import json
import pathlib

import av
import numpy as np

from vid2act_plugin.sources import recording, shots

SHORTEST, LONGEST, PARTS, SCALE = 8, 40, 8, 4


def made(episodes, rng, brief):
  """Return the images of a film and where its cuts are."""
  parts = []
  for i in range(PARTS + brief):
    episode = episodes[rng.integers(len(episodes))]
    length = rng.integers(1, 3) if brief and i % 2 else rng.integers(SHORTEST, min(LONGEST, len(episode)) + 1)
    start = rng.integers(0, len(episode) - length + 1)
    parts.append(episode[start: start + length])
  return np.concatenate(parts), set(np.cumsum([len(x) for x in parts])[:-1].tolist())


def write(path, images, **options):
  """Write images `[T, H, W, 3]` as a film, with the encoder's usual loss but for its `options`."""
  with av.open(str(path), 'w') as file:
    stream = file.add_stream('libx264', rate=20, options=options)
    stream.height, stream.width = images.shape[1:3]
    for x in images:
      file.mux(stream.encode(av.VideoFrame.from_ndarray(x, 'rgb24')))
    file.mux(stream.encode())


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('recordings', nargs='+', type=pathlib.Path)
  parser.add_argument('--out', required=True, type=pathlib.Path)
  parser.add_argument('--films', type=int, default=20)
  parser.add_argument('--seed', type=int, default=1)
  parser.add_argument('--brief', action='store_true')
  args = parser.parse_args()
  args.out.mkdir(parents=True, exist_ok=True)
  rng, episodes = np.random.default_rng(args.seed), []
  for folder in args.recordings:
    entries = recording.load_manifest(folder)['episodes']
    chosen = rng.choice(len(entries), min(4, len(entries)), replace=False)
    episodes += [recording.read_episode(folder, entries[i])['image'] for i in chosen]
  hits = found = there = 0
  for i in range(args.films):
    images, cuts = made(episodes, rng, args.brief)
    path = args.out / f'film{i}.mp4'
    write(path, images.repeat(SCALE, 1).repeat(SCALE, 2), preset='veryfast')
    told = set(shots.cuts(shots.changes(shots.images(path))))
    hits, found, there = hits + len(told & cuts), found + len(told), there + len(cuts)
  print(json.dumps(dict(
      films=args.films, cuts=there, found=found, precision=round(hits / max(1, found), 4),
      recall=round(hits / there, 4))))


if __name__ == '__main__':
  main()
