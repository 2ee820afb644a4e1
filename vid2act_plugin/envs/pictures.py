"""Pictures of a Gymnasium environment: one of its observations, or drawn by itself."""

import functools

import numpy as np

from ..common import images
from ..common.errors import UserError
from . import render, viewers

RENDER = 'render'
CURE = (
    'give it a pixel observation (a Box of uint8, [H, W, 3]) or the render_mode rgb_array, or choose '
    'another task')


class Picture:
  """Where the images of an environment come from.

  env: Gymnasium's. image: name of the observation, a/b for one inside another;
  render: drawn by the environment; '': its only pixel observation, else drawn.
  size: height and width that images get, by averaging areas. sized: MuJoCo's
  scenes are drawn at that size, `fast` without shadows and multisampling.
  Raises a `UserError` for what is not there.
  """

  def __init__(self, env, task, image, size, sized, fast):
    self.env, self.task, self.size, self.sized, self.fast = env, task, tuple(size), sized, fast
    known = cameras(env.observation_space)
    if image not in (*known, RENDER, '') or not image and len(known) > 1:
      raise UserError(
          f"The key env.gymnasium.image is '{image}', but the task gymnasium_{task} has the pixel "
          f"observations {', '.join(known) or 'none'}; give one of them, or {RENDER} for what it draws.")
    name = image or next(iter(known), RENDER)
    self.keys = None if name == RENDER else known[name]  # None: it draws.
    self.what = 'what it draws' if name == RENDER else f"its observation '{name}'"

  def __call__(self, obs):
    """Return the image `[H, W, 3]` uint8 at an observation as the environment gave it."""
    if self.keys is None:
      with viewers.wanting(self.size if self.sized else None, self.fast):
        obs = self.env.render()
    found = functools.reduce(lambda x, key: x[key], self.keys or (), obs)
    if not isinstance(found, np.ndarray) or found.dtype != np.uint8 or (
        found.ndim != 3 or found.shape[-1] != 3 or 0 in found.shape):
      kind = f'{found.dtype} of shape {found.shape}' if isinstance(found, np.ndarray) else (
          type(found).__name__)
      raise UserError(
          f'The task gymnasium_{self.task} has no images: {self.what} is {kind}; {CURE}.')
    return np.array(images.resized(found, self.size))  # It may draw the next one into the same.

  def describe(self, obs):
    """Return the names of the GL backend and of the renderer, where they are known."""
    viewers.Wanted.last = None
    self(obs)
    return render.describe() if viewers.Wanted.last else 'environment'


def cameras(space, keys=()):
  """Return the pixel observations in a space: `{name: the keys that lead there}`.

  The whole space is called `observation`, those inside it a, or a/b.
  """
  if hasattr(space, 'spaces'):
    inner = space.spaces.items() if hasattr(space.spaces, 'items') else enumerate(space.spaces)
    return {name: place for k, x in inner for name, place in cameras(x, (*keys, k)).items()}
  shape = space.shape or ()
  pixels = space.dtype == np.uint8 and len(shape) == 3 and shape[-1] == 3
  return {'/'.join(map(str, keys)) or 'observation': keys} if pixels else {}
