"""DreamerV3's outputs to TensorBoard and to Weights & Biases.

Of those that `elements` has, the one loads all of TensorFlow, whose LLVM and
that of a software renderer crash in one process; the other fails on every
picture, needs MoviePy for films, and begins a new run when one is continued.
"""

import collections
import io
import os
import re
import secrets
import socket
import time

import elements
import numpy as np

ID = 'wandb-id.txt'


class TensorBoard:
  """Log numbers, text, histograms, pictures and films, without TensorFlow."""

  def __init__(self, logdir, fps):
    from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2
    from tensorboard.plugins.text import metadata
    from tensorboard.summary.writer.record_writer import RecordWriter
    self.event, self.summary, self.tensor = event_pb2.Event, summary_pb2, tensor_pb2.TensorProto
    self.metadata, self.fps = metadata.create_summary_metadata, fps
    folder = elements.Path(logdir)
    folder.mkdir()
    name = f'events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}'
    self.file = (folder / name).open('wb')
    self.writer = RecordWriter(self.file)
    self._write(file_version='brain.Event:2')

  def __call__(self, summaries):
    """Log `(step, name, value)`; a value is text or an array of 0 to 4 axes."""
    steps = collections.defaultdict(list)
    for step, name, value in summaries:
      steps[step].append(self.summary.Summary.Value(tag=name, **self._convert(name, value)))
    for step, values in steps.items():
      self._write(step=step, summary=self.summary.Summary(value=values))
    self.file.flush()

  def _write(self, **kw):
    self.writer.write(self.event(wall_time=time.time(), **kw).SerializeToString())

  def _convert(self, name, value):
    if isinstance(value, str):
      tensor = self.tensor(dtype='DT_STRING', string_val=[value.encode()])
      return dict(tensor=tensor, metadata=self.metadata(name, ''))
    if value.ndim == 0:
      return dict(simple_value=float(value))
    if value.ndim == 1:
      return dict(histo=self._histogram(value[np.isfinite(value)].astype(float)))
    value = pixels(value)
    height, width = value.shape[-3:-1]
    return dict(image=self.summary.Summary.Image(
        height=height, width=width, colorspace=value.shape[-1],
        encoded_image_string=encode(value, self.fps).getvalue()))

  def _histogram(self, value):
    counts, edges = np.histogram(value, 30)
    return self.summary.HistogramProto(
        min=value.min(initial=0), max=value.max(initial=0), num=value.size, sum=value.sum(),
        sum_squares=(value ** 2).sum(), bucket_limit=edges[1:], bucket=counts)


class WandB:
  """Log numbers, text, histograms, pictures and films. `LOGDIR/wandb-id.txt` names the run."""

  def __init__(self, name, logdir, fps):
    import wandb
    self.wandb, self.fps = wandb, fps
    self.run = wandb.init(name=name, dir=str(logdir), id=identity(logdir), resume='allow')

  def __call__(self, summaries):
    """Log `(step, name, value)`; a value is text or an array of 0 to 4 axes."""
    steps = collections.defaultdict(dict)
    for step, name, value in summaries:
      steps[step][name] = self._convert(value)
    for step, values in steps.items():
      self.run.log(values, step=step)

  def wait(self):
    """End the run, once all is written."""
    self.run.finish()

  def _convert(self, value):
    if isinstance(value, str):
      return value
    if value.ndim == 0:
      return float(value)
    if value.ndim == 1:  # A histogram of what is not finite is an error.
      return self.wandb.Histogram(value[np.isfinite(value)])
    if value.ndim == 4:
      return self.wandb.Video(encode(pixels(value), self.fps), format='gif')
    return self.wandb.Image(pixels(value))


def identity(logdir):
  """Return the id of the logdir's run; the first time, one is drawn and kept there."""
  path = elements.Path(logdir) / ID
  if path.exists():
    known = path.read().strip()
    if re.fullmatch(r'[a-z0-9]{8}', known):
      return known
  path.parent.mkdir()
  path.write(secrets.token_hex(4))
  return path.read()


def pixels(value):
  """Return a picture or film `[..., H, W, C]` uint8 of one, or of numbers from 0 to 1."""
  value = value[..., None] if value.ndim == 2 else value
  if value.dtype == np.uint8:
    return value
  return np.uint8(255 * np.clip(np.nan_to_num(value), 0, 1))


def encode(value, fps):
  """Return a picture `[H, W, C]` as PNG, or a film `[T, H, W, C]` as animated GIF, in memory."""
  from PIL import Image
  film, file = value.ndim == 4, io.BytesIO()
  value = value[..., 0] if value.shape[-1] == 1 else value
  if film:
    first, *rest = map(Image.fromarray, value)
    first.save(file, 'GIF', save_all=True, append_images=rest, duration=1000 / fps, loop=0)
  else:
    Image.fromarray(value).save(file, 'PNG')
  file.seek(0)
  return file
