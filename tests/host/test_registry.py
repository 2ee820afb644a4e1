"""The registry in the host: overlays, their checks, and plugins that do not load."""

import os
import subprocess
import sys

import elements
import pytest
from dreamerv3 import plugins

KEYS = {'run': {'steps': 1e3, 'envs': 1, 'debug': True}, 'names': ['a'], 'task': 'x'}


def write(path, text):
  path.write_text(text)
  return str(path)


@pytest.mark.parametrize('text, words', [
    ('run:\n  debug: off\n', ["mine.yaml:2", "'run.debug'", "'off'", 'str', 'bool']),
    ('names: abc\n', ['mine.yaml:1', "'names'", "'abc'", 'list of str']),
    ('names: []\n', ['non-empty list']),
    ('names: [1]\n', ["'names'", '[1]']),
    ('task: x\nrun.envs: 1.5\n', ['mine.yaml:2', "'run.envs'", '1.5', 'float', 'int']),
    ('run.envs: yes\n', ["'run.envs'", 'str']),
    ('run.envs: true\n', ["'run.envs'", 'bool']),
    ('run: {step: 3}\n', ['mine.yaml:1', "'run.step'", 'did you mean', 'run.steps']),
    ('.*\\.nothing: 3\n', ['nothing']),
    ('*: 3\n', ['mine.yaml']),
    ('a: [1,\nb: 2\n', ['mine.yaml', 'not valid YAML']),
    ('a: 1\na: 2\n', ['mine.yaml:2', 'not valid YAML']),
    ('- a\n', ['mine.yaml:1', 'mapping', 'list']),
    ('', ['mine.yaml:1', 'empty'])])
def test_overlay_errors_name_file_line_key_value_type(tmp_path, text, words):
  with pytest.raises(plugins.PluginError) as error:
    plugins.overlay(write(tmp_path / 'mine.yaml', text), KEYS)
  message = str(error.value)
  assert all(x in message for x in words), message
  assert '\n' not in message


@pytest.mark.parametrize('text, changes', [
    ('run: {steps: 3e4, debug: False}\n', {'run.steps': 3e4, 'run.debug': False}),
    ('run.steps: 7\n', {'run.steps': 7.0}),
    ('names: [b, c]\n', {'names': ('b', 'c')}),
    ('.*\\.envs: 4\n', {'run.envs': 4}),
    ('x: &x {envs: 2}\n', None),
    ('run.envs: 1e2\n', {'run.envs': 100})])
def test_overlay_values(tmp_path, text, changes):
  path = write(tmp_path / 'mine.yaml', text)
  if changes is None:
    with pytest.raises(plugins.PluginError):
      plugins.overlay(path, KEYS)
    return
  config = elements.Config(KEYS).update(plugins.overlay(path, KEYS))
  assert {k: config[k] for k in changes} == changes


def test_an_overlay_that_is_not_there_names_a_cure(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(plugins.PluginError, match="^The overlay file 'mine.yaml' cannot be read: No such .*; name a YAML file"):
    plugins.overlay('mine.yaml', KEYS)
  (tmp_path / 'mine.yaml').write_text('# Nothing yet.')
  with pytest.raises(plugins.PluginError, match='but this is empty; write a line such as run.steps: 1000'):
    plugins.overlay('mine.yaml', {'run': {'steps': 1}})
  (tmp_path / 'mine.yaml').write_text('run.steps: 1000')
  assert plugins.overlay('mine.yaml', {'run': {'steps': 1}}) == {'run.steps': 1000}


@pytest.mark.parametrize('make', [
    os.mkfifo, lambda x: x.symlink_to('/dev/zero'), lambda x: x.mkdir()])
def test_an_overlay_is_a_regular_file(tmp_path, make):
  """A pipe would be waited for, and a device read for ever."""
  make(tmp_path / 'mine.yaml')
  with pytest.raises(plugins.PluginError, match='mine.yaml.*cannot be read: it is no regular file'):
    plugins.overlay(tmp_path / 'mine.yaml', KEYS)


def test_path_wherever_a_name_is(overlays, tmp_path):
  path = write(tmp_path / 'mine.yaml', 'task: metaworld_drawer-open\n')
  assert overlays[path] == {'task': 'metaworld_drawer-open'}


def test_unknown_overlay_offers_near_names(overlays):
  with pytest.raises(plugins.PluginError, match="'metaword'.*metaworld"):
    overlays['metaword']


def test_our_overlays_only_change_values(overlays):
  config = elements.Config(overlays['defaults'])
  for name in overlays.files:
    config.update(overlays[name])  # Raises for an unknown key or another type.
  assert {'vid2act', 'metaworld', 'quickstart'} <= set(overlays.files)


SIZES = {  # deter, hidden, classes, depth, units
    'size1m': (512, 64, 4, 4, 64), 'size12m': (2048, 256, 16, 16, 256),
    'size25m': (3072, 384, 24, 24, 384), 'size50m': (4096, 512, 32, 32, 512),
    'size100m': (6144, 768, 48, 48, 768), 'size200m': (8192, 1024, 64, 64, 1024),
    'size400m': (12288, 1536, 96, 96, 1536)}


@pytest.mark.parametrize('name', SIZES)
def test_size_presets(overlays, name):
  """The host's presets reach every module of the host's, and of ours relevance and VAE."""
  before = elements.Config(overlays['defaults']).update(overlays['vid2act'])
  after = before.update(overlays[name])
  rssm, enc, dec = after.agent.dyn.rssm, after.agent.enc.simple, after.agent.dec.simple
  assert (rssm.deter, rssm.hidden, rssm.classes, enc.depth, enc.units) == SIZES[name]
  assert (dec.depth, dec.units) == SIZES[name][3:]
  heads = ('rewhead', 'conhead', 'policy', 'value')
  assert {after.agent[x].units for x in heads} == {SIZES[name][4]}
  changed = {k for k in after.flat if after.flat[k] != before.flat[k]}
  ours = {f'agent.vid2act.{x}.units': after.agent.vid2act[x].units for x in ('relevance', 'vae')}
  assert set(ours.values()) == {SIZES[name][4]}
  assert {k for k in changed if 'vid2act' in k or not k.startswith('agent.')} <= set(ours)


def test_defaults_only_add():
  with pytest.raises(plugins.PluginError, match="'p'.*'run.steps'"):
    plugins.extend(KEYS, {'run': {'steps': 3}}, 'p')
  assert plugins.extend(KEYS, {'run': {'more': 3}}, 'p')['run'] == {**KEYS['run'], 'more': 3}


def test_unknown_names(configure):
  config = configure()
  with pytest.raises(plugins.PluginError, match="agent.typ.*vid2act"):
    plugins.agent(config.update({'agent.typ': 'vid2akt'}))
  with pytest.raises(plugins.PluginError, match="'metawrld'.*metaworld"):
    plugins.env('metawrld')
  with pytest.raises(plugins.PluginError, match="'trian'.*train_eval"):
    plugins.run(config.update(script='trian'), None)


@pytest.mark.parametrize('returned, words', [
    (None, 'returned a NoneType instead of a dict'), (['agents'], 'a list instead of a dict'),
    ({'agent': {}}, "the key 'agent', which nothing asks for; did you mean agents"),
    ({'agents': [1]}, 'agents as a list instead of a dict'),
    ({'defaults': 3}, 'defaults as a int instead of the path of a file'),
    ({'scripts': {'train': print}}, 'scripts as a dict instead of a function')])
def test_what_a_plugin_returns(returned, words):
  with pytest.raises(plugins.PluginError, match=words):
    plugins._check('theirs', returned)


@pytest.mark.parametrize('kind', ['overlays', 'agents', 'envs'])
def test_two_plugins_with_one_name(kind):
  one, two = {kind: {'a': 1, 'b': 2}}, {kind: {'b': 3}}
  with pytest.raises(plugins.PluginError, match=f"'one' and 'two' both have 'b' among their {kind}"):
    plugins._once({'one': one, 'two': two}, kind)
  plugins._once({'one': one, 'two': {kind: {'c': 3}}}, kind)


def test_without_plugins_and_with_a_broken_one(tmp_path):
  """`DREAMERV3_PLUGINS` empties the list; a plugin that fails to load is named."""
  info = tmp_path / 'broken-1.0.dist-info'
  info.mkdir()
  (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n')
  (info / 'entry_points.txt').write_text('[dreamerv3.plugins]\nbroken = broken_plugin:plugin\n')
  code = 'from dreamerv3 import plugins; print(sorted(plugins.load()))'
  run = lambda names: subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True,
      env={'PYTHONPATH': str(tmp_path), 'DREAMERV3_PLUGINS': names, 'PATH': '/usr/bin'})
  assert run('').stdout == '[]\n'
  assert run('vid2act').stdout == "['vid2act']\n"
  for names, words, program in (
      ('broken', 'ModuleNotFoundError', None), ('nowhere', 'not installed', None),
      ('broken', "the key 'agent'", 'plugin = lambda: dict(agent={})'),
      ('broken', 'SystemExit: 3', 'raise SystemExit(3)')):
    if program:
      (tmp_path / 'broken_plugin.py').write_text(program)
    result = run(names)
    assert result.returncode == 1 and names in result.stderr and words in result.stderr
    assert 'Traceback' not in result.stderr
