"""The values that settings may have beyond their type, from the tables of the plugins."""

import difflib
import math

BOUNDS = {  # How a bound is kept, and how it is told.
    'from': (lambda x, y: x >= y, 'of at least'), 'above': (lambda x, y: x > y, 'above'),
    'to': (lambda x, y: x <= y, 'of at most'), 'below': (lambda x, y: x < y, 'below')}


def faults(settings, table):
  """Yield a sentence for each setting `{key: value}` that breaks its rule.

  table: {key: rule}. A rule is the list of all values, or the bounds `{from: 0, below: 1}` of
  a finite number; either holds for every element of a list.
  """
  for key, rule in table.items():
    values = settings[key] if isinstance(settings[key], (list, tuple)) else [settings[key]]
    for value in values:
      if isinstance(rule, list) and value not in rule:
        near = difflib.get_close_matches(str(value), map(str, rule), 1, 0.5)
        hint = f'; did you mean {near[0]}?' if near else '.'
        yield f"The key {key} is '{value}', but it is one of {', '.join(map(str, rule))}{hint}"
      elif isinstance(rule, dict) and not (
          isinstance(value, (int, float)) and math.isfinite(value)
          and all(BOUNDS[k][0](value, y) for k, y in rule.items())):
        bounds = ' and '.join(f'{BOUNDS[k][1]} {y}' for k, y in rule.items())
        yield f'The key {key} is {value}; give a number {bounds}.'


def malformed(table, known):
  """Return what is wrong with a table for settings `{key: default}`, or an empty string."""
  if not isinstance(table, dict):
    return f'it is a {type(table).__name__} instead of a mapping'
  for key, rule in table.items():
    if key not in known:
      return f"no setting has the key '{key}'"
    bounds = isinstance(rule, dict) and rule and all(
        k in BOUNDS and isinstance(v, (int, float)) for k, v in rule.items())
    if not bounds and not (isinstance(rule, list) and rule):
      return f"the rule of '{key}' is {rule!r} instead of a list or bounds such as {{from: 0}}"
    found = next(faults(known, {key: rule}), '')
    if found:
      return f'the default breaks its rule: {found[:-1]}'
  return ''
