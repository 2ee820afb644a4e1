"""The one door to the terminal: all that we print goes through it.

Names, versions and sentences may come from files of others. Whatever in them steers a terminal
or breaks the line becomes '?': escape sequences, carriage returns, bidirectional controls, half
characters. `[red]` and `:smile:` are shown as they are written.
"""

import collections
import contextlib
import io
import json
import sys

NOTED = collections.deque(maxlen=1000)  # Lines of `note` that no run has kept yet.
_documents = None  # Where `document` prints while `aside` sends all else elsewhere.


def printable(text):
  """Return a text with '?' for all characters that are not printed."""
  return ''.join(x if x.isprintable() else '?' for x in text)


def count(number, word):
  """Return a number with its word: 1 episode, 2 episodes."""
  return f'{number} {word}{"s" * (number != 1)}'


def say(*lines):
  """Print every value as one line."""
  _write(''.join(f'{printable(str(x))}\n' for x in lines))


def note(*lines):
  """Print lines that are worth reading again after the run, which keeps them in its logdir."""
  say(*lines)
  NOTED.extend(printable(str(x)) for x in lines)


@contextlib.contextmanager
def aside(on):
  """Print to standard error meanwhile, if `on`: standard output gets a `document` and nothing else."""
  global _documents
  _documents = sys.stdout if on else None
  try:
    with contextlib.redirect_stdout(sys.stderr if on else sys.stdout):
      yield
  finally:
    _documents = None


def document(value):
  """Print a value as JSON on standard output, `aside` or not."""
  stream = _documents or sys.stdout
  stream.write(json.dumps(value, indent=1) + '\n')  # ASCII, in which nothing steers a terminal.
  stream.flush()


def table(title, columns, rows):
  """Print a table of strings, numbers, and lists of these, which are the lines of a cell."""
  from rich import box, console
  from rich.table import Table
  drawn = Table(
      title=printable(title), title_justify='left', show_header=any(columns),
      box=box.SIMPLE_HEAD if encodes('─') else box.ASCII_DOUBLE_HEAD)
  for column in columns:
    drawn.add_column(_cell(column), overflow='fold')
  for row in rows:
    drawn.add_row(*map(_cell, row))
  live = sys.stdout.isatty()
  # Elsewhere a line is as long as it has to be: a file has no width.
  out = console.Console(
      file=io.StringIO(), width=None if live else 10 ** 4, force_terminal=live, markup=False,
      emoji=False, highlight=False)
  out.print(drawn)
  _write(out.file.getvalue())


def encodes(text):
  """Say whether standard output can show all characters of a text."""
  return text.encode(_encoding(), 'replace').decode(_encoding()) == text


def _cell(value):
  return '\n'.join(printable(str(x)) for x in (value if isinstance(value, list) else [value]))


def _encoding():
  return getattr(sys.stdout, 'encoding', None) or 'utf-8'


def _write(text):
  # A terminal of another encoding shows '?' as well, where Python would raise an error.
  sys.stdout.write(text.encode(_encoding(), 'replace').decode(_encoding()))
  sys.stdout.flush()
