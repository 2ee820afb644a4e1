"""Names of files as people and programs number them: by steps, by times, by copies.

A name's pattern is what is left of it with '#' for every number.
"""

import decimal
import pathlib
import re

NUMBER = r'\d+(?:\.\d+)?(?:e[+-]\d{1,3}(?!\d))?'  # As Python prints times.
COPIES = re.compile(r'(.*?) ?\(#\)|(.*) #')  # After one without a number: x, x (1) or x 2, x 3.


def text(path):
  """Return the name of a file or folder without what is a suffix and no number."""
  return re.sub(r'(?<=.)\.[A-Za-z]\w*$', '', pathlib.PurePath(path).name)


def natural(paths):
  """Return paths in the order of their names, with numbers by value; x comes before x (1).

  Parts after a dot are decimals, unless one of another length ends in 0: 0.1, 0.15, 0.2 are
  times, and 1.1, 1.9, 1.10 are not. Where all names are numbers, they may be negative.
  """
  names = [*map(text, paths)]
  form = NUMBER if _decimals(names) else r'\d+'
  signed = all(re.fullmatch(f'-?{form}', x) for x in names)
  def key(path):
    name = text(path)
    parts = re.split(f'({form})', name.lstrip('-') if signed else name)
    sign = -1 if signed and name.startswith('-') else 1
    return [
        (sign * decimal.Decimal(x), '') if i % 2 else (0, x) for i, x in enumerate(parts)
    ], path.name
  return sorted(paths, key=key)


def series(paths):
  """Return the paths of the one large series among them, in order, and those of no series.

  A series are more than half of them, with names of one pattern: the rest is something else,
  such as a preview. Where there is none, all belong together.
  """
  groups = _groups(paths)
  most = max(groups, key=lambda k: len(groups[k]), default='')
  if 2 * len(groups.get(most, ())) <= len(paths):
    return natural(paths), []
  found = groups.pop(most)
  if copies := COPIES.fullmatch(most):
    first = min(int(last(text(x))) for x in found)
    if first == 2 or copies[1] is not None and first == 1:
      found += groups.pop(copies[1] or copies[2], [])
  return natural(found), natural([x for group in groups.values() for x in group])


def rivals(paths):
  """Return `[(pattern, count)]` of series of which none is most, and that may show the same time; else [].

  Two such are of one length, or share numbers. Where all names are numbers, a sign makes no other series.
  """
  groups = {k: v for k, v in _groups(paths).items() if len(v) > 1}
  found = [groups[k] for k in sorted(groups, key=lambda k: (-len(groups[k]), k))]
  names = {*map(text, paths)}
  signed = len(names) == len(paths) and all(re.fullmatch(f'-?{NUMBER}', x) for x in names)
  if signed or len(found) < 2 or 2 * len(found[0]) > len(paths):
    return []
  numbers = [{tuple(re.findall(r'\d+', text(x))) for x in group} for group in found]
  if len(found[0]) > len(found[1]) and sum(map(len, numbers)) == len(set().union(*numbers)):
    return []
  return [(pattern(text(x[0])) + x[0].suffix, len(x)) for x in found]


def _groups(paths):
  groups, twice = {}, len({*map(text, paths)}) < len(paths)
  for path in paths:
    groups.setdefault(pattern(text(path)) + path.suffix.lower() * twice, []).append(path)
  return groups


def pattern(name):
  """Return a name with '#' for every number."""
  return re.sub(NUMBER, '#', name)


def last(name):
  """Return the digits of the last number in a name without leading zeros, None if it has none."""
  found = re.findall(r'\d+', name)
  return (found[-1].lstrip('0') or '0') if found else None


def numbers(paths):
  """Return the last number of every name, `[N]` int, if nothing else differs; otherwise None."""
  names = [*map(text, paths)]
  rest = {re.sub(r'\d+(?!.*\d)', '#', x) for x in names}
  if len(rest) != 1 or '#' not in ''.join(rest) or any('.' in x for x in names):
    return None
  return [int(last(x)) for x in names]


def owners(values, names):
  """Return `{name: set of values}`: which of the values in a column means which of the names.

  A value is the name itself, also with a suffix or a folder before it, or, where no value is a
  name, the number at its end. Returns None where numbers cover neither all names nor all
  values: they may be counted from elsewhere.
  """
  texts = {x: pathlib.PurePath(str(x).strip()).name for x in values}
  found = {name: {v for v, x in texts.items() if name in (x, text(x))} for name in names}
  if any(found.values()) and not all(map(_whole, names)):
    return found
  mine = {x: _whole(x) or last(x) for x in names}
  if len({*mine.values()}) < len(mine):
    return None
  theirs = {v: _number(x) for v, x in texts.items()}
  found = {name: {v for v, x in theirs.items() if x and x == mine[name]} for name in names}
  rest = {*values} - {v for x in found.values() for v in x}
  return None if rest and not all(found.values()) else found


def _whole(name):
  """Return the digits of a whole number, 7 of '7.0' and '007' too; None of anything else."""
  found = re.fullmatch(r'0*(\d+)(?:\.0+)?', name)
  return found and found.group(1)


def _number(name):
  return _whole(name) or (None if re.fullmatch(r'[-+.\de]+', name) else last(text(name)))


def _decimals(names):
  found = [x for name in names for x in re.findall(r'\d\.(\d+)', name)]
  return len({*map(len, found)}) < 2 or not any(len(x) > 1 and x.endswith('0') for x in found)
