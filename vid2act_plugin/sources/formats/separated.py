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
WORDS = {  # In small letters: cells of rows that are no numbers, and no names of columns either.
    'true', 'false', 'na', 'n/a', '<na>', 'nat', 'nan', '-nan', 'null', 'none', '-', '--', '.', '?', '#n/a', '#n/a n/a',
    '#na', '#null!', '#div/0!', '#value!', '#ref!', '#name?', '#num!', '1.#ind', '-1.#ind', '1.#qnan', '-1.#qnan'}
COMMENT = re.compile(r'#(?!(N/?A|N/A N/A|NULL!|DIV/0!|VALUE!|REF!|NAME\?|NUM!)\s*([,;\t]|$))')


@dataclasses.dataclass
class Head:
  """How to read a file: names of its columns, [] if it has none, and the lines before its rows.

  ends: whether the lines that were looked at end in the delimiter.
  """

  names: list
  lines: int
  delimiter: str
  decimal: str
  ends: bool


def read(path):
  """Return a file of separated values as a table of Arrow.

  Names come from the first line, or from the last comment before the rows; what is missing in a
  row is null. A last column that is empty throughout and has no name is none. Raises a
  `ValueError` where the first line may be one of names or of numbers.
  """
  import pyarrow.csv as pc
  head = _head(path)
  with open(files.regular(path), 'rb') as file:  # Arrow itself finds no path that is no UTF-8.
    table = pc.read_csv(
        file, pc.ReadOptions(
            skip_rows=head.lines, column_names=head.names or None,
            autogenerate_column_names=not head.names),
        pc.ParseOptions(delimiter=head.delimiter), pc.ConvertOptions(decimal_point=head.decimal))
  empty = head.ends and table.columns[-1].null_count == len(table)
  return table.remove_column(table.num_columns - 1) if empty else table


def _lines(path):
  """Return the first line that is no comment, its number, those after it, and the last comment before it."""
  with open(files.regular(path), encoding='utf-8-sig') as file:
    lines, comment, first, excel = 0, '', '', ''
    while not first or COMMENT.match(first) or first == excel:
      comment, lines = first.lstrip('#') if first.startswith('#') else comment, lines + 1
      if not (line := file.readline(FREE)):
        raise ValueError('it has no rows')
      if lines > FEW:
        raise ValueError(f'it has more than {FEW:,} lines before its rows')
      first = line.strip()
      excel = first if lines == 1 and re.fullmatch('(?i)sep=.', first) else ''
    after = [x.strip() for x in itertools.islice(iter(lambda: file.readline(FREE), ''), LOOKED)]
  return first, lines, [x for x in after if x], comment


def _head(path):
  first, lines, after, comment = _lines(path)
  delimiter = _delimiter(first)
  cells = _cells(first, delimiter)
  if len(cells) > FEW:
    raise ValueError(f'it has more than {FEW:,} columns')
  decimal = ',' if delimiter == ';' and ',' in ''.join([first, *after][:2][-1:]) else '.'
  ends = all(x.endswith(delimiter) for x in [first, *after])
  style, told = (delimiter, decimal, ends), cells[:len(cells) - ends]
  unclear = ValueError(
      f"its first line is '{first:.80}', which may be the names of its columns or a row; give "
      'it a first line of names, such as action_0')
  if _names(cells, decimal):
    if any(_is_number(x, decimal) and not _is_whole(x) for x in cells):  # A row that begins with a time or a file.
      raise unclear
    return Head(_unique(cells), lines, *style)
  names = _cells(comment, delimiter) if comment else []
  if len(names) in (len(cells), len(told)) and _names(names, decimal):
    return Head(_unique([*names, ''][:len(cells)]), lines - 1, *style)
  if _counts(told):
    if len(told) < 2 or any(all(map(_is_whole, _cells(x, delimiter)[:len(told)])) for x in after) or not after:
      raise unclear
    return Head(_unique(cells), lines, *style)
  if not told[0] and _counts(told[1:]):  # As pandas writes columns without names, behind an index.
    index = [_cells(x, delimiter)[0] for x in after]
    if len({*index}) < len(index) or any(not x or _is_number(x, decimal) and not _is_whole(x) for x in index):
      raise unclear
    return Head(_unique(cells), lines, *style)
  return Head([], lines - 1, *style)


def _delimiter(first):
  if ';' in first and (',' not in first or all(
      _is_value(x.strip(), ',') for x in first.split(';') if x.strip())):
    return ';'
  if '\t' in first and ',' not in first:
    return '\t'
  if ',' not in first and ' ' in first and all(_is_value(x, '.') for x in first.split(' ')):
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


def _names(cells, decimal):
  """Say whether a cell can only be the name of a column; one that is empty may be a missing number."""
  return any(x and not _is_value(x, decimal) for x in cells)


def _counts(cells):
  """Say whether cells are 0, 1, 2, ... or 1, 2, 3, ..., as columns without names are called."""
  return bool(cells) and any(cells == [str(i) for i in range(s, s + len(cells))] for s in (0, 1))


def _is_whole(text):
  return text.lstrip('+-').isdecimal()


def _is_value(text, decimal):
  return text.lower() in WORDS or _is_number(text, decimal)


def _is_number(text, decimal):
  try:
    float(text.replace(decimal, '.') if decimal == ',' else text)
  except ValueError:
    return False
  return True
