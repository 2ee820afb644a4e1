"""One HTML page that holds all it shows: text of others stays text, and nothing is fetched.

What a page shows are blocks, dicts of which `kind` names the macro of the template that draws them.
The page's content security policy allows the one script that is ours, and no address at all.
"""

import base64
import hashlib
import math
import pathlib

from .output import printable

LONGEST = 300  # Characters of a text of others.


def render(folder, **content):
  """Return the page of the template `page.html` in a folder, with `page.css` and `page.js` in it."""
  import jinja2
  from markupsafe import Markup
  read = lambda name: pathlib.Path(folder, name).read_text(encoding='utf-8')
  env = jinja2.Environment(
      loader=jinja2.FunctionLoader(read), autoescape=True, undefined=jinja2.StrictUndefined,
      finalize=lambda x: printable(x) if type(x) is str else x, trim_blocks=True, lstrip_blocks=True)
  script = read('page.js')
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  return env.get_template('page.html').render(
      script=Markup(script), style=Markup(read('page.css')), digest=digest, **content)


def facts(rows):
  """Return a block of (name, text) pairs; those without a text are left out."""
  return dict(kind='facts', rows=[(k, text(v)) for k, v in rows if v not in (None, '')])


def table(title, columns, rows):
  """Return a block that the reader can sort; a cell is a text, a number, None, or (text, number).

  Columns in which nothing is known are left out.
  """
  cells = [[*map(cell, x)] for x in rows]
  kept = [i for i in range(len(columns)) if any(x[i]['sort'] != '' for x in cells)]
  return dict(
      kind='table', title=title, rows=[[x[i] for i in kept] for x in cells], columns=[
          dict(text=columns[i], number=all(x[i]['sort'] is not None for x in cells)) for i in kept])


def cell(value):
  """Return what a cell shows and what it is sorted by: a number, None for its text, '' for last."""
  shown, number = value if isinstance(value, tuple) else (value, value)
  if number is None or isinstance(number, float) and math.isnan(number):
    return dict(text='–', sort='')
  if isinstance(number, str):
    return dict(text=text(shown), sort=None)
  return dict(text=text(shown), sort=repr(float(number)))


def chart(title, drawn, note=''):
  """Return a block of what `charts` has drawn."""
  return dict(kind='chart', title=title, note=note, src=uri(drawn['svg'], 'image/svg+xml'), **{
      k: drawn[k] for k in ('left', 'right', 'top', 'bottom')})


def film(title, sheet, milliseconds, along=None):
  """Return a block that plays a sheet of `films`; along: a block beside it that follows."""
  sheet = dict(sheet, src=uri(sheet['data'], 'image/webp'), data=None)
  return dict(kind='film', title=title, sheet=sheet, time=max(50, milliseconds), along=along)


def picture(title, png):
  """Return a block of a picture, bytes of PNG."""
  return dict(kind='picture', title=title, src=uri(png, 'image/png'))


def lines(title, content, closed=False):
  """Return a block of lines as they are; closed: the reader opens it."""
  return dict(kind='lines', title=title, lines=list(content), closed=closed)


def words(*sentences):
  return dict(kind='words', sentences=sentences)


def uri(content, kind):
  return f'data:{kind};base64,{base64.b64encode(content).decode()}'


def text(value):
  """Return a value in words, not endless."""
  if isinstance(value, bool) or not isinstance(value, (int, float)):
    value = value if isinstance(value, str) else str(value)
    return value if len(value) <= LONGEST else f'{value[:LONGEST - 1]}…'
  if math.isfinite(value) and value == round(value) and abs(value) < 1e15:
    return f'{round(value):,}'
  return f'{value:.3g}'


def fitting(value, shape):
  """Return what of a value of JSON, which may be anyone's, has a shape; None if it is another.

  shape: `str`, `float` (whole numbers, too), a list of one shape, a dict of shapes by key, or
  `{str: shape}` for any key. What does not fit inside is left out.
  """
  if shape is str:
    return value if isinstance(value, str) else None
  if shape is float:
    good = type(value) in (int, float) and abs(value) <= 1e100
    return value if good else None
  if isinstance(shape, list):
    found = [fitting(x, shape[0]) for x in (value if isinstance(value, list) else ())]
    return [x for x in found if x is not None]
  value = value if isinstance(value, dict) else {}
  keys = {k: shape[str] for k in value} if str in shape else shape
  found = {k: fitting(value.get(k), v) for k, v in keys.items()}
  return {k: v for k, v in found.items() if v is not None} if str in shape else found
