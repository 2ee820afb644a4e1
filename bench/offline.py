"""Gather what a machine without a network needs beside a JAX that it already has.

    python bench/offline.py --python 3.12 --out DIR

Run it where vid2act is installed; it downloads what the lock file pins, for
Linux on x86-64. On the other machine one line installs it, and PYTHONPATH
makes it known; nothing there is changed:

    python -m pip install --no-index --no-deps --target SITE DIR/*.whl
    PYTHONPATH=SITE python -m dreamerv3 --configs vid2act metaworld --logger.outputs jsonl

That machine brings JAX with its CUDA plugin, NumPy and SciPy. Left out, since
they are imported only where they are used: scope (a log output), av, pyarrow,
h5py and minari (others' recordings), dm-control (its suite, which also needs
NumPy below 2.4), matplotlib (curves and reports, which a run then leaves out with
a note). `vid2act doctor` names these as missing, and NumPy from 2.4 on, which only
dm-control needs older. Ends with an error if the folder becomes larger than --most MiB.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

from packaging.requirements import Requirement

from vid2act_plugin.host import install

ROOT = pathlib.Path(__file__).resolve().parent.parent
WHEELS = """
  metaworld mujoco gymnasium farama-notifications pyopengl glfw
  elements ninjax portal granular ruamel-yaml cloudpickle msgpack psutil
  chex optax einops jaxtyping wadler-lindig absl-py etils fsspec zipp toolz typing-extensions
  safetensors imageio pillow rich markdown-it-py mdurl pygments packaging jinja2 markupsafe""".split()
GLIBC = (34, 31, 28, 27, 24, 17, 12)  # Versions 2.x of wheels; pip matches each alone.


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--python', default='3.12', help="the other machine's, such as 3.12")
  parser.add_argument('--out', type=pathlib.Path, default=pathlib.Path('offline'))
  parser.add_argument('--most', type=float, default=60, help='MiB')
  args = parser.parse_args()
  if args.out.exists() and any(args.out.iterdir()):
    sys.exit(f'The folder {args.out} is not empty; name another one with --out.')
  args.out.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory() as tmp:
    tmp = pathlib.Path(tmp)
    for tree in (ROOT, install.source(tmp)):
      _pip('wheel', '--no-index', '--no-deps', '--no-build-isolation', '-w', args.out, tree)
    pins = tmp / 'requirements.txt'
    pins.write_text(pinned((ROOT / 'requirements.lock').read_text(), args.python))
    platforms = [f'--platform=manylinux_2_{x}_x86_64' for x in GLIBC]
    _pip('download', '--no-deps', '--require-hashes', '--only-binary=:all:', '-r', pins,
         f'--python-version={args.python}', '--implementation=cp', *platforms, '-d', args.out)
  files = sorted(args.out.glob('*.whl'), key=lambda x: -x.stat().st_size)
  size = sum(x.stat().st_size for x in files) / 2 ** 20
  print(*(f'{x.stat().st_size / 2 ** 20:6.1f} MiB  {x.name}' for x in files), sep='\n')
  print(f'{size:6.1f} MiB  {args.out}, {len(files)} wheels for Python {args.python}')
  if size > args.most:
    sys.exit(f'The folder {args.out} has more than {args.most:g} MiB.')


def pinned(lock, python):
  """Return the lines of the lock file, hashes included, that pin `WHEELS` for one Python."""
  found, where = {}, {'python_version': python, 'python_full_version': f'{python}.0'}
  for block in lock.replace('\n  ', '  ').splitlines():
    pin = Requirement(block.split('\\')[0].strip()) if '==' in block else None
    if pin and pin.name in WHEELS and (not pin.marker or pin.marker.evaluate(where)):
      found[pin.name] = f'{pin.name}{pin.specifier} ' + block[block.index('\\'):].replace('\\', '')
  if lacking := sorted({*WHEELS} - {*found}):
    sys.exit(f'The lock file has no version for Python {python} of {", ".join(lacking)}.')
  return '\n'.join(found.values()) + '\n'


def _pip(*args):
  command = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--quiet']
  subprocess.run([*command, *map(str, args)], check=True)


if __name__ == '__main__':
  main()
