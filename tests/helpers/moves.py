"""Episodes and films in which what happens between two images tells the action between them."""

import fractions

import av
import numpy as np

from vid2act_plugin.sources import recording

SIZE, LENGTH = 8, 14


def play(seed, length=LENGTH, size=SIZE, base=60):
  """Return images and actions: action[t] is by how much two lights in the upper quarter change after image t.

  base: the grey of the rest, by which scenes are told apart.
  """
  rng = np.random.default_rng(seed)
  action = rng.uniform(-0.9, 0.9, (length, 2)).astype(np.float32)
  action[-1] = 0
  light = 120 + 40 * np.cumsum(action - action.mean(0), 0).clip(-1.2, 1.2)
  action[:-1] = np.diff(np.round(light), axis=0) / 40
  action = action.clip(-1, 1)
  image = np.full((length, size, size, 3), base, np.uint8)
  image[:, :size // 4, :size // 2] = np.round(light[:, 0])[:, None, None, None]
  image[:, :size // 4, size // 2:] = np.round(light[:, 1])[:, None, None, None]
  return image, action


def episode(seed, **settings):
  image, action = play(seed, **settings)
  flags = np.zeros((3, len(image)), bool)
  flags[0, 0] = flags[1, -1] = True
  zero = np.zeros(len(image), np.float32)
  return dict(
      image=image, action=action, reward=zero, success=zero, is_first=flags[0],
      is_last=flags[1], is_terminal=flags[2])


def expert(seed, sign, noise=0):
  """Return an episode of one who acts by the grey of the rest, which is `sign` times its action.

  noise: of the lights, which makes them tell less.
  """
  found = episode(seed)
  lights = found['image'][:, :SIZE // 4]
  lights += np.random.default_rng(seed).integers(0, noise + 1, (len(lights), 1, 1, 1), np.uint8)
  rest = np.round(120 + 60 * sign * found['action'][:, 0]).astype(np.uint8)
  found['image'][:, SIZE // 4:] = rest[:, None, None, None]
  return found


def write(folder, count=20, seed=0, env=None, suite='fake', facts=None, **settings):
  """Write a recording and return its folder."""
  entries = [
      recording.write_episode(folder, i, episode(100 * seed + i, **settings)) for i in range(count)]
  recording.write_manifest(folder, dict(
      source=folder.name, suite=suite, task=folder.name, behaviour={}, seed=0,
      env={'size': [settings.get('size', SIZE)] * 2, 'camera': 'corner', **(env or {})}, versions={},
      act_size=2, episodes=entries, **(facts or {})))
  return folder


def film(path, images, fps=10, times=None, between=0):
  """Write images `[T, H, W, 3]` as a film without loss.

  times: thousandths of a second of each. between: how many are coded after one that follows them.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  with av.open(str(path), 'w') as file:
    stream = file.add_stream('libx264rgb' if path.suffix == '.mkv' else 'libx264', rate=fps)
    stream.options = {'crf': '0', 'preset': 'ultrafast'}
    if between:
      stream.options = {'crf': '1', 'preset': 'medium', 'x264-params': f'b-adapt=0:bframes={between}'}
      stream.codec_context.max_b_frames = between
    stream.height, stream.width = images.shape[1:3]
    stream.pix_fmt = 'rgb24' if path.suffix == '.mkv' else 'yuv444p'
    if times is not None:
      stream.codec_context.time_base = fractions.Fraction(1, 1000)
    for i, x in enumerate(images):
      frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(x), 'rgb24')
      if times is not None:
        frame.pts, frame.time_base = int(times[i]), fractions.Fraction(1, 1000)
      file.mux(stream.encode(frame))
    file.mux(stream.encode())
  return path
