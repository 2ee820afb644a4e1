"""Presets of DreamerV3 with the plugins' defaults and overlays, checked before they are applied."""

import difflib
import os
import pathlib
import re
import reprlib

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode

LONGEST, DEEPEST, MOST = 100_000, 20, 1000  # Characters, levels and settings of an overlay.
TANGLED = re.compile(r'\)[*+?{]|(.*?[*+?{]){5}|(.*?\|){9}')  # May take for ever to fail.


class PluginError(ValueError, SystemExit):
  """A mistake the user can mend: uncaught, only the sentence is printed."""

  def __init__(self, message):
    SystemExit.__init__(self, ''.join(x if x.isprintable() else '?' for x in message))


class Overlays(dict):
  """The named presets; a path to a YAML file is accepted wherever a name is."""

  def __init__(self, host, files):
    super().__init__(host)
    self.files = files

  def __getitem__(self, name):
    if name in self.files:
      return overlay(self.files[name], super().__getitem__('defaults'))
    if name in self:
      return super().__getitem__(name)
    if name.endswith(('.yaml', '.yml')) or os.sep in name:
      return overlay(name, super().__getitem__('defaults'))
    known = sorted({*self, *self.files})
    near = difflib.get_close_matches(name, known, 3, 0.5) or known
    raise PluginError(
        f"Unknown overlay '{name}' in --configs; did you mean {' or '.join(near)}? "
        f"A path to a YAML file works as well.")


def overlay(path, defaults):
  """Read one overlay file and check every value against the defaults.

  The host casts values to the default's type, which turns `off` into True and
  a string into a list of letters, so types are compared before that.
  """
  try:
    text = pathlib.Path(path).expanduser().read_text()
    if len(text) > LONGEST:
      raise ValueError(f'it has more than {LONGEST:,} characters')
    node = YAML().compose(text)
    values = YAML(typ='safe').load(text)
  except OSError as e:
    raise PluginError(f"The overlay file '{path}' cannot be read: {e.strerror}.") from e
  except Exception as e:  # Values that are malformed raise what Python's own types do.
    mark = getattr(e, 'problem_mark', None)
    where = f'{path}:{mark.line + 1}' if mark else str(path)
    problem = ' '.join((getattr(e, 'problem', None) or str(e)).split())[:200]
    raise PluginError(f'{where}: not valid YAML: {problem}.') from e
  if not isinstance(values, dict):
    raise PluginError(
        f'{path}:1: an overlay is a mapping of keys to values, but this is '
        f'{"empty" if values is None else type(values).__name__}.')
  known = dict(_flat(defaults))
  for i, (key, value, line) in enumerate(_lines(values, node)):
    _check(f'{path}:{line}', key, value, known, i)
  return values


def _check(where, key, value, known, index):
  if not key or index >= MOST:
    raise PluginError(f'{where}: keys are words, at most {MOST}, nested at most {DEEPEST} times.')
  if len(key) > 200 or TANGLED.search(key):
    raise PluginError(f"{where}: the key '{key[:80]}' is too involved; use few `.*` and `(a|b)`.")
  try:
    plain = re.fullmatch(r'[A-Za-z0-9_.-]+', key)
    keys = [key] if plain else [k for k in known if re.match(key, k)]
  except (re.error, OverflowError) as e:
    raise PluginError(f"{where}: the key pattern '{key}' is malformed: {e}.") from e
  if not keys or keys[0] not in known:
    near = difflib.get_close_matches(key, known, 3, 0.6)
    hint = f'; did you mean {" or ".join(near)}?' if near else '.'
    raise PluginError(f"{where}: no setting has the key '{key}'{hint}")
  for name in keys:
    if not _fits(value, known[name]):
      raise PluginError(
          f"{where}: the key '{key}' has the value {reprlib.repr(value)} of type "
          f"{type(value).__name__}, but {name} needs {_describe(known[name])}.")


def _fits(value, default):
  if isinstance(default, (list, tuple)):
    return (
        isinstance(value, (list, tuple)) and len(value) > 0
        and all(_fits(x, default[0]) for x in value))
  if isinstance(default, bool) or isinstance(value, bool):
    return isinstance(default, bool) and isinstance(value, bool)
  if isinstance(default, int):
    return isinstance(value, (int, float)) and value % 1 == 0 and abs(value) < 2 ** 63
  if isinstance(default, float):
    return isinstance(value, float) or isinstance(value, int) and abs(value) < 2 ** 63
  return isinstance(value, type(default)) and str(value).isprintable()


def _describe(default):
  if isinstance(default, (list, tuple)):
    return f'a non-empty list of {type(default[0]).__name__} such as {list(default)}'
  return f'{type(default).__name__} such as {default!r}'


def _flat(mapping, prefix=''):
  for key, value in mapping.items():
    if isinstance(value, dict):
      yield from _flat(value, f'{prefix}{key}.')
    else:
      yield prefix + key, value


def _lines(values, node, prefix='', line=1):
  """Yield key, value and line of every setting; the key is empty where there is no valid one."""
  # What a `<<` merges has no place of its own: that of its parent counts.
  pairs = node.value if isinstance(node, MappingNode) else ()
  marks = {k.value: (k.start_mark.line + 1, v) for k, v in pairs if isinstance(k.value, str)}
  for key, value in values.items():
    fits = isinstance(key, str) and key.isprintable() and prefix.count('.') <= DEEPEST
    at, child = marks.get(key, (line, None))
    name = prefix + key if fits else ''
    if name and value and isinstance(value, dict):
      sep = r'\.' if re.search(r'[^A-Za-z0-9_.-]', name) else '.'
      yield from _lines(value, child, name + sep, at)
    else:
      yield name, value, at


def extend(old, new, plugin, prefix=''):
  result = dict(old)
  for key, value in new.items():
    if isinstance(value, dict) and isinstance(old.get(key, {}), dict):
      result[key] = extend(old.get(key, {}), value, plugin, f'{prefix}{key}.')
    elif key in old:
      raise PluginError(
          f"The plugin '{plugin}' redefines the key '{prefix}{key}'; defaults can only add keys.")
    else:
      result[key] = value
  return result
