"""What we touch of the host's inside is where we say: on the installed host, whichever version."""

import importlib.util
import pathlib

import pytest

from vid2act_plugin.host import internals


def _lines(file):
  package, rest = file.split('/', 1)
  folder = pathlib.Path(importlib.util.find_spec(package).submodule_search_locations[0])
  return (folder / rest).read_text().splitlines()


def gone(part):
  """Return what is wrong with one of the parts, or None."""
  lines = _lines(part.file)
  if part.text in lines[part.line - 1]:
    return None
  where = [i for i, x in enumerate(lines, 1) if part.text in x]
  return (f'{part.file}:{part.line} is not `{part.text}` ({part.why}); '
          + (f'it stands in line {where} now' if where else 'it is gone'))


def test_every_private_part_is_there():
  assert not list(filter(None, map(gone, internals.PARTS)))


@pytest.mark.parametrize('part, words', [
    (internals.Part('embodied/jax/nets.py', 1, 'COMPUTE_DTYPE = ', 'x'), 'it stands in line [12'),
    (internals.Part('embodied/jax/nets.py', 1, 'no such line', 'x'), 'is gone')])
def test_a_part_that_moved_or_went_is_named(part, words):
  assert words in gone(part)
