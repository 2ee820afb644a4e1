"""Do the tests notice faults in the method's code?

Each mutant of mutants.yaml is a copy of the repository with one fault put in; the
tests named with it run there and one of them has to fail. The last line of the
output is a JSON object with `killed`, `total` and `survivors`; status 1 if there
are any.

    python -m bench.robustness.mutants [--list] [--only NAME...] [--jobs N]
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from ruamel.yaml import YAML

from vid2act_plugin.common import progress

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'vid2act_plugin'
TABLE = pathlib.Path(__file__).with_suffix('.yaml')
PARTS = ('vid2act_plugin', 'configs', 'patches', 'tests', 'bench', 'pyproject.toml', 'README.md')
LIMIT = 900  # Seconds for the tests of one mutant.


@dataclasses.dataclass(frozen=True)
class Mutant:
  """`fault` in place of `code`, and the names of the files whose tests have to notice it."""

  name: str
  code: str
  fault: str
  tests: tuple


def load(path=TABLE):
  """Return the mutants of a table."""
  return [
      Mutant(name, tests=tuple(tests.split()), **texts)
      for tests, group in YAML(typ='safe').load(path).items() for name, texts in group.items()]


def main(argv=None):
  """Run the command line and return the status."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--list', action='store_true', help='only check and list the mutations')
  parser.add_argument('--only', nargs='+', metavar='NAME', help='only these mutations')
  parser.add_argument('--jobs', type=int, default=1, help='at the same time')
  args = parser.parse_args(argv)
  known = load()
  chosen = [x for x in known if not args.only or x.name in args.only]
  unknown = set(args.only or ()) - {x.name for x in known}
  faults = [f"no mutant is named '{x}'" for x in sorted(unknown)]
  faults += filter(None, map(stale, chosen))
  if faults:
    raise SystemExit('\n'.join(faults))
  if args.list:
    for x in chosen:
      (path,) = places(x.code)
      code, fault = (' '.join(y.split()) for y in (x.code, x.fault or '(nothing)'))
      print(f'{x.name:28} {path.relative_to(PACKAGE)}: {code} -> {fault}')
    return 0
  unmutated(chosen)
  survivors = run(chosen, args.jobs)
  print(json.dumps(dict(
      killed=len(chosen) - len(survivors), total=len(chosen), survivors=survivors)))
  return 1 if survivors else 0


def places(code):
  """Return the files of the package that have a text, each as often as it has it."""
  files = sorted(PACKAGE.rglob('*.py'))
  return [path for path in files for _ in range(path.read_text().count(code))]


def stale(mutant):
  """Return why a mutant no longer fits the repository, or None if it does."""
  found = [str(x.relative_to(PACKAGE)) for x in places(mutant.code)]
  if len(found) != 1:
    where = f" ({', '.join(found)})" if found else ''
    return f'{mutant.name}: found {len(found)} times in the package{where}, not once: {mutant.code}'
  for name in mutant.tests:
    if len(find(name)) != 1:
      return f'{mutant.name}: there are {len(find(name))} files {name} below tests/, not one'


def find(name):
  """Return the paths of the files of that name below `tests/`, relative to the root."""
  return [str(x.relative_to(ROOT)) for x in (ROOT / 'tests').rglob(name)]


def unmutated(chosen):
  """Raise `SystemExit` unless the tests pass where nothing was changed."""
  with progress.stage('the tests without a mutation'):
    tests = sorted({test for x in chosen for test in x.tests})
    failed, output = attempt(None, tests)
  if failed:
    raise SystemExit(f'{output[-3000:]}\nThe tests fail without a mutation; mend that first.')


def run(chosen, jobs):
  """Try all mutants and return the names of those that no test noticed."""
  survivors = []
  with progress.bar('mutants', len(chosen), 'tried') as bar, \
      concurrent.futures.ThreadPoolExecutor(jobs) as pool:
    futures = {pool.submit(timed, x): x.name for x in chosen}
    for future in concurrent.futures.as_completed(futures):
      name, (failed, seconds) = futures[future], future.result()
      survivors += [] if failed else [name]
      verdict = 'killed' if failed else 'SURVIVED'
      print(f'{verdict:9} {name:28} {seconds:5.1f} s  {failed}', flush=True)
      bar.advance()
  return [x.name for x in chosen if x.name in survivors]


def timed(mutant):
  start = time.monotonic()
  failed, _ = attempt(mutant, mutant.tests)
  return failed, time.monotonic() - start


def attempt(mutant, tests):
  """Run tests in a copy with the mutation; return the failed one's name or '', and the output."""
  with tempfile.TemporaryDirectory(prefix='mutant-') as folder:
    root = pathlib.Path(folder)
    copy(root)
    if mutant:
      path = root / places(mutant.code)[0].relative_to(ROOT)
      path.write_text(path.read_text().replace(mutant.code, mutant.fault))
    # First in the path, so that the copy is what is imported, in child processes too.
    env = {**os.environ, 'PYTHONPATH': folder, 'PYTHONDONTWRITEBYTECODE': '1'}
    python = lambda *args: subprocess.run(
        [sys.executable, *args], cwd=root, env=env, capture_output=True, text=True, timeout=LIMIT)
    found = python('-c', 'import vid2act_plugin; print(vid2act_plugin.__file__)').stdout.strip()
    if pathlib.Path(found).parent.parent.resolve() != root.resolve():
      raise SystemExit(f'The copy {root} was to be imported, but Python imported {found}.')
    done = python('-m', 'pytest', '-x', '-q', '-p', 'no:cacheprovider',
                  *(path for name in tests for path in find(name)))
    if done.returncode not in (0, 1):
      raise SystemExit(f'{done.stdout[-3000:]}{done.stderr}\n{mutant}: pytest could not run.')
    names = re.findall(r'^(?:FAILED|ERROR) \S*::(\S+)', done.stdout, re.M)
    return (names or ['?'])[0] if done.returncode else '', done.stdout


def copy(root):
  """Copy what the tests need into `root`."""
  ignore = shutil.ignore_patterns('__pycache__', 'work')
  for name in PARTS:
    if (ROOT / name).is_dir():
      shutil.copytree(ROOT / name, root / name, ignore=ignore)
    else:
      shutil.copy(ROOT / name, root / name)


if __name__ == '__main__':
  sys.exit(main())
