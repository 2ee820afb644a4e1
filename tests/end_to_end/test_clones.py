"""What the chain has made: behaviours, with the teacher or on their own, and damage to any of it."""

import pathlib
import shutil

import elements
import pytest

from vid2act_plugin import prepare as chain
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources.dataset import Sources
from vid2act_plugin.teacher import behaviours, bundle
from vid2act_plugin.training import clone


@pytest.fixture(scope='module')
def teacher(first, tiny):
  return next((tiny.parent / 'cache' / 'teachers').glob('*/teacher'))


@pytest.fixture(scope='module')
def config(overlays, tiny, tmp_path_factory):
  """A run whose sources carry out episodes."""
  config = elements.Config(overlays['defaults'])
  for name in ('vid2act', 'metaworld', 'quickstart', 'finetune', str(tiny)):
    config = config.update(overlays[name])
  return config.update({
      'agent.vid2act.execute.start': 1.0, 'logdir': str(tmp_path_factory.mktemp('run') / 'run')})


def test_a_teacher_is_made_with_its_behaviours(teacher):
  found = behaviours.of(bundle.load(teacher))
  assert found.facts['sources'] == ['metaworld_door-close', 'metaworld_faucet-open']
  assert found.facts['settings']['updates'] == 4
  assert [len(x) for x in found.facts['success']] == [2, 2]
  assert all(0 < x < 2 for x in found.facts['error'])


def test_a_task_that_cannot_be_made_costs_no_teacher(capsys):
  assert clone._trials('metaworld_reach', {'size': [16, 16], 'camera': 'nowhere'}) is None
  assert 'the behaviour of metaworld_reach was not tried' in capsys.readouterr().out


def test_those_of_the_teacher_are_taken(config, first):
  assert chain.prepare(config).vid2act.cloned == ''


@pytest.fixture(scope='module')
def without(teacher, tmp_path_factory):
  """A teacher as earlier versions made it."""
  made = bundle.load(teacher)
  made.clones = {}
  made.manifest = {k: v for k, v in made.manifest.items() if k not in ('behaviours', 'hash', 'files')}
  folder = tmp_path_factory.mktemp('earlier') / 'teacher'
  made.save(folder)
  return folder


def test_a_teacher_without_them_gets_them_once(config, without, capsys):
  config = config.update({'vid2act.teacher': str(without)})
  found = chain.prepare(config)
  made = behaviours.read(found.vid2act.cloned)
  assert made.facts['sources'] == bundle.verify(without)['sources']
  assert found.vid2act.seconds.clone > 0 and 'clone: behaviours of 2 sources' in capsys.readouterr().out
  again = chain.prepare(config)
  assert again.vid2act.cloned == found.vid2act.cloned and again.vid2act.seconds.clone == 0
  assert 'Behaviours: reused' in capsys.readouterr().out
  (pathlib.Path(found.vid2act.cloned) / behaviours.TENSORS).write_bytes(b'x')
  with pytest.raises(UserError, match='is not as it was written.*delete this folder, and they are learned again'):
    chain.prepare(config)
  shutil.rmtree(found.vid2act.cloned)


def test_a_teacher_of_other_sources_gets_none(config, without):
  with pytest.raises(UserError, match='has no behaviours, .* metaworld_door-close, metaworld_faucet'):
    chain.prepare(config.update({
        'vid2act.teacher': str(without), 'vid2act.sources': ['metaworld_reach']}))


def test_nothing_is_learned_without_being_asked(config, without):
  config = config.update({'vid2act.teacher': str(without), 'vid2act.auto': False})
  with pytest.raises(UserError, match='vid2act.auto is False; .*`--script clone --logdir .*`') as e:
    chain.prepare(config.update({'seed': 5}))
  assert not pathlib.Path(str(e.value).rpartition('--logdir ')[2].rstrip('`.')).exists()


def test_a_folder_of_them_that_is_amiss_is_told_at_the_start(config, first, tmp_path):
  with pytest.raises(UserError, match='The behaviours in .*; name one that --script clone has'):
    chain.prepare(config.update({'vid2act.cloned': str(tmp_path)}))


@pytest.mark.parametrize('name', [
    'teacher.safetensors', 'memory.safetensors', 'behaviours.safetensors', 'manifest.json'])
def test_damaged_bundle(first, tiny, tmp_path, name):
  teacher = next((tiny.parent / 'cache' / 'teachers').glob('*/teacher'))
  shutil.copytree(teacher, tmp_path / 'copy')
  path = tmp_path / 'copy' / name
  path.write_bytes(path.read_bytes()[:-7])
  with pytest.raises(UserError, match=name):
    bundle.load(tmp_path / 'copy')


def test_truncated_recording_stops_pretraining(first, tiny, tmp_path):
  sources = next((tiny.parent / 'cache' / 'recordings').glob('*'))
  shutil.copytree(sources, tmp_path / 'copy')
  episode = next(pathlib.Path(tmp_path / 'copy' / 'metaworld_door-close').glob('*.npz'))
  episode.write_bytes(episode.read_bytes()[:500])
  with pytest.raises(UserError, match=episode.name):
    Sources([tmp_path / 'copy' / 'metaworld_door-close'])
