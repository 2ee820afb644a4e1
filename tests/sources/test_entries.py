"""What a source may be: a task, a task with a behaviour, a recording, data to import."""

import importlib
import re
import sys

import elements
import numpy as np
import pytest
from helpers import recordings as made
from helpers.suites import needs_dmc

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.envs.metaworld import MetaWorld
from vid2act_plugin.sources import dataset
from vid2act_plugin.sources import entries as origins
from vid2act_plugin.sources import play as recorder
from vid2act_plugin.sources import recording as recordings

MODULE = '''
import numpy as np

def push(env, obs, rng):
  assert obs['image'].shape == (16, 16, 3)
  return np.full(4, 0.25) * (1 if obs['is_first'] else -1)

NUMBER = 3
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
  """The user's folder, in which a command is run."""
  (tmp_path / 'my_moves.py').write_text(MODULE)
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, 'path', [x for x in sys.path if x])
  yield tmp_path
  sys.modules.pop('my_moves', None)
  importlib.invalidate_caches()


def test_tasks():
  origin = origins.parse('dmcontrol_walker_walk')
  assert origin.name == origin.task == 'dmcontrol_walker_walk' and origin.suite == 'dmcontrol'


def test_behaviours(module):
  named = origins.parse('metaworld_reach@my_moves:push')
  bare = origins.parse('my_moves:push', 'metaworld_reach')
  assert named == bare and bare.name == 'metaworld_reach@my_moves.push'
  env = MetaWorld('reach', size=(16, 16), limit=3, render='fast')
  made = recorder.record(
      env, origins.behaviour(bare.behaviour), dict(policy='expert', noise=0.0),
      np.random.default_rng(0))
  env.close()
  assert made['action'][:, 0].tolist() == [0.25, -0.25, -0.25, 0]
  before = origins.digest(bare.behaviour)
  with open(module / 'my_moves.py', 'a') as f:
    f.write('# Changed.\n')
  assert origins.digest(bare.behaviour) != before


def test_folders(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  recordings.write_manifest(tmp_path / 'mine', dict(
      source='pushes', suite='', task='x', behaviour={}, seed=0, env={}, versions={}, act_size=2,
      episodes=[]))
  (tmp_path / 'some data').mkdir()
  mine = origins.parse('./mine')
  assert mine.name == 'pushes' and mine.path == tmp_path / 'mine' and not mine.foreign
  data = origins.parse('./some data')
  assert data.name == 'some-data' and data.foreign and not data.format
  assert origins.parse(f'minari:{tmp_path}/some data').format == 'minari'


@pytest.mark.parametrize('folder, name', [
    ('(new) demos', 'new-demos'), ('-x', 'x'), ('((', 'data'), ('demos (old)', 'demos-old-'), ('.x', '.x')])
def test_a_name_is_no_option_of_the_commands_that_make_it(tmp_path, folder, name):
  (tmp_path / folder).mkdir()
  for text in (f'{tmp_path}/{folder}', f'film:{tmp_path}/{folder}'):
    assert origins.parse(text).name == name


@pytest.mark.parametrize('text, words', [
    ('metaworld_door-lok', 'did you mean metaworld_door-lock'),
    ('./nowhere', r"'./nowhere'.*there is no .*nowhere"),
    ('lerobot:nowhere', "'nowhere'.*there is no"),
    ('my_moves:push', "'my_moves:push' is not understood"),
    ('metaworld_reach@my_moves', "'metaworld_reach@my_moves'"),
    ('metaworld_reach@my moves:push', 'is not understood'),
    ('door_close', 'did you mean metaworld_door-close'), ('door-close', 'metaworld_door-close'),
    pytest.param('walker_walk', 'did you mean dmcontrol_walker_walk', marks=needs_dmc),
    pytest.param('dmc_walker_run', 'did you mean dmcontrol_walker_run', marks=needs_dmc),
    ('atari_pong', 'an example is metaworld_'), ('tests', "write './tests'"),
    ('dummy_disc@my_moves:push', "'dummy_disc'.*tasks of metaworld or dmcontrol"),
    ('./tests#', "'./tests#'.*behind a '#', give a task"), ('./tests#action=', 'OURS=THEIRS')])
def test_what_is_not_understood(text, words):
  with pytest.raises(UserError, match=words):
    origins.parse(text)


def test_what_is_chosen_of_data_to_import(tmp_path):
  for name in ('set', 'a#b'):
    (tmp_path / name).mkdir()
  found = origins.parse(f'{tmp_path}/set#3#image=cam.top#reward=#task=image=x')
  assert found.path == tmp_path / 'set' and found.tasks == ('3', 'image=x')
  assert found.keys == (('image', 'cam.top'), ('reward', ''))
  assert found.name == 'set-3-image-cam.top-reward--task-image-x'
  assert origins.parse(f'lerobot:{tmp_path}/set#打开 门').tasks == ('打开 门',)
  assert origins.parse(f'{tmp_path}/a#b').path == tmp_path / 'a#b'
  names = {origins.parse(f'{tmp_path}/set#{"x" * 99}{i}').name for i in range(9)}
  assert len(names) == 9 and max(map(len, names)) < 100
  recordings.write_manifest(tmp_path / 'mine', dict(
      source='pushes', suite='', task='x', behaviour={}, seed=0, env={}, versions={}, act_size=2,
      episodes=[]))
  with pytest.raises(UserError, match='is a recording, of which nothing'):
    origins.parse(f'{tmp_path}/mine#0')


@pytest.mark.parametrize('text, words', [
    ('no_such_module:push', 'no_such_module:push.*cannot be imported'),
    ('my_moves:pull', 'my_moves:pull.*cannot be imported'),
    ('my_moves:NUMBER', 'my_moves:NUMBER.*no function but 3')])
def test_behaviours_that_do_not_exist(module, text, words):
  with pytest.raises(UserError, match=words):
    origins.behaviour(text)


@pytest.mark.parametrize('word, count', [
    ('./set#bounds=-2:2,0:1', 1), ('./set#bounds=-2:2,.5:1e3,-1:1#3,./other', 2), ('./set#action=dx,dy,grip_2#image=cam', 1),
    ('./set#action=dx,metaworld_reach', 2), ('./set#action=dx,dy#3,my_moves:push', 2), ('./set#action=dx,lerobot:other', 2),
    ('./set#3,metaworld_door-close@my_moves:push', 2), ('./set#grasp it, lift it, and wait#image=cam', 1),
    ('./set#grasp it, lift it,./other', 2), ('./set#rate=30,my_moves:push', 2),
    ('./set#action=arm/dx,arm/dy,set/../other', 2)])
def test_a_list_that_the_host_tears_is_one_entry(tmp_path, monkeypatch, word, count):
  monkeypatch.chdir(tmp_path)
  for name in ('set', 'other'):
    (tmp_path / name).mkdir()
  torn = elements.Flags(sources=['auto']).parse(['--sources', word]).sources
  assert len(torn) == len(word.split(','))
  cut = word.rfind(',') if count == 2 else len(word)
  texts = [x for x in (word[:cut], word[cut + 1:]) if x]
  assert origins.parse_all(torn, 'metaworld_push') == [origins.parse(x, 'metaworld_push') for x in texts]
  assert len(texts) == count


def test_more_than_a_name_of_a_file_can_hold(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'data').mkdir()
  bounds, task = ','.join(['-2.8973:2.8973'] * 30), 'open the drawer, ' * 30
  assert origins.parse(f'./data#bounds={bounds}').keys == (('bounds', bounds),)
  assert origins.parse(f'lerobot:./data#{task}').tasks == (task,)
  with pytest.raises(UserError, match='is not understood|names'):
    origins.parse(task)
  with pytest.raises(UserError, match='but there is no'):
    origins.parse(f'./none#{task}')


def test_what_is_chosen_twice_is_refused(tmp_path):
  (tmp_path / 'data').mkdir()
  with pytest.raises(UserError, match='give a task, or OURS=THEIRS, .*, each once'):
    origins.parse(f'{tmp_path}/data#reward=a#reward=b')
  with pytest.raises(UserError, match='The option --key is reward=a reward=b; give each of ours once'):
    cli.main(['import', str(tmp_path / 'data'), '--out', str(tmp_path), '--key', 'reward=a', 'reward=b'])


def test_two_of_one_name(tmp_path):
  with pytest.raises(UserError, match="'metaworld_reach' is named twice"):
    origins.parse_all(['metaworld_reach', 'metaworld_push', 'metaworld_reach'])


def test_two_recordings_of_one_name_and_the_cure(tmp_path):
  """Names of folders are not looked at: a teacher has those of the manifests."""
  names = [f'{made.write(tmp_path / x / "reach")}' for x in ('one', 'two')]
  (tmp_path / 'two/reach').rename(tmp_path / 'two/other')
  names[1] = f'{tmp_path}/two/other'
  with pytest.raises(UserError, match="'reach' is named twice") as e:
    origins.parse_all(names)
  found = re.search(r'"source" in (\S+manifest.json)', str(e.value))
  manifest = recordings.load_manifest(found[1].removesuffix('/manifest.json'))
  recordings.write_manifest(found[1].removesuffix('/manifest.json'), {**manifest, 'source': 'push'})
  assert [x.name for x in origins.parse_all(names)] == dataset.Sources(names).names
  with pytest.raises(UserError, match="'reach' is named twice.*; name it once.$"):
    origins.parse_all([names[1], names[1]])
  for folder in ('a/data', 'b/data'):
    (tmp_path / folder).mkdir(parents=True)
  with pytest.raises(UserError, match="'data' is named twice.*; rename .*/[ab]/data.$"):
    origins.parse_all([f'{tmp_path}/a/data', f'{tmp_path}/b/data'])


@needs_dmc
def test_patterns():
  """A pattern leaves out the run's own task and what is named besides it."""
  found = origins.parse_all(
      ['metaworld_door-*', 'metaworld_reach', 'metaworld_r*', 'dmcontrol_walker_ru?'],
      'metaworld_door-lock')
  assert [x.name for x in found] == [
      'metaworld_door-close', 'metaworld_door-open', 'metaworld_door-unlock', 'metaworld_reach',
      'metaworld_reach-wall', 'dmcontrol_walker_run']
  for text in ('metaworld_lamp-*', 'atari_*', 'metaworld_door-l*'):
    with pytest.raises(UserError, match=re.escape(f"'{text}' matches no task")):
      origins.parse_all([text], 'metaworld_door-lock-v3')
