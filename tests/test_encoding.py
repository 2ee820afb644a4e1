"""Texts are read and written as UTF-8, whatever the locale: JSON and YAML are so by definition."""

import ast
import pathlib

import pytest

TOP = pathlib.Path(__file__).parents[1]
OPENS = 'open', 'fdopen'
TEXTS = 'read_text', 'write_text'
FOLDERS = 'vid2act_plugin', 'patches'


def unsaid(source):
  """Return the lines on which a text is opened, read or written in the locale's encoding."""
  return [x.lineno for x in ast.walk(ast.parse(source)) if isinstance(x, ast.Call) and _local(x)]


def _local(call):
  name = getattr(call.func, 'attr', getattr(call.func, 'id', ''))
  if any(x.arg in ('encoding', None) for x in call.keywords):
    return False
  if name in TEXTS:
    return len(call.args) < 1 + (name == 'write_text')
  if name not in OPENS or ast.unparse(call.func).startswith(NOT_TEXT):
    return False
  method = isinstance(call.func, ast.Attribute) and name == 'open' and len(call.args) < 2
  mode = call.args[0 if method else 1:][:1] + [x.value for x in call.keywords if x.arg == 'mode']
  return not mode or isinstance(mode[0], ast.Constant) and 'b' not in str(mode[0].value)


# Whose `open` opens no text: of descriptors, archives, films, pictures and Arrow's files.
NOT_TEXT = 'os.open', 'gzip.', 'tarfile.', 'av.', 'Image.', 'zipfile.', 'archive.', 'container.'


@pytest.mark.parametrize('folder', FOLDERS)
def test_every_text_is_utf8(folder):
  wrong = [
      f'{path.relative_to(TOP)}:{line}' for path in sorted((TOP / folder).rglob('*.py'))
      for line in unsaid(path.read_text(encoding='utf-8'))]
  assert not wrong, wrong


@pytest.mark.parametrize('code, found', [
    ('p.read_text()', 1), ('p.write_text(x)', 1), ('open(p)', 1), ("open(p, 'w')", 1),
    ("p.open('a')", 1), ("os.fdopen(f, 'w')", 1), ("open(p, mode='w')", 1),
    ("p.read_text('utf-8')", 0), ("open(p, 'rb')", 0), ("p.open('rb')", 0), ('os.open(p, 1)', 0),
    ("open(p, encoding='utf-8')", 0), ("p.write_text(x, encoding='utf-8')", 0)])
def test_the_check_notices(code, found):
  assert len(unsaid(code)) == found
