"""Check everything that a run needs, and name the cure of what is not right: `vid2act doctor`."""

import contextlib
import importlib.metadata
import importlib.util
import io
import os
import pathlib
import platform
import shutil
import sys
import tempfile

from ..common import parallel
from ..common.errors import UserError
from ..common.output import document, say
from ..common.resources import defaults

NAME = 'vid2act-plugin'
GIB = 2 ** 30
SOFTWARE = 'llvmpipe', 'softpipe', 'swrast'
CORES = 2     # What `quickstart` is measured on.
MEMORY = 3    # GiB; `quickstart` peaks at 2.8.
DISK = 2      # GiB; 3e5 compressed images of 64 x 64 are 0.5, two checkpoints of size12m as much.
VARIABLES = 'JAX_PLATFORMS', 'JAX_PLATFORM_NAME', 'XLA_FLAGS'
REINSTALL = (f'mend what fails above, or install {NAME} again with its dependencies, by `make install` in its '
             'repository or `pip install` of its wheel')


def add_parser(sub):
  """Add the command `vid2act doctor` to the subparsers `sub`."""
  parser = sub.add_parser('doctor', help='check this machine and what is installed', description=__doc__)
  parser.add_argument('--json', action='store_true', help='print one JSON object, at the end')
  parser.set_defaults(run=main)


def main(args):
  """Run all checks, print each as it ends, and exit with 1 if one fails."""
  found = []
  sys.path.insert(0, '')  # `python -m dreamerv3` finds a checkout in the present folder first.
  for name in CHECKS:
    found.append(examine(name))
    if not args.json:
      say(_line(found[-1]))
  ok = all(x['status'] != 'fail' for x in found)
  if args.json:
    document(dict(checks=found, ok=ok))
  raise SystemExit(0 if ok else 1)


def examine(name):
  """Return `{name, status, text, cure}` of one check; status is ok, warn or fail."""
  try:
    with contextlib.redirect_stdout(io.StringIO()):  # It belongs to our lines, or to the JSON.
      status, text, cure = CHECKS[name]()
  except SystemExit as e:  # A sentence of ours or of the host's registry, which ends in the cure.
    text, _, cure = str(e).rpartition('; ')
    status = 'fail'
  except Exception as e:
    status, text, cure = 'fail', f'{type(e).__name__}: {e}', REINSTALL
  text, cure = (' '.join(x.split()).removesuffix('.') for x in (text, cure))
  return dict(name=name, status=status, text=text, cure=cure)


def python():
  """Compare Python with what our distribution asks for."""
  from packaging.specifiers import SpecifierSet
  wanted = importlib.metadata.metadata(NAME)['Requires-Python']
  text = f'{platform.python_version()} in {sys.prefix}'
  if SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
    return 'ok', text, ''
  return 'fail', f'{text}, but {NAME} needs {wanted}', 'install it with a Python of that version'


def packages():
  """Compare the installed packages with the ranges in our distribution's own metadata."""
  from packaging.requirements import Requirement
  wanted = [Requirement(x) for x in importlib.metadata.requires(NAME)]
  wanted = [x for x in wanted if not x.marker or x.marker.evaluate({'extra': ''})]
  found = {x.name: _version(x.name) for x in wanted}
  wrong = [x for x in wanted if not found[x.name] or not x.specifier.contains(found[x.name], prereleases=True)]
  if wrong:
    text = ', '.join(f'{x.name} {found[x.name] or "missing"} ({x.specifier})' for x in wrong)
    pip = f'{sys.executable} -m pip install' if importlib.util.find_spec('pip') else f'uv pip install --python {sys.executable}'
    return 'fail', f'not as needed: {text}', f'`{pip} ' + ' '.join(f"'{x.name}{x.specifier}'" for x in wrong) + '`'
  main = ', '.join(f'{x} {found[x]}' for x in ('jax', 'numpy', 'mujoco', 'metaworld') if x in found)
  return 'ok', f'{len(found)} in the ranges of {NAME} {_version(NAME)}: {main}', ''


def dreamer():
  """Verify the host that `import dreamerv3` finds."""
  from ..host import tree
  root = tree.find()
  if not root:
    return 'fail', 'DreamerV3 is not installed', 'run `vid2act host build`'
  try:
    return 'ok', tree.verify(root), ''
  except UserError as e:
    text = str(e).rpartition('; ')[0]
  if root in tree.packages():
    return 'fail', text, 'run `vid2act host build`'
  return 'fail', text, (f'take {root} off the Python path and run `vid2act host build`, or restore its files and '
                        f'run `vid2act host patch {root}`')


def plugin():
  """Load every overlay through the host's registry."""
  import dreamerv3
  from dreamerv3 import plugins
  if 'vid2act' not in plugins.load():
    chosen = os.environ.get('DREAMERV3_PLUGINS')
    if chosen is None:
      return 'fail', 'it has no entry point in dreamerv3.plugins', REINSTALL
    return 'fail', f"it is not in DREAMERV3_PLUGINS, which is '{chosen}'", 'unset that variable'
  presets = plugins.configs(pathlib.Path(dreamerv3.__path__[0]) / 'configs.yaml')
  for name in presets.files:
    presets[name]
  return 'ok', f"registered, {len(presets.files)} overlays load", ''


def jax():
  """Time a matrix product on JAX's default device, in a child process."""
  from ..host import platform as backend
  from . import probes
  found, error = probes.child('multiply')
  if error:
    return probes.failure('multiply', error, VARIABLES, 'install jax and jaxlib again')
  gpu = backend.gpu_name()
  devices = ', '.join(found['devices'])
  text = f'{devices}; {found["gflops"]:.0f} GFLOP/s in float32 matrix products'
  if not gpu or found['platform'] in ('gpu', 'cuda'):
    return 'ok', text, ''
  cure = backend.install()
  if any(importlib.util.find_spec(x) for x in backend.PLUGINS):
    cure = "unset JAX_PLATFORMS if it is set, or see why in what `python -c 'import jax; jax.devices()'` prints"
  return 'warn', f'{text}, although there is a {gpu}', cure


def rendering():
  """Draw real frames in a child process, which a broken driver may take down."""
  from ..envs import render
  from . import probes
  found, error = probes.child('draw')
  if error:
    return probes.failure('draw', error, render.VARIABLES, 'install a driver (`apt-get install libegl1 libgl1-mesa-dri`)')
  text = f'{found["scene"]} by {found["renderer"]}; {found["rate"]:.0f} frames/s'
  if not found['drawn']:
    return 'fail', f'{text}, but the image is of one colour', (
        'choose another of egl, osmesa, glfw by the variable MUJOCO_GL')
  if any(x in found['renderer'].lower() for x in SOFTWARE):
    return 'warn', f'{text}, drawn by the CPU', (
        "draw with `--env.metaworld.render fast`, several times faster, or install the GPU's driver")
  return 'ok', text, ''


def cores():
  """Count the cores that this process may use."""
  count = parallel.cores()
  if count >= CORES:
    return 'ok', f'{count} usable of {os.cpu_count()}', ''
  return 'warn', f'{count} usable of {os.cpu_count()}, `quickstart` is meant for {CORES}', (
      'allow more (`taskset`, the container), or expect it to take twice as long')


def memory():
  """Compare free memory, or a container's limit, with the peak of `quickstart`."""
  import psutil

  from ..common import budget
  total = budget.memory()
  free = min(psutil.virtual_memory().available, total) / GIB
  text = f'{free:.1f} GiB free of {total / GIB:.1f} GiB'
  if free >= MEMORY:
    return 'ok', text, ''
  return 'warn', f'{text}, `quickstart` takes up to {MEMORY} GiB', (
      'end other programs, or lower batch_size, batch_length and replay.size')


def cache():
  """Check the cache's folder, and say what it holds."""
  text, cure = '', 'name another with `--vid2act.cache DIR`'
  try:
    folder = _cache()
  except RuntimeError as e:  # Nobody has told this user's home.
    return 'fail', str(e), f'set the variable HOME, or {cure}'
  compiled = pathlib.Path(os.environ.get('JAX_COMPILATION_CACHE_DIR') or folder / 'xla')
  parts = {
      'recordings': (folder / 'recordings', '*/*/manifest.json'),
      'imported': (folder / 'imports', '*/*/manifest.json'),
      'teachers': (folder / 'teachers', '*/teacher/manifest.json'),
      'compiled functions': (compiled, '*-cache')}
  for k, (x, pattern) in parts.items():
    with contextlib.suppress(OSError):  # It cannot be entered; of the cache itself this is said below.
      text += f', {len(list(x.glob(pattern)))} {k} ({sum(_sizes(x)) / 2 ** 20:.0f} MiB)'
  return _writable(folder, text, cure)


def workdir():
  """Check the present folder, where logdirs and `runs` are usually made."""
  try:
    return _writable(pathlib.Path.cwd(), '', 'name another with `--logdir DIR`')
  except OSError as e:
    return 'fail', f'the present one is gone, or closed to you ({e.strerror})', 'change into another'


def _writable(folder, text, cure):
  near = folder
  try:
    near = next(x for x in (folder, *folder.parents) if x.exists())
    if not near.is_dir():
      return 'fail', f'{near} is not a folder', f'remove it, or {cure}'
    with tempfile.TemporaryFile(dir=near) as file:
      file.write(b'.')
    free = shutil.disk_usage(near).free / GIB
  except OSError as e:
    return 'fail', f'{near} cannot be written ({e.strerror})', f'allow it, or {cure}'
  text = f'{folder} can be written, {free:.1f} GiB free{text}'
  if free >= DISK:
    return 'ok', text, ''
  return 'warn', f'{text}, a run of 3e5 steps wants {DISK} GiB', f'make room, or {cure}'


def _sizes(folder):
  for root, _, files in os.walk(folder):
    for file in files:
      with contextlib.suppress(OSError):  # A run that goes on beside us removed it.
        yield os.path.getsize(os.path.join(root, file))


def _cache():
  return pathlib.Path(defaults()['vid2act']['cache']).expanduser()


def _version(name):
  try:
    return importlib.metadata.version(name)
  except importlib.metadata.PackageNotFoundError:
    return None


def _line(found):
  cure = found['cure'] and f'; {found["cure"]}'
  return f'{found["status"]:4}  {found["name"]:9}  {found["text"]}{cure}.'


CHECKS = dict(python=python, packages=packages, host=dreamer, plugin=plugin, jax=jax, rendering=rendering,
              cores=cores, memory=memory, cache=cache, folder=workdir)
