"""Text tables as people have them: names in a comment or none, blanks, semicolons, an index.

The first lines decide how the rest is read; what they leave open is refused.
"""

import csv
import dataclasses
import itertools
import re

from ...common import files
from ...common.budget import FEW, FREE

LOOKED = 1000  # Rows that are looked at, where the first one may be of names or of numbers.


@dataclasses.dataclass
class Head:
  """How to read a file: names of its columns, [] if it has none, and the lines before its rows."""

  names: list
  lines: int
  delimiter: str
  decimal: str


def read(path):
  """Return a file of separated values as a table of Arrow.

  Names come from the first line, or from the last comment before the rows. Raises a
  `ValueError` where the first line may be one of names or of numbers.
  """
  import pyarrow.csv as pc
  head = _head(path)
  return pc.read_csv(
      path, pc.ReadOptions(
          skip_rows=head.lines, column_names=head.names or None,
          autogenerate_column_names=not head.names),
      pc.ParseOptions(delimiter=head.delimiter), pc.ConvertOptions(decimal_point=head.decimal))


def _head(path):
  with open(files.regular(path), encoding='utf-8-sig') as file:
    lines, comment, first, excel = 0, '', '', ''
    while not first or first.startswith('#') or first == excel:
      comment, lines = first.lstrip('#') if first.startswith('#') else comment, lines + 1
      if not (line := file.readline(FREE)):
        raise ValueError('it has no rows')
      if lines > FEW:
        raise ValueError(f'it has more than {FEW:,} lines before its rows')
      first = line.strip()
      excel = first if lines == 1 and re.fullmatch('(?i)sep=.', first) else ''
    after = [x.strip() for x in itertools.islice(iter(lambda: file.readline(FREE), ''), LOOKED)]
  after = [x for x in after if x]
  delimiter = _delimiter(first)
  cells = _cells(first, delimiter)
  if len(cells) > FEW:
    raise ValueError(f'it has more than {FEW:,} columns')
  decimal = ',' if delimiter == ';' and ',' in ''.join([first, *after][:2][-1:]) else '.'
  if not all(_is_number(x, decimal) for x in cells):
    return Head(_unique(cells), lines, delimiter, decimal)
  names = _cells(comment, delimiter) if comment else []
  if len(names) == len(cells) and not all(_is_number(x, decimal) for x in names):
    return Head(_unique(names), lines - 1, delimiter, decimal)
  if _counts(cells):
    if len(cells) < 2 or any(all(map(_is_whole, _cells(x, delimiter))) for x in after) or not after:
      raise ValueError(
          f"its first line is '{first:.80}', which may be the names of its columns or a row; give "
          'it a first line of names, such as action_0')
    return Head(cells, lines, delimiter, decimal)
  return Head([], lines - 1, delimiter, decimal)


def _delimiter(first):
  if ';' in first and (',' not in first or all(
      _is_number(x, ',') for x in first.split(';') if x.strip())):
    return ';'
  if '\t' in first and ',' not in first:
    return '\t'
  if ',' not in first and ' ' in first and all(_is_number(x, '.') for x in first.split(' ')):
    return ' '
  return ','


def _cells(line, delimiter):
  row = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
  return [x.strip() for x in row]


def _unique(names):
  """Name columns without a name as pandas does; two of one name are a `ValueError`."""
  names = [x or f'Unnamed: {i}' for i, x in enumerate(names)]
  if twice := [x for x in names if names.count(x) > 1]:
    raise ValueError(f"it has two columns called '{twice[0]:.80}'")
  return names


def _counts(cells):
  """Say whether cells are 0, 1, 2, ... or 1, 2, 3, ..., as columns without names are called."""
  return any(cells == [str(i) for i in range(s, s + len(cells))] for s in (0, 1))


def _is_whole(text):
  return text.lstrip('+-').isdecimal()


def _is_number(text, decimal):
  try:
    float(text.replace(decimal, '.') if decimal == ',' else text)
  except ValueError:
    return False
  return True
