"""The one door to the terminal, and that nothing leaves by another one."""

import ast
import io
import json
import re
import sys

import pytest
from helpers.nasty import MEANS, NASTY, STEERS, plain
from test_layers import FILES

from vid2act_plugin.common import output, progress
from vid2act_plugin.common.errors import UserError


@pytest.mark.parametrize('kind', STEERS)
def test_what_steers_a_terminal_is_not_printed(kind, capsys):
  output.say(f'name {STEERS[kind]}', 'next')
  first, second, rest = capsys.readouterr().out.split('\n')
  assert plain(first) and '?' in first and (second, rest) == ('next', '')


def test_what_is_printed_stays_as_it_is(capsys):
  output.say(f'Größe 大小 {MEANS}', 3)
  assert capsys.readouterr().out == f'Größe 大小 {MEANS}\n3\n'


def test_tables_show_names_as_they_are_written(capsys):
  output.table(f'title {NASTY}', ('one', ['two', 'lines']), [(NASTY, [1, NASTY]), ('[bold]', ':a:')])
  text = capsys.readouterr().out
  assert plain(text) and text.count(MEANS) == 3 and '[bold]' in text and ':a:' in text
  assert [x.split()[-1] for x in text.splitlines() if x.split()[-1:] in (['two'], ['lines'])] == [
      'two', 'lines']


@pytest.mark.parametrize('encoding', ['ascii', 'gbk', 'latin-1'])
def test_a_terminal_of_another_encoding(encoding, monkeypatch):
  raw = io.BytesIO()
  monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(raw, encoding))
  output.say('a 大 ü 🙂 b')
  output.table('t', ('a',), [('🙂',)])
  with progress.stage('🙂'):
    pass
  text = raw.getvalue().decode(encoding)
  assert text.startswith('a ') and '🙂' not in text and text.count('?') >= 4


def test_bars_and_errors_are_clean(capsys):
  with progress.bar(f'work {NASTY}', 2, 'steps') as bar:
    bar.text(f'at {NASTY}')
  with progress.stage(NASTY):
    pass
  text = capsys.readouterr().out
  assert plain(text) and text.count(MEANS) == 5
  error = UserError(f'The file {NASTY} is no file.', ['one', f'two {NASTY}'])
  first, second, third = str(error).split('\n')
  assert plain(str(error)) and second == 'one' and third.startswith('two ?')


def test_standard_output_is_a_document_and_nothing_else(capsys):
  with output.aside(True):
    output.say('before')
    with progress.bar('work', 1):
      pass
    output.document({'name': NASTY})
    output.say('behind')
  out, err = capsys.readouterr()
  assert json.loads(out) == {'name': NASTY} and plain(out)
  assert all(x in err for x in ('before', 'work', 'behind'))
  output.document([1])
  output.say('after')
  assert capsys.readouterr().out == '[\n 1\n]\nafter\n'


def test_nothing_else_prints():
  """Neither `print` nor a stream: what comes from files could steer the terminal."""
  wrong = []
  for module, path in FILES.items():
    for node in ast.walk(ast.parse(path.read_text())):
      text = ast.unparse(node.func) if isinstance(node, ast.Call) else ''
      direct = text in ('print', 'Console', 'console.Console', 'elements.print', 'warnings.warn')
      if direct or text.startswith(('sys.stdout.write', 'sys.stderr.write')):
        wrong.append(f'{module}:{node.lineno}: {text}')
  allowed = {'common.output: sys.stdout.write', 'common.output: console.Console',
             'common.progress: Console'}
  assert {f"{x.split(':')[0].partition('.')[2]}:{x.split(':')[2]}" for x in wrong} == allowed, wrong


class Terminal(io.StringIO):

  def isatty(self):
    return True


def test_a_live_terminal_gets_the_colours_of_tables_and_bars_alone(monkeypatch):
  monkeypatch.setenv('TERM', 'xterm')
  monkeypatch.setenv('COLUMNS', '900')
  monkeypatch.setattr(sys, 'stdout', screen := Terminal())
  output.table(f'title {NASTY}', ('one', 'two'), [(NASTY, [NASTY, '[red]'])])
  with progress.bar(f'work {NASTY}', 2, 'steps') as bar:
    bar.text(NASTY)
    progress._live.refresh()
  text = re.sub(r'\x1b\[[?0-9;]*[A-Za-z]', '', screen.getvalue()).replace('\r', '')
  assert plain(text) and text.count(MEANS) >= 5
