"""What lies elsewhere: files that are not Python code, and modules of the user's."""

import hashlib
import importlib
import os
import pathlib
import sys

from .errors import reason

BESIDE = 'patches', 'configs'  # Of the package in a source tree, in it in a wheel.


def data(name):
  """Return one of the folders `BESIDE`, of a wheel or of a source tree."""
  package = pathlib.Path(__file__).resolve().parent.parent
  packaged = package / name
  return packaged if packaged.is_dir() else package.parent / name


def defaults():
  """Return the keys that the plugin adds, with their defaults, as `configs/defaults.yaml` has them."""
  from ruamel.yaml import YAML
  return YAML(typ='safe').load((data('configs') / 'defaults.yaml').read_text(encoding='utf-8'))


def code():
  """Return what tells this code from any other: the beginning of a hash of all of the package's modules."""
  package = pathlib.Path(__file__).resolve().parent.parent
  digest = hashlib.sha256()
  for path in sorted(x for x in package.rglob('*.py') if x.relative_to(package).parts[0] not in BESIDE):
    digest.update(f'{path.relative_to(package).as_posix()}\n'.encode() + path.read_bytes())
  return digest.hexdigest()[:12]


def module(name):
  """Import a module of the user's, from the present folder or installed.

  Raises an `ImportError` whatever it fails with.
  """
  if os.getcwd() not in sys.path:  # Console scripts lack it, `python -m` has it.
    sys.path.insert(0, os.getcwd())
  try:
    return importlib.import_module(name)
  except ImportError:
    raise
  except (Exception, SystemExit) as e:
    raise ImportError(reason(e)) from e
