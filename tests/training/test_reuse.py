"""What a stage finds in its folder is reused where it is what the command asks for, and else refused."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from helpers import recordings

from vid2act_plugin import prepare
from vid2act_plugin.agent import build
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import locate
from vid2act_plugin.teacher import behaviours, bundle
from vid2act_plugin.training import clone, pretrain

CURE = 'repeat the command with these, or learn others by --script clone with another --logdir.'
CHANGES = [
    ({'vid2act.behaviours.updates': 5}, 'vid2act.behaviours.updates 4 (now 5)'),
    ({'seed': 1}, 'seed 0 (now 1)'), ({'vid2act.pretrain.holdout': 0.5}, 'vid2act.pretrain.holdout 0.1 (now 0.5)'),
    ({'vid2act.act_width': 9}, 'vid2act.act_width 16 (now 9)')]
ids = [words.split()[0] for _, words in CHANGES]


@pytest.fixture(scope='module')
def sources(tmp_path_factory):
  root = tmp_path_factory.mktemp('sources')
  return [str(recordings.write(root / x)) for x in ('a', 'b')]


@pytest.fixture(scope='module')
def config(configure, sources, tmp_path_factory):
  return configure('vid2act', **{
      'logdir': str(tmp_path_factory.mktemp('stage') / 'run'), 'vid2act.sources': tuple(sources)})


@pytest.fixture(scope='module')
def made(config):
  """Behaviours that the script clone has written."""
  clone.run(config, None)
  return pathlib.Path(config.logdir) / 'behaviours'


def content(folder):
  return {x.name: x.read_bytes() for x in folder.iterdir()}


def test_the_same_are_reused(config, made, monkeypatch, capsys):
  monkeypatch.setattr(clone, 'learn', None)
  clone.run(config, None)
  assert capsys.readouterr().out.endswith(f'Behaviours: reused {made}\n')


@pytest.mark.parametrize('changes, words', CHANGES, ids=ids)
def test_others_are_not_reused(config, made, changes, words):
  before = content(made)
  with pytest.raises(UserError) as e:
    clone.run(config.update(changes), None)
  assert str(e.value) == f'The behaviours in {made} were learned with {words}; {CURE}'
  assert content(made) == before


def test_other_sources_and_recordings_are_not_reused(config, made, sources, tmp_path):
  with pytest.raises(UserError, match=r"sources \['a', 'b'\] .now \['a'\]., recordings '"):
    clone.run(config.update({'vid2act.sources': tuple(sources[:1])}), None)
  for name in sources:
    shutil.copytree(name, tmp_path / pathlib.Path(name).name)
  other = recordings.write(tmp_path / 'b', count=4)
  with pytest.raises(UserError, match=r"were learned with recordings '\w{16}' .now '\w{16}'.; repeat"):
    clone.run(config.update({'vid2act.sources': (str(other.parent / 'a'), str(other))}), None)


def test_what_earlier_versions_did_not_note_is_the_same(config, made, tmp_path, capsys):
  shutil.copytree(made, tmp_path / 'behaviours')
  path = tmp_path / 'behaviours' / behaviours.FACTS
  facts = json.loads(path.read_text())
  assert (facts.pop('seed'), facts.pop('holdout')) == (0, 0.1)
  path.write_text(json.dumps(facts))
  clone.run(config.update(logdir=str(tmp_path), seed=1), None)
  assert 'reused' in capsys.readouterr().out


@pytest.fixture
def teacher(config, tmp_path):
  """The settings of a stage whose folder has a bundle of an earlier version, without behaviours."""
  data, options = clone.recordings(config), config.vid2act.pretrain
  bundle.Bundle(
      {'a': np.zeros(3, np.float32)}, dict(source=np.zeros(0, np.int32)), dict(
          sources=list(data.names), act_sizes=data.act_sizes, act_width=data.act_width,
          image=[int(x) for x in data.image], agent={k: config.agent[k] for k in bundle.MODEL},
          env=data.envs[0], recordings=data.key, updates=options.updates, actions=options.actions)).save(
              tmp_path / 'run' / 'teacher')
  return config.update(logdir=str(tmp_path / 'run'))


def test_a_teacher_without_behaviours_gets_them(teacher, made, capsys):
  folder = pathlib.Path(teacher.logdir) / 'teacher'
  before = bundle.load(folder)
  build._pin(teacher.logdir, before)
  pretrain.run(teacher, None)
  found = bundle.load(folder)
  assert behaviours.of(found).identity() == behaviours.read(made).identity()
  assert found.params.keys() == before.params.keys() and found.hash != before.hash
  assert not clone.kept(teacher).exists() and 'clone' in capsys.readouterr().out
  (folder.parent / 'ckpt').mkdir(exist_ok=True)
  (folder.parent / 'ckpt/latest').write_text('x')  # As a run that has learned has one.
  assert build.tied(teacher.logdir, found)  # Its model is the one that the run was begun with.
  found.manifest['before'] = 'x'
  with pytest.raises(UserError, match='was started with the teacher'):
    build.tied(teacher.logdir, found)
  pretrain.run(teacher, None)
  assert 'clone' not in capsys.readouterr().out and bundle.verify(folder)['hash'] == found.hash


@pytest.mark.parametrize('changes, words', CHANGES[:3], ids=ids[:3])
def test_a_teacher_with_other_behaviours_is_not_reused(teacher, changes, words):
  pretrain.run(teacher, None)
  folder = pathlib.Path(teacher.logdir) / 'teacher'
  before = content(folder)
  with pytest.raises(UserError) as e:
    pretrain.run(teacher.update(changes), None)
  assert str(e.value) == f'The behaviours in {folder} were learned with {words}; {CURE}'
  assert content(folder) == before


def test_a_teacher_of_other_recordings_is_not_reused(teacher, sources):
  with pytest.raises(UserError, match=r"was made of the recordings \w{16} of \['a', 'b'\], not of .*another --logdir"):
    pretrain.run(teacher.update({'vid2act.sources': tuple(sources[:1])}), None)


def test_a_teacher_in_the_cache_is_left_as_it_is(teacher, capsys):
  """Runs are tied to its hash, and those that ask for other behaviours learn them beside it."""
  folder = pathlib.Path(teacher.logdir) / 'teacher'
  before = content(folder)
  pretrain.run(teacher.update({'vid2act.cache': str(folder.parents[1])}), None)
  assert content(folder) == before and capsys.readouterr().out.endswith(f'reused {folder}\n')


@pytest.mark.parametrize('changes, same', [
    ({'agent.loss_scales.value': 0.5}, True), ({'agent.loss_scales.policy': 0.5, 'agent.loss_scales.repval': 0.0}, True),
    ({'agent.value.layers': 2}, True), ({'agent.loss_scales.dyn': 0.5}, False), ({'agent.loss_scales.rew': 0.5}, False),
    ({'agent.opt.lr': 1e-5}, False), ({'seed': 1}, False)])
def test_a_teacher_is_named_by_what_pretraining_reads(config, changes, same):
  """Also by scales of losses that DreamerV3 has and a teacher has not."""
  found = locate.locate(config)
  name = lambda config: prepare._teacher_folder(config, found)
  assert (name(config.update(changes)) == name(config)) == same
