"""Draw MuJoCo scenes without a window."""

import contextlib
import ctypes
import importlib
import os
import sys

import numpy as np

from ..common.errors import UserError, reason
from . import meshes

QUALITIES = ('full', 'fast')
ORIENTATIONS = ('upright', 'raw')
LIBRARIES = {'egl': 'libEGL.so.1', 'osmesa': 'libOSMesa.so.8'}
BACKENDS = (*LIBRARIES, 'glfw', 'glx', 'enable', 'enabled', 'on', 'true', '1')  # As MuJoCo has them.
VARIABLES = ('PYOPENGL_PLATFORM', 'MUJOCO_EGL_DEVICE_ID', 'MUJOCO_GL')
SUPERSAMPLE = 2
OURS = 'VID2ACT_MUJOCO_GL'  # The backend that we chose where the user had not.
DETAIL = 0.4  # Of a pixel: what `fast` may leave out of a mesh.


def setup_gl(module='mujoco'):
  """Choose how MuJoCo gets its GL context, and import `module`, which reads the choice once.

  A value of MUJOCO_GL that the user set is kept. Raises a `UserError` naming the environment
  variable with which nothing can be drawn.
  """
  if sys.platform == 'linux':
    if not os.environ.get('MUJOCO_GL'):
      os.environ[OURS] = os.environ['MUJOCO_GL'] = choose_gl(_loadable)
      if 'mujoco.gl_context' in sys.modules:  # It read the variable when it was imported.
        importlib.reload(sys.modules['mujoco.gl_context'])
    _variables(os.environ)
  try:
    importlib.import_module(module)
  except ModuleNotFoundError:
    raise
  except Exception as e:  # Each GL backend raises errors of its own.
    raise _unusable(f'{module} cannot be imported', e) from e


def _variables(environ):
  """Raise a `UserError` where variables have values that MuJoCo and dm_control refuse."""
  backend, platform = environ['MUJOCO_GL'].lower().strip(), environ.get('PYOPENGL_PLATFORM')
  if backend not in BACKENDS:
    raise UserError(
        f"The variable MUJOCO_GL is '{environ['MUJOCO_GL']}', with which nothing can be drawn; "
        'unset MUJOCO_GL, or set it to egl, osmesa or glfw.')
  if platform and backend in LIBRARIES and platform != backend:
    raise UserError(
        f"The variable PYOPENGL_PLATFORM is '{platform}', but MUJOCO_GL is {backend}; unset "
        'PYOPENGL_PLATFORM.')
  device = environ.get('MUJOCO_EGL_DEVICE_ID')
  if device is not None and backend == 'egl':
    count = _devices()
    if not device.strip().isdecimal() or count and int(device) >= count:
      there = f', and there are {count} devices, from 0 on' * bool(count)
      raise UserError(
          f"The variable MUJOCO_EGL_DEVICE_ID is '{device}'{there}; unset MUJOCO_EGL_DEVICE_ID.")


def _devices():
  """Return how many devices EGL can draw with, 0 if it does not say."""
  try:
    from mujoco.egl import egl_ext
    return len(egl_ext.eglQueryDevicesEXT())
  except Exception:  # What is amiss is said when the renderer starts.
    return 0


def _unusable(what, error):
  """Return the `UserError` of a renderer, which names the variables that may be at fault."""
  chosen = os.environ.get(OURS)  # By us, also in a parent process; MuJoCo itself sets the other one.
  ours = ('MUJOCO_GL', 'PYOPENGL_PLATFORM') if chosen and chosen == os.environ.get('MUJOCO_GL') else ()
  found = [x for x in VARIABLES if x in os.environ and x not in ours]
  named = [x for x in found if x in str(error)] or found
  set_to = ', '.join(f'{x}={os.environ[x]}' for x in found)
  cure = f"unset {' and '.join(named)}, or " * bool(named)
  if ours and chosen == 'egl' and _loadable(LIBRARIES['osmesa']):
    cure += 'set MUJOCO_GL to osmesa, or '
  return UserError(
      f'{what[:1].upper()}{what[1:]} with {set_to or "no variable set"} ({reason(error)}); {cure}'
      'install a driver (`apt-get install libegl1 libgl1-mesa-dri`).')


def choose_gl(find):
  """Return the first backend whose library `find(file name) -> bool` has, else raise."""
  for backend, library in LIBRARIES.items():
    if find(library):
      return backend
  raise UserError(
      f"No library to draw images without a display was found ({', '.join(LIBRARIES.values())}); "
      'on Debian or Ubuntu install one with `apt-get install libegl1 libgl1-mesa-dri` or with '
      '`apt-get install libosmesa6`.')


def check(size, quality, orientation, key):
  """Raise a `UserError` that starts with `key` unless a camera can have these settings."""
  one_of(f'{key}.render', quality, QUALITIES)
  one_of(f'{key}.orientation', orientation, ORIENTATIONS)
  if len(size) != 2 or min(size) < 1:
    raise UserError(
        f'The key {key}.size is {list(size)}; give a height and a width in pixels, such as '
        '[64, 64].')


def one_of(key, value, options):
  """Raise a `UserError` unless `value` is one of `options`."""
  if value not in options:
    raise UserError(f"The key {key} is '{value}'; choose one of {', '.join(options)}.")


def positive(key, value):
  """Raise a `UserError` unless `value` is 1 or more."""
  if value < 1:
    raise UserError(f'The key {key} is {value}; give a positive number.')


class Camera:
  """One camera and its renderer.

  model, data: MuJoCo's; camera: name or index of one of the model's; size:
  height and width in pixels. quality `full` draws the scene as its authors
  meant it; `fast` has no shadows, reflections, multisampling or details of
  meshes below half a pixel. orientation
  `upright` turns the image of a camera that hangs upside down by 180 degrees;
  `raw` never does.
  The renderer starts with the first image. Raises a `UserError` if it cannot.
  """

  def __init__(self, model, data, camera, size, quality, orientation, key='env'):
    check(size, quality, orientation, key)
    self.model, self.data, self.size = model, data, tuple(size)
    self.index = _find(model, camera, f'{key}.camera')
    self.fast = quality == 'fast'
    self.turned = orientation == 'upright' and _hangs(model, data, self.index)
    self.renderer = self.option = None

  def __call__(self):
    """Return the image `[H, W, 3]` uint8 of the present state."""
    self.renderer = self.renderer or self._start()
    self.renderer.update_scene(self.data, self.index, self.option)
    image = self.renderer.render()
    if self.fast:
      image = _shrink(image, SUPERSAMPLE)
    return np.ascontiguousarray(image[::-1, ::-1]) if self.turned else image

  def describe(self):
    """Return the GL backend and the name of what draws, such as 'egl: llvmpipe'."""
    self()
    return describe()

  def close(self):
    if self.renderer:
      self.renderer.close()
    self.renderer = None

  def _start(self):
    import mujoco
    # On a CPU most of the time goes into shadows, samples and vertices, hardly any into pixels:
    # twice the size, averaged, is cheaper than multisampling and keeps thin parts whole.
    height, width = (x * (SUPERSAMPLE if self.fast else 1) for x in self.size)
    vis = self.model.vis
    vis.global_.offheight = max(vis.global_.offheight, height)
    vis.global_.offwidth = max(vis.global_.offwidth, width)
    if self.fast:
      vis.quality.shadowsize = vis.quality.offsamples = 0
    try:
      with meshes.coarse(self.model, self._detail()) if self.fast else contextlib.nullcontext():
        renderer = mujoco.Renderer(self.model, height, width)
    except Exception as e:  # Each GL backend raises errors of its own.
      raise _unusable('the renderer did not start', e) from e
    self.option = mujoco.MjvOption()
    self.option.flags[mujoco.mjtVisFlag.mjVIS_RANGEFINDER] = 0  # Beams that nobody would see.
    if self.fast:
      renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
      renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
    return renderer


  def _detail(self):
    """Return the side in metres of what the image shows as `DETAIL` pixels, amid the scene."""
    distance = np.linalg.norm(self.data.cam_xpos[self.index] - self.model.stat.center)
    height = 2 * distance * np.tan(np.radians(self.model.cam_fovy[self.index]) / 2)
    return max(1e-4, DETAIL * height / self.size[0])


def describe():
  """Return the GL backend and the name of what draws in the present context."""
  from OpenGL import GL
  return f"{os.environ.get('MUJOCO_GL', 'default')}: {GL.glGetString(GL.GL_RENDERER).decode()}"


def _find(model, camera, key):
  names = [model.camera(i).name for i in range(model.ncam)]
  if camera in names:
    return names.index(camera)
  given, known = isinstance(camera, int), ', '.join(names)
  number = int(camera) if given or camera.isdecimal() else -1  # In Meta-World the key is text.
  if not 0 <= number < len(names):
    numbers = f'a number from 0 to {len(names) - 1}'
    raise UserError(f"The key {key} is '{camera}'; " + (
        f'give {numbers}, for {known}.' if given else f'choose one of {known}, or {numbers}.'))
  return number


def _hangs(model, data, index):
  import mujoco
  mujoco.mj_forward(model, data)
  # A camera that moves with the arm has no fixed up: only those clearly upside down are turned.
  return data.cam_xmat[index].reshape(3, 3)[2, 1] < -0.1


def _shrink(image, n):
  # The mean of n x n pixels; sums of strided views are several times faster than `mean`.
  parts = [image[i::n, j::n] for i in range(n) for j in range(n)]
  return (sum(x.astype(np.uint16) for x in parts) // (n * n)).astype(np.uint8)


def _loadable(name):
  try:
    ctypes.CDLL(name)
  except OSError:
    return False
  return True
