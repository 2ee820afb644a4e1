"""What Gymnasium's own renderer of MuJoCo scenes lacks, wherever in an environment one is.

It draws into, and frees, whatever GL context is the current one, and so mixes the images of
two environments in a process. It also draws at one size whatever is asked for.
"""

import contextlib

from . import render


class Wanted:
  """What renderers that begin now draw, and the one that has drawn last.

  size: height and width, None: as the environment has it. fast: without shadows and multisampling.
  """

  size, fast, last = None, False, None


@contextlib.contextmanager
def wanting(size, fast):
  """Within the context, a renderer that begins draws at this size; `Wanted.last` is who has drawn."""
  Wanted.size, Wanted.fast, Wanted.last = size, fast, None
  try:
    yield
  finally:
    Wanted.size, Wanted.fast = None, False


def install():
  """Let Gymnasium make renderers of the kind below from now on."""
  from gymnasium.envs.mujoco import mujoco_rendering as theirs
  if not hasattr(theirs.OffScreenViewer, 'released'):
    theirs.OffScreenViewer = _kind(theirs.OffScreenViewer)


def _kind(base):
  class Viewer(base):
    """Gymnasium's renderer, which draws and frees in its own context."""

    released = False

    def __init__(self, model, data, width, height, *args, **kwargs):
      vis = model.vis
      if Wanted.size:
        height, width = (x * (render.SUPERSAMPLE if Wanted.fast else 1) for x in Wanted.size)
        vis.global_.offheight = max(vis.global_.offheight, height)
        vis.global_.offwidth = max(vis.global_.offwidth, width)
      if Wanted.fast:
        vis.quality.shadowsize = vis.quality.offsamples = 0
      super().__init__(model, data, width, height, *args, **kwargs)

    def render(self, *args, **kwargs):
      self.make_context_current()
      Wanted.last = self
      return super().render(*args, **kwargs)

    def free(self):
      if self.released or not hasattr(self, 'con'):
        return
      self.released = True
      self.make_context_current()
      self.con.free()
      super().free()

  return Viewer
