"""Recordings of an expert's and a random episode, and what `vid2act inspect` says of them."""

import json

import av
import numpy as np

from vid2act_plugin import cli
from vid2act_plugin.sources import recording as recordings

EXPERT, RANDOM = dict(policy='expert', noise=0.1), dict(policy='random')


def episode(value, length, actions=2, size=(8, 8)):
  """An episode of grey images; every action is `value / 100` and every reward `value`."""
  flags = np.zeros((3, length), bool)
  flags[0, 0] = flags[1, -1] = True
  action = np.full((length, actions), value / 100, np.float32)
  action[-1] = 0
  success = np.zeros(length, np.float32)
  success[1] = value > 10
  return dict(
      image=np.full((length, *size, 3), value, np.uint8), action=action,
      reward=np.full(length, value, np.float32), is_first=flags[0], is_last=flags[1],
      is_terminal=flags[2], success=success)


def write(folder, lengths=(7, 5), actions=2, fields=(), **kwargs):
  """Write a recording of an expert's and a random episode, worth 40 and 10 a step."""
  entries = [
      recordings.write_episode(folder, i, episode(value, length, actions, **kwargs), behaviour)
      for i, (value, length, behaviour) in enumerate(zip(
          (40, 10) * len(lengths), lengths, (EXPERT, RANDOM) * len(lengths)))]
  recordings.write_manifest(folder, dict(
      source=folder.name, suite='fake', task=folder.name, behaviour={}, seed=0,
      env=dict(size=[8, 8]), versions=dict(simulator='1.2'), act_size=actions,
      episodes=entries) | dict(fields))
  return folder


def damage(folder, index=0):
  path = folder / recordings.name(index)
  path.write_bytes(path.read_bytes()[:-9])
  return path


def read(capsys, *args):
  """Run the command with --json and return (reports of the first path, status)."""
  status = 0
  try:
    cli.main(['inspect', '--json', *map(str, args)])
  except SystemExit as e:
    status = e.code
  return json.loads(capsys.readouterr().out)['paths'][0], status


def frames(path):
  with av.open(str(path)) as file:
    stream = file.streams.video[0]
    assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ('h264', 'yuv420p')
    return np.stack([x.to_ndarray(format='rgb24') for x in file.decode(stream)])
