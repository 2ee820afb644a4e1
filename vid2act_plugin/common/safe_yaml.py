"""YAML of others: plain values alone, and no more of them than the text is long."""

import locale
import warnings

from ruamel.yaml import YAML
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, SequenceNode

from . import files
from .budget import DEPTH, Budget

LONGEST = 100_000  # Characters; one second of work for a parser in Python.


def load(path):
  """Return what a file holds; raises an `OSError` as `files.regular` does, or a `ValueError`."""
  return loads(text(path))


def text(path):
  """Return the text of a file; what is no UTF-8 is in the locale's encoding, as DreamerV3's `config.yaml`."""
  content = files.read(path, LONGEST)
  try:
    return content.decode()
  except UnicodeDecodeError:
    return content.decode(locale.getencoding())


def loads(text):
  """Return the value of a text; a `ValueError` says in one line what is wrong with it."""
  if len(text) > LONGEST:
    raise ValueError(f'it has more than {LONGEST:,} characters')
  try:
    with warnings.catch_warnings(action='ignore'):  # They would print what the text holds.
      _check_depth(text)
      # Before anything is made of it: the maker repeats what `<<` merges.
      Budget(len(text)).measure(YAML(typ='safe', pure=True).compose(text), _parts)
      return YAML(typ='safe', pure=True).load(text)
  except RecursionError as e:
    raise ValueError(f'it is nested more than {DEPTH} times') from e
  except Exception as e:  # Values that are malformed raise what Python's own types do.
    mark = getattr(e, 'problem_mark', None)
    problem = ' '.join((getattr(e, 'problem', None) or str(e) or type(e).__name__).split())[:200]
    raise ValueError(f'{problem} in line {mark.line + 1}' if mark else problem) from e


def _check_depth(text):
  # One event after another: to read on at such a depth takes the scanner long.
  depth = 0
  for event in YAML(typ='safe', pure=True).parse(text):
    depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
    if depth > DEPTH:
      raise ValueError(f'it is nested more than {DEPTH} times')


def _parts(node):
  if isinstance(node, MappingNode):
    return [x for pair in node.value for x in pair]
  return node.value if isinstance(node, SequenceNode) else None
