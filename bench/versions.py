"""Run the smoke tests on the oldest and the newest Python and JAX that we claim.

    make versions [CHECKOUT=DIR]
    python bench/versions.py [--only 3.13-0.12.0.1] [--checkout DIR]

What is claimed stands in pyproject.toml. Every combination that can be
installed has an environment of its own in .venv-versions; the others are
named with the reason. Ends with status 1 if a test fails.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / '.venv-versions'
INPUTS = [ROOT / 'requirements.lock', ROOT / 'pyproject.toml', ROOT / 'configs/host.yaml',
          *(x for x in (ROOT / 'patches').iterdir() if x.suffix != '.md')]
SMOKE = [f'tests/{x}.py' for x in (
    'host/test_host', 'host/test_registry', 'host/test_internals', 'host/test_loggers',
    'agent/test_losses', 'agent/test_agent')]
UV = [str(pathlib.Path(sys.executable).parent / 'uv')]


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--only', help='one combination, such as 3.11-0.10.2')
  parser.add_argument('--checkout', type=pathlib.Path, help='a checkout of DreamerV3 to test too')
  args = parser.parse_args()
  pythons, jax = claims((ROOT / 'pyproject.toml').read_text())
  found, outcome = combinations(pythons, lambda *xs: resolve(jax, *xs)), {}
  for python, version in found:
    if args.only in (None, f'{python}-{version}'):
      name = f'Python {python}, JAX {version}'
      print(f'{name}: installing', flush=True)
      env = environment(python, version)
      outcome[f'{name}, host from PyPI'] = smoke(env)
      if args.checkout:
        outcome[f'{name}, host from {args.checkout}'] = smoke(env, args.checkout)
  print('\nCombinations that were run:', *(f'  {k}: {v}' for k, v in outcome.items()), sep='\n')
  for python in pythons:
    if sum(x == python for x, _ in found) == 1:
      print(f'Python {python} has one release of {jax} only.')
  if not outcome:
    sys.exit(f"No combination is '{args.only}'; there are {', '.join(map('-'.join, found))}.")
  if any('passed' not in x or 'failed' in x or 'error' in x for x in outcome.values()):
    sys.exit(1)


def claims(project):
  """Return the oldest and the newest Python, and the requirement of JAX, of a pyproject.toml."""
  project = tomllib.loads(project)['project']
  low, high = re.fullmatch(r'>=3\.(\d+),<3\.(\d+)', project['requires-python']).groups()
  jax = next(x for x in project['dependencies'] if x.startswith('jax>='))
  return (f'3.{low}', f'3.{int(high) - 1}'), jax


def combinations(pythons, newest):
  """Return `(Python, JAX)` pairs; newest: function of Python and 'lowest' or 'highest'."""
  pairs = [(x, newest(x, y)) for x in pythons for y in ('lowest', 'highest')]
  return list(dict.fromkeys(pairs))


def resolve(requirement, python, end):
  """Return the oldest or newest release that fits, by the package index."""
  command = [*UV, 'pip', 'compile', '-q', '--no-deps', '--no-header', '--no-annotate',
             '--python-version', python, '--resolution', end, '-']
  out = subprocess.run(command, input=requirement, check=True, capture_output=True, text=True)
  return re.match(r'jax==(\S+)', out.stdout)[1]


def environment(python, jax):
  """Return the folder of an environment of that Python and JAX, made anew if it is not of today."""
  env = FOLDER / f'{python}-{jax}'
  stamp = env / 'installed'
  if stamp.exists() and stamp.stat().st_mtime > max(x.stat().st_mtime for x in INPUTS):
    return env
  run = lambda *args: subprocess.run([*map(str, args)], check=True, cwd=ROOT)
  run(*UV, 'venv', '--quiet', '--clear', '--python', python, env)
  pip = [*UV, 'pip', 'install', '--quiet', '--python', env / 'bin/python']
  run(*pip, '--require-hashes', '-r', 'requirements.lock')
  run(*pip, f'jax=={jax}', f'jaxlib=={jax}')
  run(*pip, '--no-deps', '--no-build-isolation', '-e', '.')
  run(env / 'bin/vid2act', 'host', 'build')
  stamp.touch()
  return env


def smoke(env, checkout=None):
  """Run the smoke tests, with what they print, and return pytest's last line."""
  environ = dict(os.environ)
  if checkout:
    copy = FOLDER / 'checkout'
    shutil.rmtree(copy, ignore_errors=True)
    for name in ('dreamerv3', 'embodied'):
      shutil.copytree(checkout / name, copy / name)
    subprocess.run([env / 'bin/vid2act', 'host', 'patch', copy], check=True)
    environ.update(PYTHONPATH=str(copy), VID2ACT_CHECKOUT=str(checkout.resolve()))
  command = [env / 'bin/python', '-m', 'pytest', '-q', *SMOKE]
  process = subprocess.Popen(
      [*map(str, command)], cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
  last = ''
  for line in process.stdout:
    print(line, end='', flush=True)
    last = line.strip() or last
  status = process.wait()
  return last if not status else f'{last} (status {status}, failed)'


if __name__ == '__main__':
  main()
