"""What can be known of data to import is known before the first stage, with a cure for a run."""

import json
import pathlib
import shutil

import elements
import pytest
from helpers import lerobot, moves
from helpers.commands import command
from helpers.stages import Stage
from helpers.suites import needs_dmc

from vid2act_plugin import prepare
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import locate, recording

WRIST = {'observation.images.wrist': dict(dtype='image', shape=[32, 32, 3])}
TASKS = ('open', 'close')


@pytest.fixture
def begin(overlays, tiny, tmp_path, monkeypatch):
  """Return a function sources -> (located sources, command of the first stage)."""
  config = elements.Config(overlays['defaults'])
  for name in ('vid2act', 'metaworld', 'quickstart', str(tiny)):
    config = config.update(overlays[name])
  config = config.update({
      'logdir': str(tmp_path / 'run'), 'vid2act.cache': str(tmp_path / 'cache')})
  monkeypatch.chdir(tmp_path)

  def stage(config, name, what, command):
    raise Stage(command)

  def fn(*sources, **changes):
    mine = fn.config(*sources).update(changes)
    with pytest.raises(Stage) as e:
      prepare.prepare(mine)
    return locate.locate(mine), e.value.args[0]
  monkeypatch.setattr(prepare, '_stage', stage)
  fn.config = lambda *sources: config.update({'vid2act.sources': sources, 'vid2act.max_sources': 0})
  fn.located = lambda *sources, task: locate.locate(config.update(
      {'vid2act.sources': sources, 'vid2act.max_sources': 0, 'task': task}))
  return fn


def tree(folder):
  return {x: x.read_bytes() if x.is_file() else None for x in folder.rglob('*')}


@pytest.mark.parametrize('source, words', [
    ('./set', 'several|has these cameras.*PATH#image=NAME'),
    ('./set#image=front', "not 'front'.*PATH#image=NAME"),
    ('./set#image=observation.images.top', '2 tasks.*PATH#NUMBER'),
    ('./set#image=observation.images.top#7', "no task '7'"),
    ('./set#image=observation.images.top#0#reward=score', "no 'score'.*PATH#reward=NAME"),
    ('minari:./set', 'metadata.json|main_data'), ('./empty', 'empty holds nothing; name')])
def test_a_choice_that_is_missing_is_refused_before_anything_is_made(begin, tmp_path, source, words):
  lerobot.write(tmp_path / 'set', tasks=TASKS, features=WRIST)
  (tmp_path / 'empty').mkdir()
  before = tree(tmp_path)
  with pytest.raises(UserError, match=words):
    begin('metaworld_reach', source)
  assert tree(tmp_path) == before


def test_the_cure_works(begin, tmp_path):
  """The command of the stage imports the chosen task, and two choices are two sources."""
  from vid2act_plugin import cli
  from vid2act_plugin.sources import recording
  plays = lerobot.write(tmp_path / 'set', tasks=TASKS, features=WRIST)
  chosen = './set#image=observation.images.top'
  (first, second), command = begin(f'{chosen}#open', f'{chosen}#1#reward=')
  assert first.folder.parent != second.folder.parent and first.name != second.name
  cli.main(command[1:])
  assert first.complete and not second.complete
  manifest, found = recording.load(first.folder)
  assert manifest['source'] == first.name and len(found) == 2
  assert found[1]['action'].tolist() == plays[2]['action'].tolist()


@pytest.mark.parametrize('flags, words', [
    (['--script', 'evalonly'], "Unknown script 'evalonly'; choose one of eval_only"),
    (['--vid2act.sources', './set', '--script', 'pretrain'], 'PATH#image=NAME')])
def test_a_refused_command_changes_nothing(tmp_path, flags, words):
  lerobot.write(tmp_path / 'set', features=WRIST)
  before = tree(tmp_path)
  status, output = command(
      '--configs', 'vid2act', 'metaworld', 'quickstart', '--logdir', tmp_path / 'run',
      '--vid2act.cache', tmp_path / 'cache', *flags, cwd=tmp_path)
  assert status == 1 and words in output and 'Traceback' not in output, output
  assert tree(tmp_path) == before


def films(tmp_path):
  moves.film(tmp_path / 'clips/a.mkv', moves.play(1, 9, 32)[0])


def options(command):
  """Return `{option: values}` of a command line."""
  found, key = {}, ''
  for word in command:
    key = word if word.startswith('--') else key
    found.setdefault(key, []).extend([word] * (word != key))
  return found


def test_films_are_labelled_from_the_other_sources_when_these_are_there(begin, tmp_path):
  films(tmp_path)
  found, first = begin('film:./clips#rate=10', 'metaworld_reach')
  assert [x.name for x in found] == ['clips-rate-10', 'metaworld_reach'] and first[1] == 'collect'
  mine = moves.write(tmp_path / 'mine', count=2, size=16)
  found, first = begin('film:./clips#rate=10#repeat=2', './mine')
  assert first[:3] == ['vid2act_plugin.cli', 'label', str(tmp_path / 'clips')]
  chosen = options(first)
  assert chosen['--from'] == [str(mine)] and chosen['--rate'] == ['10'] and chosen['--repeat'] == ['2']
  assert found[0].folder == pathlib.Path(chosen['--out'][0]) / chosen['--name'][0]
  same, _ = begin('film:./clips#rate=10#repeat=2', './mine')
  assert same[0].folder == found[0].folder
  same, again = begin('film:./clips#rate=10#repeat=2', './mine', seed=3)  # Runs of other seeds share what is inferred.
  assert same[0].folder == found[0].folder and options(again) == chosen
  moves.film(tmp_path / 'more/b.mkv', moves.play(2, 9, 32)[0])
  _, second = begin('film:./more', './mine')
  assert options(second)['--model'] == chosen['--model'] and options(second)['--out'] != chosen['--out']
  moves.write(tmp_path / 'mine', count=3, seed=4, size=16)
  other, _ = begin('film:./clips#rate=10#repeat=2', './mine')
  assert other[0].folder != found[0].folder


@needs_dmc
def test_films_show_the_body_of_the_task(begin, tmp_path):
  """The first of those that are learned from decides whose actions are inferred."""
  films(tmp_path)
  moves.write(tmp_path / 'walker_stand', count=2, size=16, suite='dmcontrol')
  moves.write(tmp_path / 'push', count=2, size=16, suite='metaworld')
  for task, others, wanted in (
      ('metaworld_door-lock', ['dmcontrol_walker_walk', 'metaworld_reach'], 'metaworld_reach'),
      ('metaworld_door-lock', ['dmcontrol_walker_walk', './push'], 'push'),
      ('dmcontrol_walker_walk', ['dmcontrol_cheetah_run', './walker_stand'], 'walker_stand'),
      ('dmcontrol_walker_run', ['./push', 'dmcontrol_cheetah_run'], 'dmcontrol_cheetah_run'),
      ('dmcontrol_finger_turn_hard', ['dmcontrol_cartpole_swingup', 'dmcontrol_finger_spin'], 'dmcontrol_finger_spin'),
      ('dmcontrol_cartpole_swingup_sparse', ['dmcontrol_walker_walk', 'dmcontrol_cartpole_balance'],
       'dmcontrol_cartpole_balance')):
    found = begin.located(*others, 'film:./clips', task=task)
    assert pathlib.Path(found[2].teachers[0]).name == wanted, task


def test_films_alone_are_labelled_from_random_actions_in_the_task(begin, tmp_path):
  films(tmp_path)
  found, first = begin('film:./clips')
  chosen = options(first)
  assert first[1] == 'label' and chosen['--from'] == ['random:metaworld_door-lock']
  env = json.loads(chosen['--env'][0])
  assert env['size'] == [16, 16] and env['limit'] == 12 and chosen['--episodes'] == ['50']
  assert not found[0].complete
  recording.write_manifest(found[0].folder, dict(
      source='clips', suite='import', task='clips', behaviour={}, seed=0, env={}, versions={},
      act_size=4, episodes=[], complete=True))
  assert found[0].complete


@pytest.mark.parametrize('source, words', [
    ('film:./empty', 'There are no films in .*empty'), ('film:./nowhere', 'there is no .*nowhere'),
    ('film:./clips#image=x', "behind a '#', films have rate=R"),
    *((f'film:./clips#{x}', "behind a '#', films have rate=R") for x in (
        'rate=fast', 'repeat=2.5', 'repeat=0', 'rate=5#rate=9'))])
def test_films_that_are_refused_before_anything_is_made(begin, tmp_path, source, words):
  films(tmp_path)
  (tmp_path / 'empty').mkdir()
  before = tree(tmp_path)
  with pytest.raises(UserError, match=words):
    begin('metaworld_reach', source)
  assert tree(tmp_path) == before


def test_what_an_import_brings_is_checked_before_the_next_stage(begin, tmp_path, monkeypatch):
  """Its actions and steps, which nothing told before."""
  lerobot.write(tmp_path / 'set')
  (source, _), _ = begin('./set', 'metaworld_reach')

  def stage(config, name, what, command):
    if name != 'import':
      raise Stage(command)
    moves.write(source.folder, count=2, size=16, length=brought['steps'])
    recording.write_manifest(source.folder, {
        **recording.load_manifest(source.folder), 'complete': True, 'act_size': brought['actions']})
    return config
  monkeypatch.setattr(prepare, '_stage', stage)
  brought = {}
  for now, words in (
      (dict(steps=9, actions=18), f"act_width is 16, but the source '{source.name}' has 18 actions"),
      (dict(steps=7, actions=2), f"pretrain.batch_length is 8, but the source '{source.name}' has 7 steps")):
    shutil.rmtree(source.folder, ignore_errors=True)
    brought.update(now)
    with pytest.raises(UserError, match=words):
      prepare.prepare(begin.config('./set', 'metaworld_reach'))


def test_a_rate_that_no_film_has_is_refused_before_anything_is_made(begin, tmp_path):
  films(tmp_path)
  with pytest.raises(UserError, match='a.mkv has 10 images/s, and #rate is 20; give 10 or less, or 0'):
    begin('film:./clips#rate=20', 'metaworld_reach')
  begin('film:./clips#rate=0', 'metaworld_reach')
  moves.film(tmp_path / 'clips/b.mkv', moves.play(1, 9, 32)[0], fps=20)
  begin('film:./clips#rate=20', 'metaworld_reach')
