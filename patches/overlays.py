"""Presets of DreamerV3 with the plugins' defaults and overlays, checked before they are applied."""

import copy
import difflib
import errno
import functools
import json
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
    file = pathlib.Path(path).expanduser()
    if file.exists() and not file.is_file():  # Reading a pipe or a device may never end.
      raise OSError(errno.EINVAL, 'it is no regular file')
    with open(file, encoding='utf-8') as f:
      text = f.read(LONGEST + 1)
    if len(text) > LONGEST:
      raise ValueError(f'it has more than {LONGEST:,} characters')
    node = YAML().compose(text)
    values = YAML(typ='safe').load(text)
  except OSError as e:
    raise PluginError(
        f"The overlay file '{path}' cannot be read: {e.strerror}; name a YAML file that is there, seen from the "
        'current folder, or an overlay such as vid2act.') from e
  except Exception as e:  # Values that are malformed raise what Python's own types do.
    mark = getattr(e, 'problem_mark', None)
    where = f'{path}:{mark.line + 1}' if mark else str(path)
    problem = ' '.join((getattr(e, 'problem', None) or str(e)).split())[:200]
    raise PluginError(f'{where}: not valid YAML: {problem}.') from e
  if not isinstance(values, dict):
    raise PluginError(
        f'{path}:1: an overlay is a mapping of keys to values, but this is '
        f'{"empty" if values is None else type(values).__name__}; write a line such as run.steps: 1000.')
  known = dict(flat(defaults))
  # Where the default is the text of a mapping, one may stand.
  values = _texts(path, values, [k for k, v in known.items() if v == '{}'])
  for i, (key, value, line) in enumerate(_lines(values, node)):
    where = f'{path}:{line}'
    if not key or i >= MOST:
      raise PluginError(f'{where}: keys are words, at most {MOST}, nested at most {DEEPEST} times.')
    for name in keys(where, key, known):
      misfit(where, key, value, name, known[name])
  return values


def _texts(path, values, texts, prefix=''):
  """Return settings with JSON in place of a mapping for one of the keys `texts`."""
  made = dict(values)
  for key, value in values.items():
    name = f'{prefix}{key}'
    if isinstance(value, dict) and name in texts:
      made[key] = _json(f"{path}: the key '{name}'", value)
    elif isinstance(value, dict) and any(x.startswith(f'{name}.') for x in texts):
      made[key] = _texts(path, value, texts, f'{name}.')
  return made


def _json(where, value):
  made, size = [], 0
  try:
    for part in json.JSONEncoder(allow_nan=False).iterencode(value):
      made.append(part)
      size += len(part)
      if size > LONGEST:  # Aliases may repeat it without end.
        raise ValueError(f'it has more than {LONGEST:,} characters')
  except (TypeError, ValueError, RecursionError) as e:
    raise PluginError(
        f'{where} has a value that is no JSON ({e}); give texts, finite numbers, True or False, lists, '
        'or mappings of these.') from e
  return ''.join(made)


def keys(where, key, known, whole=False):
  """Return the keys that a key or a pattern means; raises a `PluginError` unless there are any.

  whole: a pattern has to match all of a key, as on the host's command line, not its beginning.
  """
  if len(key) > 200 or TANGLED.search(key):
    raise PluginError(f"{where}: the key '{key[:80]}' is too involved; use few `.*` and `(a|b)`.")
  try:
    plain, match = re.fullmatch(r'[A-Za-z0-9_.-]+', key), re.fullmatch if whole else re.match
    found = [key] if plain else [k for k in known if match(key, k)]
  except (re.error, OverflowError) as e:
    raise PluginError(f"{where}: the key pattern '{key}' is malformed: {e}.") from e
  if not found or found[0] not in known:
    near = difflib.get_close_matches(key, [*known, 'configs'] if whole else known, 3, 0.6)
    hint = f'; did you mean {" or ".join(near)}?' if near else '.'
    raise PluginError(f"{where}: no setting has the key '{key}'{hint}")
  return found


def misfit(where, key, value, name, default):
  """Raise a `PluginError` unless a value fits the default of the key `name`, meant by `key`."""
  if not _fits(value, default):
    raise PluginError(
        f"{where}: the key '{key}' has the value {reprlib.repr(value)} of type "
        f"{type(value).__name__}, but {name} needs {_describe(default)}.")


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
    return isinstance(value, float) and value == value or (
        isinstance(value, int) and abs(value) < 2 ** 63)
  return isinstance(value, type(default)) and str(value).isprintable()


def _describe(default):
  if isinstance(default, (list, tuple)):
    return f'a non-empty list of {type(default[0]).__name__} such as {list(default)}'
  return f'{type(default).__name__} such as {default!r}'


def flat(settings, prefix=''):
  """Yield the dotted key and the value of every setting."""
  for key, value in settings.items():
    if isinstance(value, dict):
      yield from flat(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}', value


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


def extend(old, new, plugin):
  """Return defaults with those of a plugin, written nested or dotted; it can only add keys."""
  known, result = dict(flat(old)), copy.deepcopy(old)
  for key, value in flat(new):
    where = f"The plugin '{plugin}' has the default '{key}'"
    if not re.fullmatch(r'[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*', key):
      raise PluginError(f'{where}; keys are letters, digits, _ and -, joined by dots.')
    if not _plain(value):
      raise PluginError(
          f'{where} of {reprlib.repr(value)}; give a bool, a number, a text or a non-empty list '
          'of one of these.')
    if any(f'{key}.'.startswith(f'{x}.') or x.startswith(f'{key}.') for x in known):
      raise PluginError(
          f"The plugin '{plugin}' redefines the key '{key}'; defaults can only add keys.")
    *groups, last = key.split('.')
    functools.reduce(lambda node, name: node.setdefault(name, {}), groups, result)[last] = value
    known[key] = value
  return result


def mapping(path, what):
  """Return what a plugin's YAML file holds."""
  try:
    content = YAML(typ='safe').load(pathlib.Path(path).read_text(encoding='utf-8'))
  except Exception as e:  # Malformed values raise what Python's own types do.
    raise PluginError(f"{what} '{path}' cannot be read: {' '.join(str(e).split())[:200]}.") from e
  if not isinstance(content, dict):
    raise PluginError(f"{what} '{path}' hold a {type(content).__name__} instead of a mapping.")
  return content


def _plain(value):
  if isinstance(value, list):
    return bool(value) and _plain(value[0]) and len({*map(type, value)}) == 1 and not isinstance(
        value[0], list)
  return isinstance(value, (bool, int, float, str))
