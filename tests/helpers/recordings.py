"""Recordings made of numbers, and ways to spoil them."""

import hashlib
import io

import numpy as np

from vid2act_plugin.sources import recording as recordings


def episode(length=6, actions=2, size=4, value=0):
  rng = np.random.default_rng(value)
  flags = np.zeros((3, length), bool)
  flags[0, 0] = flags[1, -1] = True
  action = rng.uniform(-1, 1, (length, actions)).astype(np.float32)
  action[-1] = 0
  return dict(
      image=np.full((length, size, size, 3), value, np.uint8), action=action,
      reward=np.arange(length, dtype=np.float32) + 100 * value, is_first=flags[0],
      is_last=flags[1], is_terminal=flags[2], success=np.zeros(length, np.float32))


def write(folder, count=3, env=None, change=lambda i, episode: episode, **settings):
  """Write a source of `count` episodes and return its folder; episode i has images of value i.

  change: function of i and the episode that returns what is written instead.
  """
  entries = [recordings.write_episode(folder, i, change(i, episode(value=i, **settings))) for i in range(count)]
  recordings.write_manifest(folder, dict(
      source=folder.name, suite='fake', task=folder.name, behaviour={}, seed=0, env=env or {},
      versions={}, act_size=settings.get('actions', 2), episodes=entries))
  return folder


def forge(folder, content, index=0):
  """Replace an episode's file and put the hash of the new one into the manifest."""
  (folder / recordings.name(index)).write_bytes(content)
  manifest = recordings.load_manifest(folder)
  manifest['episodes'][index]['sha256'] = hashlib.sha256(content).hexdigest()
  recordings.write_manifest(folder, manifest)


def archive(**arrays):
  content = io.BytesIO()
  np.savez(content, **arrays)
  return content.getvalue()
