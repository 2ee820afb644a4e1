"""DreamerV3's output to Weights & Biases: pictures too, and one run for each logdir.

The output that `elements` has fails on every picture, needs MoviePy for films,
and begins a new run whenever a run is continued.
"""

import collections
import io
import re
import secrets

import elements
import numpy as np

ID = 'wandb-id.txt'


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
    if value.dtype != np.uint8:
      value = np.uint8(255 * np.clip(np.nan_to_num(value), 0, 1))
    if value.ndim == 4:
      return self.wandb.Video(_gif(value, self.fps), format='gif')
    return self.wandb.Image(value)


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


def _gif(video, fps):
  """Return a film `[T, H, W, C]` uint8 as an animated GIF in memory."""
  from PIL import Image
  squeeze = video[..., 0] if video.shape[-1] == 1 else video
  first, *rest = map(Image.fromarray, squeeze)
  file = io.BytesIO()
  first.save(file, 'GIF', save_all=True, append_images=rest, duration=1000 / fps, loop=0)
  file.seek(0)
  return file
