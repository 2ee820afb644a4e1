"""Malicious files: nothing in them is executed, and no file but their own is written.

Every payload makes a file that a test looks for; that it would work is shown first.
"""

import io
import json
import os
import pickle
import signal
import sys
import zipfile

import numpy as np
import pytest
from dreamerv3 import plugins
from helpers.payloads import objects, touch, works
from helpers.recordings import archive, episode, forge, write
from ruamel.yaml import YAML

from vid2act_plugin.common import files as inputs
from vid2act_plugin.common import npz
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import export
from vid2act_plugin.sources import importing as imports
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.teacher import bundle, runs


@pytest.fixture
def recording(tmp_path):
  return write(tmp_path / 'one')


def test_episodes_execute_nothing(owned, recording):
  file = recording / recordings.name(0)
  for content, load in (
      (pickle.dumps(touch()), lambda: np.load(file, allow_pickle=True)),
      (archive(**{**episode(), 'reward': objects()}),
       lambda: np.load(file, allow_pickle=True)['reward'])):
    forge(recording, content)
    works(owned, load)
    with pytest.raises(UserError, match='no readable .npz file'):
      recordings.load(recording)
    assert not owned.exists()
    with pytest.raises(UserError):
      npz.read(file, 'reward')


CHUNK = f"20240101T000000F000000-{'a' * 22}-{'0' * 22}-6"


@pytest.mark.parametrize('name', ['episode.npz', f'{CHUNK}.npz', 'film.npy'])
@pytest.mark.parametrize('whole', [True, False])
def test_imports_execute_nothing(owned, tmp_path, name, whole, capsys):
  file = tmp_path / 'in' / name
  file.parent.mkdir()
  (file.parent / 'film').mkdir()
  load = lambda: np.load(file, allow_pickle=True)
  if whole:
    file.write_bytes(pickle.dumps(touch()))
  elif file.suffix == '.npy':
    np.save(file, objects(), allow_pickle=True)
  else:
    file.write_bytes(archive(**{**episode(), 'action': np.array([objects()] * 6)}))
    load = lambda: np.load(file, allow_pickle=True)['action']
  works(owned, load)
  format = dict(e='dreamerv2', f='video').get(name[0], 'dreamerv3')
  with pytest.raises(UserError, match='no episode that can be imported'):
    imports.run(file.parent, tmp_path / 'out', format)
  assert name in capsys.readouterr().out


@pytest.mark.filterwarnings('ignore::PendingDeprecationWarning')
def test_configurations_execute_nothing(owned, overlays, tmp_path):
  path = tmp_path / 'config.yaml'
  for text in ("task: !!python/object/apply:os.system ['touch owned']\n",
               "task: !!python/object/new:os.system ['touch owned']\n"):
    path.write_text(text)
    works(owned, YAML(typ='unsafe', pure=True).load, text)
    with pytest.raises(plugins.PluginError, match='config.yaml:1'):
      overlays[str(path)]
    with pytest.raises(UserError, match='config.yaml'):
      runs.read(tmp_path)


OUTSIDE = ['../secret.npz', '../../secret.npz', '/etc/passwd',
    'episode-000000.npz/../../secret.npz',
           'episode-\u0660\u0660\u0660\u0660\u0660\u0660.npz', '', '.', 'episode-000000.npz\0']


@pytest.mark.parametrize('name', OUTSIDE)
def test_manifests_name_nothing_outside(recording, name):
  (recording / recordings.name(0)).rename(recording.parent / 'secret.npz')
  manifest = json.loads((recording / recordings.MANIFEST).read_text())
  manifest['episodes'][0]['file'] = name
  (recording / recordings.MANIFEST).write_text(json.dumps(manifest))
  for read in (recordings.load, recordings.count):
    with pytest.raises(UserError, match='is not the name of an episode'):
      read(recording)


def late(*_):
  raise TimeoutError


@pytest.mark.parametrize('kind', ['link to a folder', 'link to nothing', 'pipe', 'device'])
@pytest.mark.parametrize('name', [recordings.name(0), recordings.MANIFEST])
def test_recordings_are_plain_files_of_their_own(recording, kind, name):
  before = signal.signal(signal.SIGALRM, late)
  signal.alarm(20)
  file = recording / name
  file.unlink()
  if kind == 'pipe':
    os.mkfifo(file)  # Whoever reads it waits for ever.
  else:
    file.symlink_to({'link to nothing': 'x', 'link to a folder': '.', 'device': '/dev/zero'}[kind])
  try:
    with pytest.raises(UserError, match=f'{name} cannot be read .(it is|No such)') as error:
      recordings.load(recording)
  finally:
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
  assert str(error.value).isprintable()


def test_links_to_whole_recordings_are_followed(recording):
  (link := recording.parent / 'link').symlink_to(recording)
  assert len(recordings.load(link)[1]) == 3


@pytest.mark.parametrize('name', ['../x', '/tmp/vid2act-owned', '../../owned.npy'])
def test_archives_write_nothing(owned, recording, tmp_path, name):
  content = io.BytesIO(archive(**episode()))
  with zipfile.ZipFile(content, 'a') as file:
    file.writestr(name, b'written')
  forge(recording, content.getvalue())
  (tmp_path / 'in').mkdir()
  (tmp_path / 'in' / 'a.npz').write_bytes(content.getvalue())
  before = {str(x) for x in tmp_path.rglob('*')}
  with pytest.raises(UserError, match='has the keys'):
    recordings.load(recording)
  assert {str(x) for x in tmp_path.rglob('*')} == before
  imports.run(tmp_path / 'in', tmp_path / 'out')
  assert {x.name for x in (tmp_path / 'out').iterdir()} - {'.lock'} == {
      'manifest.json', recordings.name(0)}
  assert {str(x) for x in tmp_path.rglob('*') if tmp_path / 'out' not in (x, *x.parents)} == before
  assert not (tmp_path.parent / 'x').exists() and not os.path.exists('/tmp/vid2act-owned')


HUGE = (10 ** 400, -10 ** 400, 2 ** 64, 1e308, float('nan'), float('inf'), True)


@pytest.mark.parametrize('key', ['format', 'seed', 'act_size', 'steps'])
@pytest.mark.parametrize('value', HUGE, ids=range(len(HUGE)))
def test_numbers_of_any_size(recording, key, value):
  manifest = json.loads((recording / recordings.MANIFEST).read_text())
  (manifest['episodes'][0] if key == 'steps' else manifest)[key] = value
  (recording / recordings.MANIFEST).write_text(json.dumps(manifest))
  if key == 'seed' and type(value) is int:
    assert recordings.load(recording)[0]['seed'] == value
    return
  with pytest.raises(UserError, match=r'\.(json|npz)'):
    recordings.load(recording)


@pytest.fixture
def teacher(tmp_path):
  """A bundle of arrays that no model has."""
  bundle.Bundle(
      {'dyn/a': np.zeros((3, 4), np.float32)},
      dict(deter=np.zeros((5, 2), np.float16), source=np.zeros(5, np.int32)),
      dict(sources=['near'], act_sizes=[4], act_width=16, image=[64, 48, 3], updates=70, env={},
           agent=dict(dyn=dict(rssm=dict(deter=8, stoch=4, classes=6))), recordings='abc')).save(
               tmp_path / 'teacher')
  return tmp_path / 'teacher'


def rewrite(folder, **changes):
  """Change a bundle's manifest; its hash fits."""
  manifest = {**json.loads((folder / bundle.MANIFEST).read_text()), **changes}
  manifest['hash'] = bundle._digest(manifest)
  (folder / bundle.MANIFEST).write_text(json.dumps(manifest))


def test_bundles_execute_nothing_and_name_no_other_files(owned, teacher):
  file = teacher / 'teacher.safetensors'
  good, files = file.read_bytes(), json.loads((teacher / bundle.MANIFEST).read_text())['files']
  file.write_bytes(pickle.dumps(touch()))
  rewrite(teacher, files={**files, file.name: inputs.sha256(file)})
  works(owned, pickle.loads, file.read_bytes())
  with pytest.raises(UserError, match='unreadable safetensors'):
    bundle.load(teacher)
  file.write_bytes(good)
  rewrite(teacher, files={**files, '../../secret': files[file.name], '/etc/passwd': 'x'})
  assert list(bundle.load(teacher).params) == ['dyn/a']  # Others are not looked at.
  rewrite(teacher, files={f'../{file.name}': files[file.name]})
  with pytest.raises(UserError, match='teacher.safetensors is missing'):
    bundle.load(teacher)
  rewrite(teacher, files=files)
  file.symlink_to(file.rename(teacher.parent / 'blob'))  # As in the cache of a hub.
  assert list(bundle.load(teacher).params) == ['dyn/a']
  (teacher.parent / 'blob').write_bytes(good[:-1])
  with pytest.raises(UserError, match='teacher.safetensors is missing'):
    bundle.load(teacher)


@pytest.mark.parametrize('key, value', [
    ('act_width', 2 ** 40), ('act_sizes', [2 ** 70]), ('act_sizes', [-1]), ('image', [64, 48, -3]),
    ('sources', ['a\nb']), ('sources', []), ('files', [1]), ('agent', {'dyn': []}), ('updates',
        None),
    ('env', None), ('recordings', {})])
def test_bundles_that_are_not_whole(teacher, key, value):
  rewrite(teacher, **{key: value})
  with pytest.raises(UserError, match='teacher') as error:
    bundle.load(teacher)
  assert str(error.value).isprintable()


@pytest.mark.parametrize('levels', [30, 900, 100_000])
def test_manifests_nested_for_ever(recording, teacher, levels):
  for folder, load in ((recording, recordings.load), (teacher, bundle.load)):
    file = folder / 'manifest.json'
    text = file.read_text().replace('"env": {}', '"env": ' + '{"a":' * levels + '1' + '}' * levels)
    file.write_text(text)
    with pytest.raises(UserError, match='manifest.json.*nested more than 20 times'):
      load(folder)


def test_a_minari_data_set_imports_no_module(owned, tmp_path, monkeypatch, capsys):
  """Minari itself makes the environment that the metadata names, and so runs its module."""
  (tmp_path / 'one').mkdir()
  entry = recordings.write_episode(tmp_path / 'one', 0, episode(size=16))
  recordings.write_manifest(tmp_path / 'one', dict(
      source='one', suite='fake', task='one', behaviour={}, seed=0, env={}, versions={}, act_size=2,
      episodes=[entry]))
  from vid2act_plugin.sources.formats import minari
  (tmp_path / 'evil-v0').mkdir()
  minari.write([tmp_path / 'one'], export.episodes([tmp_path / 'one']), tmp_path / 'evil-v0')
  owned.with_name('evil_module.py').write_text("open('owned', 'w')\n")
  monkeypatch.syspath_prepend(str(owned.parent))
  file = tmp_path / 'evil-v0' / 'data' / 'metadata.json'
  spec = json.dumps(dict(
      id='evil_module:Evil-v0', entry_point='evil_module:Evil', reward_threshold=None,
      nondeterministic=False, max_episode_steps=None, order_enforce=False,
      disable_env_checker=True, kwargs={}, additional_wrappers=[], vector_entry_point=None))
  metadata = {**json.loads(file.read_text()), 'env_spec': spec, 'eval_env_spec': spec}
  file.write_text(json.dumps(metadata))
  imports.run(tmp_path / 'evil-v0', tmp_path / 'out')
  assert len(recordings.load(tmp_path / 'out')[1]) == 1 and 'evil_module' not in sys.modules
