"""What is claimed of Python and JAX, and that one lock file resolves for all of it."""

import collections
import pathlib
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bench import offline, versions
from vid2act_plugin.common import errors

ROOT = pathlib.Path(__file__).parents[2]
LOCK, PROJECT = (ROOT / x for x in ('requirements.lock', 'pyproject.toml'))
PYTHONS = '3.11', '3.12', '3.13'


def pins(python):
  """Return {package: [versions]} that the lock file has for a Python on Linux."""
  where = {'python_version': python, 'python_full_version': f'{python}.1', 'sys_platform': 'linux',
           'platform_machine': 'x86_64', 'implementation_name': 'cpython',
           'platform_python_implementation': 'CPython', 'os_name': 'posix', 'extra': ''}
  found = collections.defaultdict(list)
  for line in LOCK.read_text().splitlines():
    if '==' in line and not line.startswith((' ', '#')):
      pin = Requirement(line.rstrip(' \\'))
      if not pin.marker or pin.marker.evaluate(where):
        found[pin.name].append(str(pin.specifier).removeprefix('=='))
  return found


@pytest.mark.parametrize('python', PYTHONS)
def test_the_lock_has_one_version_of_all_that_we_need(python):
  found, project = pins(python), tomllib.loads(PROJECT.read_text())['project']
  assert all(len(x) == 1 for x in found.values())
  for need in map(Requirement, project['dependencies']):
    if not need.marker or need.marker.evaluate({'python_version': python}):
      assert need.specifier.contains(found[canonicalize_name(need.name)][0]), need
  assert ('labmaze' in found) == ('dm-control' in found) == (python < '3.13')


def test_both_ends_of_the_claim_on_jax_are_in_the_lock():
  low, high = versions.claims(PROJECT.read_text())[1].removeprefix('jax>=').split(',<0.')
  locked = [pins(x)['jax'][0] for x in PYTHONS]
  assert locked[0] == low and all(x.startswith(f'0.{int(high) - 1}.') for x in locked[1:])


@pytest.mark.parametrize('python', PYTHONS)
def test_wheels_for_a_machine_without_a_network_are_in_the_lock(python):
  lines = offline.pinned(LOCK.read_text(), python).splitlines()
  assert len(lines) == len(offline.WHEELS) and all('--hash=sha256:' in x for x in lines)


def test_what_these_leave_out_is_brought_or_is_said_to_be_absent():
  """Where it is needed; else a run there would end with a traceback."""
  needs = {canonicalize_name(Requirement(x).name) for x in tomllib.loads(PROJECT.read_text())['project']['dependencies']}
  elsewhere = {'jax', 'numpy', 'scipy', 'dm-control', 'pip', 'setuptools'}
  assert needs - {*offline.WHEELS} - elsewhere == {*errors.OPTIONAL} - {*offline.WHEELS} - elsewhere


def test_combinations_are_the_ends_of_the_claim_and_each_is_run_once():
  pythons, jax = versions.claims(PROJECT.read_text())
  assert pythons == (PYTHONS[0], PYTHONS[-1]) and jax == 'jax>=0.10.2,<0.13'
  index = {('3.11', 'lowest'): '1', ('3.11', 'highest'): '1', ('3.13', 'lowest'): '1'}
  newest = lambda *xs: index.get(xs, '2')
  assert versions.combinations(pythons, newest) == [('3.11', '1'), ('3.13', '1'), ('3.13', '2')]


def test_what_is_run_exists():
  assert all((ROOT / x).is_file() for x in (*versions.SMOKE, *versions.INPUTS))
