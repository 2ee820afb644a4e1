"""What `vid2act doctor` measures in child processes, which a broken driver may take down."""

import json
import os
import signal
import subprocess
import sys
import time
import traceback

from ..common import lifeline, progress
from ..common.errors import UserError
from ..common.output import say

MARK, LATE = 'vid2act:', 'the child process did not end'
SIZE = 2048  # Rows and columns that `multiply` multiplies.
TIMEOUT = 60  # Seconds; on a cold disk the imports take most of it.
SCENE = """<mujoco><worldbody><light pos="0 0 3"/><geom type="sphere" size=".3"/>
<camera name="corner" pos="0 -2 0" xyaxes="1 0 0 0 0 1"/></worldbody></mujoco>"""


def draw():
  """Return scene, renderer, frames per second, and whether an image shows anything."""
  from ..envs import render
  render.setup_gl()
  try:
    from ..envs.metaworld import MetaWorld
    env = MetaWorld('door-lock')
    env.step(dict(reset=True))
    scene, camera = 'Meta-World at 64x64', env.camera
  except ModuleNotFoundError:
    import mujoco
    model = mujoco.MjModel.from_xml_string(SCENE)
    scene = 'a sphere at 64x64 (no Meta-World)'
    camera = render.Camera(model, mujoco.MjData(model), 'corner', (64, 64), 'full', 'upright')
  result = dict(scene=scene, renderer=camera.describe(), drawn=bool(camera().std() > 0))
  result['rate'] = _rate(camera)
  camera.close()
  return result


def multiply():
  """Return JAX's platform, its devices, and 1e9 float32 operations per second of `x @ x`."""
  os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'
  os.environ['JAX_TRACEBACK_FILTERING'] = 'off'  # The line that failed is what some errors say.
  import jax
  x = jax.numpy.ones((SIZE, SIZE))
  product = jax.jit(lambda x: x @ x)
  product(x).block_until_ready()
  rate = _rate(lambda: product(x).block_until_ready())
  return dict(
      platform=jax.default_backend(), devices=[str(x) for x in jax.devices()],
      gflops=rate * 2 * SIZE ** 3 / 1e9)


def culprits(function, names):
  """Return those of the variables `names` without which a function of ours works, as it was tried.

  That is one of them, or all that are set; none where it fails without these as well.
  """
  found = [x for x in names if x in os.environ]
  for some in [*([x] for x in found), *[found] * (len(found) > 1)]:
    if child(function, without=some)[1] is None:
      return some
  return []


def failure(function, error, names, cure):
  """Return status, text and cure of a probe that failed; where that helps, it is to unset `names`."""
  if error.startswith(LATE):
    return 'fail', error, f'try again when this machine has less to do, or {cure}'
  found = culprits(function, names)
  if not found:
    return 'fail', error, cure
  given = ' and '.join(f'{x}={os.environ[x]}' for x in found)
  return 'fail', f'with {given}, without which it works: {error}', f"unset {' and '.join(found)}"


def child(function, timeout=TIMEOUT, without=()):
  """Return (what one of our functions returns in a process of its own, None) or (None, why not).

  without: variables of the environment that the process does not get.
  """
  code = f"from vid2act_plugin.tools import probes; probes.answer('{function}')"
  try:
    with progress.waiting(f'measuring: {function}'):
      done = subprocess.run(
          lifeline.tied([sys.executable, '-c', code]), capture_output=True, text=True,
          timeout=timeout, env={k: v for k, v in os.environ.items() if k not in without})
  except subprocess.TimeoutExpired:
    return None, f'{LATE} within {timeout} s'
  for line in reversed(done.stdout.splitlines()):
    if line.startswith(MARK):  # A driver that fails only at the end did its work before.
      return json.loads(line.removeprefix(MARK))
  if done.returncode < 0:
    return None, f'the child process died of {signal.Signals(-done.returncode).name}'
  words = done.stderr.strip().splitlines() or ['nothing']
  return None, f'the child process ended with status {done.returncode} and said {words[-1]}'


def answer(function):
  """Print what `child` reads."""
  try:
    result = globals()[function](), None
  except Exception as e:
    line = traceback.extract_tb(e.__traceback__)[-1].line or ''  # Some errors say nothing else.
    name = '' if isinstance(e, UserError) else type(e).__name__
    result = None, ': '.join(filter(None, (name, str(e) or f'in `{line}`')))
  say(MARK + json.dumps(result))


def _rate(function, seconds=1):
  start, count = time.perf_counter(), 0
  while time.perf_counter() - start < seconds:
    function()
    count += 1
  return count / (time.perf_counter() - start)
