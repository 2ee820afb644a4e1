"""Packages import only what lies to their right, nothing in a circle, and some of them no JAX."""

import ast
import graphlib
import importlib.util
import pathlib
import subprocess
import sys

import pytest

import vid2act_plugin

ROOT = pathlib.Path(vid2act_plugin.__path__[0])
NAME = ROOT.name
ORDER = (  # What stands together never imports each other.
    ('cli',), ('plugin',), ('studies', 'tools'), ('prepare',), ('training', 'agent'),
    ('sources', 'teacher'), ('envs', 'host'), ('common',))
FLOOR = {package: floor for floor, packages in enumerate(ORDER) for package in packages}
FILES = {
    '.'.join((NAME, *path.relative_to(ROOT).with_suffix('').parts)).removesuffix('.__init__'): path
    for path in sorted(ROOT.rglob('*.py'))}


def imports(module, named=True):
  """Return our modules that a module imports anywhere in it.

  named: also those that it names as 'MODULE:CLASS' for others to import.
  """
  inside = module if FILES[module].name == '__init__.py' else module.rpartition('.')[0]
  names = set()
  for node in ast.walk(ast.parse(FILES[module].read_text())):
    if isinstance(node, ast.Import):
      names |= {x.name for x in node.names}
    elif isinstance(node, ast.ImportFrom):
      base = importlib.util.resolve_name('.' * node.level + (node.module or ''), inside)
      names |= {y if (y := f'{base}.{x.name}') in FILES else base for x in node.names}
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(('import_module', '_lazy')):
      names |= looked_up(node.args[0], inside)
    elif named and isinstance(node, ast.Constant) and ':' in str(node.value):
      names.add(str(node.value).partition(':')[0])
  return {x for x in names if x in FILES and x != NAME}


def looked_up(name, inside):
  """Return the modules that a call of `import_module` may mean, those of its own package apart."""
  if isinstance(name, ast.JoinedStr):  # f'.formats.{name}' may be any of that package.
    base = importlib.util.resolve_name(ast.literal_eval(name.values[0]).rstrip('.') or '.', inside)
    return {x for x in FILES if x.startswith(f'{base}.') and base != inside}
  text = name.value if isinstance(name, ast.Constant) else ''
  return {text, importlib.util.resolve_name(f".{text.lstrip('.')}", inside)}


def package(module):
  return module.split('.')[1]


def test_every_package_has_its_floor():
  folders = {x.parent.name for x in ROOT.glob('*/*.py')}
  assert folders | {x.stem for x in ROOT.glob('*.py')} == {'__init__', *FLOOR}
  assert {x.stem for x in ROOT.glob('*.py')} == {'__init__', 'plugin', 'cli', 'prepare'}


@pytest.mark.parametrize('name', FLOOR)
def test_imports_go_to_the_right(name):
  wrong = [
      f'{module} -> {other}' for module in FILES if module != NAME and package(module) == name
      for other in sorted(imports(module))
      if name != package(other) and FLOOR[name] >= FLOOR[package(other)]]
  assert not wrong, wrong


def test_no_circle():
  graphlib.TopologicalSorter({x: imports(x, named=False) for x in FILES}).prepare()


def test_no_long_file():
  top = pathlib.Path(__file__).parents[1]
  lines = {
      str(path.relative_to(top)): len(path.read_text().splitlines())
      for folder in (NAME, 'tests', 'bench') for path in sorted((top / folder).rglob('*.py'))}
  long = {k: v for k, v in lines.items() if v > 250}
  assert not long, long


@pytest.mark.parametrize('forbidden, code', [
    (('jax', 'dreamerv3', 'embodied'), """
from vid2act_plugin import cli
from vid2act_plugin.tools import doctor
cli.main(['host', 'status'])
for check in ('python', 'packages', 'host', 'cores', 'memory', 'cache'):
  doctor.examine(check)
"""),
    (('jax',), """
from vid2act_plugin.envs import dmcontrol, metaworld, planner
from vid2act_plugin.sources import collect, play
from vid2act_plugin.studies import comparison, plot, report, study_page
from vid2act_plugin.training import scores
import tempfile
with tempfile.TemporaryDirectory() as folder:
  play.Recorder()(dict(
      name='source', task='door-close', env='vid2act_plugin.envs.metaworld:MetaWorld',
      settings=dict(size=(16, 16), limit=3, render='fast'), seed=0, index=0, policy='scripted',
      behaviour=dict(policy='expert', noise=0.1), folder=folder))
""")])
def test_what_is_not_imported(forbidden, code):
  code += f'\nimport sys; print("imported:", sorted(set(sys.modules) & {{*{forbidden}}}))'
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
  assert done.stdout.endswith('imported: []\n'), done.stdout[-300:] + done.stderr[-2000:]
