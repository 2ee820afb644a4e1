"""Environments that are registered with Gymnasium: found by their names, and made."""

import contextlib
import difflib
import hashlib
import importlib.util
import inspect
import io
import json
import pathlib
import warnings

from ..common import resources
from ..common.errors import UserError, reading, reason
from . import render, viewers

PACKAGES = ('gymnasium_robotics',)  # Gymnasium knows their environments once they are imported.
EXTRA = '`pip install gymnasium-robotics`'


def tasks():
  """Return the names of all environments that are known without a module of the user's."""
  with _quiet():
    render.setup_gl()  # Some import MuJoCo, which chooses its GL backend once.
    import gymnasium
    for name in filter(importlib.util.find_spec, PACKAGES):
      with reading(f'The package {name}', 'install it again, or uninstall it', 'cannot be imported'), (
          contextlib.redirect_stderr(io.StringIO())):  # It says there what has changed in it.
        resources.module(name)
    return sorted(gymnasium.registry)


def find(task, key='task'):
  """Return the specification of an environment, `ID` or `MODULE:ID`; MODULE is imported first.

  Raises a `UserError` that starts with `key` where there is none.
  """
  import gymnasium
  module, _, name = task.rpartition(':')
  if module:
    with _quiet(), reading(
        f"The key {key} is 'gymnasium_{task}', but its module {module}",
        "run the command in the folder of that module, or install the module's package",
        'cannot be imported'):
      render.setup_gl()
      resources.module(module)
  if name not in gymnasium.registry and (module or name not in tasks()):
    raise UserError(f"The key {key} is 'gymnasium_{task}', but {_unknown(module, name)}")
  return gymnasium.registry[name]


def make(task, arguments):
  """Return the environment, drawing if it can; arguments: JSON of keywords for `gymnasium.make`.

  Raises a `UserError` where it cannot be made.
  """
  spec, options = find(task), _arguments(arguments)
  import gymnasium
  viewers.install()
  with _quiet(), reading(
      f'The environment of the task gymnasium_{task}',
      'install what it lacks, change env.gymnasium.make, or choose another task', 'cannot be made'):
    try:
      return gymnasium.make(
          spec, **{'render_mode': 'rgb_array', 'disable_env_checker': True, **options})
    except TypeError as e:
      if "unexpected keyword argument 'render_mode'" not in str(e):
        raise
    return gymnasium.make(spec, **{'disable_env_checker': True, **options})


def sized(arguments):
  """Say whether the arguments of `make` choose the size that is drawn."""
  return bool({'width', 'height'} & _arguments(arguments).keys())


def digest(task):
  """Return a hash of the file that defines an environment, so that a changed one is recorded anew."""
  import gymnasium
  creator = find(task).entry_point
  with _quiet(), reading(
      f'The environment of the task gymnasium_{task}', 'install what it lacks', 'cannot be imported'):
    if isinstance(creator, str):
      creator = gymnasium.envs.registration.load_env_creator(creator)
  try:
    file = inspect.getsourcefile(inspect.unwrap(creator))
    return hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest()[:12]
  except (TypeError, OSError):  # Made by no code of Python's.
    return ''


def _arguments(text):
  try:
    found = json.loads(text)
    fault = '' if isinstance(found, dict) else f'it is a {type(found).__name__}'
  except (ValueError, RecursionError) as e:
    fault = reason(e)
  if fault:
    raise UserError(
        f"The key env.gymnasium.make is '{text[:200]}', which is no JSON object ({fault}); give "
        'keyword arguments, in YAML as a mapping, on the command line such as '
        '\'{"max_episode_steps": 200}\'.')
  return found


def _unknown(module, name):
  import gymnasium
  words = f"{module or 'Gymnasium'} registers no environment '{name}'; "
  if module:
    own = [k for k, v in gymnasium.registry.items() if f'{_module(v)}.'.startswith(f'{module}.')]
    near = difflib.get_close_matches(name, own, 3, 0) or own[:3]
    return words + (f"did you mean {' or '.join(f'gymnasium_{module}:{x}' for x in near)}?" if near
                    else 'call gymnasium.register in it, or name another module.')
  near = difflib.get_close_matches(name, gymnasium.registry, 3, 0.7)
  if near:
    return words + f"did you mean {' or '.join(f'gymnasium_{x}' for x in near)}?"
  absent = not all(map(importlib.util.find_spec, PACKAGES))
  return words + 'name that of another package with its module, gymnasium_MODULE:ID' + (
      f', or install those of gymnasium-robotics with {EXTRA}.' if absent else '.')


def _module(spec):
  """Return the module that an environment's class is in."""
  creator = spec.entry_point
  return creator.partition(':')[0] if isinstance(creator, str) else getattr(creator, '__module__', '')


@contextlib.contextmanager
def _quiet():
  """Leave out warnings, of which environments have some about versions of theirs."""
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    yield
