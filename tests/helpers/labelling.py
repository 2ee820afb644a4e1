"""The command `vid2act label` with small networks, and what it is given."""

from unittest import mock

from vid2act_plugin import cli
from vid2act_plugin.sources import recording
from vid2act_plugin.training import invert

SMALL = dict(batch_size=32, networks=2, channels=8, hidden=32, shift=0)
SIZE = 32  # Films of fewer pixels are none that FFmpeg writes.


def call(*words):
  """Run `vid2act label` with these words."""
  with mock.patch.dict(invert.SETTINGS, SMALL):
    cli.main(['label', *map(str, words)])


def label(path, root, *options, out='out'):
  """Label with the model of `given`; returns the recording."""
  call(path, '--from', root / 'from', '--out', root / out, '--updates', 400, '--model', root / 'model', *options)
  return recording.load(root / out / path.name)
