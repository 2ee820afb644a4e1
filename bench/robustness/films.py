"""Good inputs without actions: films, what became of them, and the model that labels them."""

import fractions
import functools

import numpy as np

from .makers import episode


def unlabelled(folder):
  """Write films without actions, of which one has a cut and another no even times, and pictures."""
  import av
  from PIL import Image
  for i, suffix in enumerate(('.mp4', '.gif', '.mkv')):
    with av.open(str(folder / f'{i}{suffix}'), 'w') as film:
      stream = film.add_stream('gif' if suffix == '.gif' else 'libx264', rate=10)
      stream.height = stream.width = 32
      stream.pix_fmt = 'rgb8' if suffix == '.gif' else 'yuv420p'
      for t, x in enumerate(np.concatenate([episode(i, size=32)['image'], 255 - episode(9, size=32)['image']])):
        frame = av.VideoFrame.from_ndarray(x, 'rgb24')
        frame.pts, frame.time_base = t + (i > 1 and t > 3), fractions.Fraction(1, 10)
        film.mux(stream.encode(frame))
      film.mux(stream.encode())
  (folder / 'png').mkdir()
  for t, x in enumerate(episode(2, size=32)['image']):
    Image.fromarray(x).save(folder / 'png' / f'{t}.png')


@functools.cache
def inferring():
  """Return an inverse dynamics model that has learned nothing, of two actions and images of 16 x 16."""
  import jax

  from vid2act_plugin.teacher import inverse
  facts = dict(
      act_size=2, image=[16, 16, 3], settings=dict(networks=2, channels=4, hidden=8),
      **{k: [1.0, 1.0] for k in ('mean', 'slope', 'scale', 'variance')})
  with jax.transfer_guard('allow'):
    return inverse.Inverse(jax.device_get(inverse.initial(facts, 0)), facts)


def inverse(folder):
  inferring().write(folder / 'inverse')


def labelled(folder):
  """Write films, and what they became."""
  (folder / 'films').mkdir()
  unlabelled(folder / 'films')
  label(folder / 'films', folder / 'out')


def label(films, out, rate=0):
  """Label films with the model that has learned nothing; returns the recording's manifest."""
  from vid2act_plugin.sources import labelling
  labelling.check(out)
  head = dict(
      source='out', suite='import', task='out', behaviour={}, seed=0, env={}, versions={}, act_size=2,
      labels='inferred', inferred=dict(rate=rate))
  labels = labelling.Labels(out, head, inferring(), (16, 16, 3))
  return labels.run(labelling.of_films(films, (16, 16), rate))
