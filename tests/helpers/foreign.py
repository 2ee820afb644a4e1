"""Episodes as other projects write them; every image shows the action that led to it."""

import itertools

import av
import imageio
import numpy as np
import pyarrow as pa
from PIL import Image

from vid2act_plugin.sources import recording as recordings

SIZE = 32


def play(steps=7, seed=0, actions=2, size=SIZE, scale=1.0):
  """Return an episode in our convention; image t shows the action of step t - 1 in its columns."""
  rng = np.random.default_rng(seed)
  action = rng.integers(-9, 10, (steps, actions)) / 10
  action[-1] = 0
  shown = np.concatenate([np.zeros((1, actions)), action[:-1]])
  image = np.zeros((steps, size, size, 3), np.uint8)
  for i, part in enumerate(np.array_split(np.arange(size), actions)):
    image[:, :, part] = np.round(128 + 100 * shown[:, i])[:, None, None, None]
  success = np.zeros(steps, np.float32)
  success[-2] = 1
  return dict(
      image=image, action=(action * scale).astype(np.float32), success=success,
      reward=(shown[:, 0] + np.arange(steps)).astype(np.float32))


def shown(image, actions=2):
  parts = np.array_split(np.arange(image.shape[2]), actions)
  return np.stack([(image[:, :, x].mean((1, 2, 3)) - 128) / 100 for x in parts], 1)


def check(folder, plays, reward=True, success=True, atol=0.006):
  """Assert that the recording holds these plays; a shift by one step would not fit."""
  manifest, found = recordings.load(folder)
  assert manifest['reward'] == reward and manifest['success'] == success
  assert len(found) == len(plays)
  for ours, wrote in zip(found, plays):
    np.testing.assert_allclose(shown(ours['image'])[1:], ours['action'][:-1], atol=atol)
    np.testing.assert_array_equal(ours['action'], wrote['action'])
    np.testing.assert_array_equal(ours['reward'], reward * wrote['reward'])
    np.testing.assert_array_equal(ours['success'], success * wrote['success'])
  return manifest


def write_v2(path, episode, **change):
  """Write an episode as DreamerV2 does: the action is the one that led to the image."""
  action = np.concatenate([0 * episode['action'][:1], episode['action'][:-1]])
  discount = np.ones(len(action), np.float32)
  discount[-1] = 0
  path.parent.mkdir(parents=True, exist_ok=True)
  data = {**episode, 'action': action, 'discount': discount, **change}
  np.savez_compressed(path, **{k: v for k, v in data.items() if v is not None})


def write_v3(folder, streams, chunksize=5):
  """Write the replay of a run: one list of episodes per worker, step by step."""
  import elements
  import embodied
  replay = embodied.replay.Replay(
      4, directory=elements.Path(folder), chunksize=chunksize, save_wait=True)
  steps = [[(x, t) for x in stream for t in range(len(x['action']))] for stream in streams]
  for row in itertools.zip_longest(*steps):
    for worker, (x, t) in [(i, y) for i, y in enumerate(row) if y]:
      last = t == len(x['action']) - 1
      replay.add({
          **{k: x[k][t] for k in ('image', 'action', 'reward')}, 'is_first': t == 0,
          'is_last': last and not x.get('open'), 'is_terminal': last}, worker)
  replay.save()


def chain(folder):
  """Return the chunks of a replay of one worker, in their order."""
  files = {x.stem.split('-')[1]: x for x in folder.glob('*.npz')}
  following = {x.stem.split('-')[2] for x in files.values()}
  found = [next(v for k, v in files.items() if k not in following)]
  while (after := found[-1].stem.split('-')[2]) in files:
    found.append(files[after])
  return found


def write_mp4(path, image, fps=10):
  path.parent.mkdir(parents=True, exist_ok=True)
  with av.open(str(path), 'w') as file:
    stream = file.add_stream('libx264', rate=fps, options={'crf': '1'})
    stream.height, stream.width = image.shape[1:3]
    for x in image:
      file.mux(stream.encode(av.VideoFrame.from_ndarray(x, 'rgb24')))
    file.mux(stream.encode())


def write_gif(path, image):
  imageio.mimwrite(path, list(image), duration=100)


def write_png(folder, image):
  folder.mkdir(parents=True)
  for t, x in enumerate(image):
    Image.fromarray(x).save(folder / f'frame{t}.png')


def table(episode, **more):
  columns = {f'action_{i}': x for i, x in enumerate(episode['action'].T)}
  columns.update({k: episode[k] for k in ('reward', 'success')}, **more)
  return pa.table(columns)


def skipped(folder):
  return recordings.load_manifest(folder)['skipped']


def three(folder):
  """Write three good episodes of DreamerV2; returns the folder and these."""
  plays = [play(seed=i) for i in range(3)]
  for i, x in enumerate(plays):
    write_v2(folder / f'good{i}.npz', x)
  return folder, plays
