"""Texts are read and written as UTF-8, whatever the locale: JSON and YAML are so by definition."""

import ast
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from helpers import lerobot

from vid2act_plugin.sources import recording
from vid2act_plugin.training import scores

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


@pytest.fixture(scope='module')
def gbk(tmp_path_factory):
  """The environment of a process whose locale is not UTF-8."""
  folder = tmp_path_factory.mktemp('locale')
  if not shutil.which('localedef'):
    pytest.skip('needs localedef')
  subprocess.run(
      ['localedef', '-i', 'zh_CN', '-f', 'GBK', folder / 'zh_CN.GBK'], capture_output=True)
  env = {**os.environ, 'LOCPATH': str(folder), 'LC_ALL': 'zh_CN.GBK', 'PYTHONUTF8': '0'}
  said = subprocess.run([sys.executable, '-c', 'import locale; print(locale.getencoding())'],
                        env=env, capture_output=True, text=True).stdout
  if 'gb' not in said.lower():
    pytest.skip('there is no such locale')
  return env


def test_names_are_read_and_written_in_any_locale(gbk, tmp_path):
  """In one process, which imports a data set and plots runs of which one name is no ASCII."""
  lerobot.write(tmp_path / 'set', tasks=('打开门',))
  row = dict(task='a_b', method='方法', seed=0, xs=[0, 1], ys=[1, 2])
  scores.save(tmp_path / 'runs/score.json.gz', [row])
  code = f"""
import locale, pathlib
from vid2act_plugin import cli
from vid2act_plugin.common import safe_yaml
cli.main(['import', '{tmp_path}/set', '--out', '{tmp_path}/out'])
cli.main(['plot', '{tmp_path}/runs', '--out', '{tmp_path}/plot'])
path = pathlib.Path('{tmp_path}/config.yaml')
for encoding in ('utf-8', locale.getencoding()):
  path.write_text('task: ' + chr(0x95e8), encoding=encoding)
  assert safe_yaml.load(path) == dict(task=chr(0x95e8)), encoding
"""
  done = subprocess.run([sys.executable, '-c', code], env=gbk, capture_output=True)
  assert done.returncode == 0, done.stderr.decode(errors='replace')
  assert len(recording.load(tmp_path / 'out/set')[1]) == 3
  for name in ('comparison.md', 'comparison.csv'):
    assert '方法' in (tmp_path / 'plot' / name).read_text(encoding='utf-8')
