"""What a run was begun with holds when it continues, or is evaluated; what can only fail is told at the start."""

import contextlib
import pathlib
import pickle
import shutil
import types

import elements
import numpy as np
import pytest
from dreamerv3 import main as hostmain
from helpers import clones
from helpers.stages import Stage

from vid2act_plugin import prepare
from vid2act_plugin.agent import build
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.host import checkpoints
from vid2act_plugin.teacher import bundle as bundles
from vid2act_plugin.training import pretrain, resume, scores, start
from vid2act_plugin.training import train as loop


def saved(folder, **values):
  """Write a whole checkpoint, of which only these values are read."""
  folder.mkdir(parents=True)
  for name, value in {'agent': 0, 'step': 0, **values}.items():
    (folder / f'{name}.pkl').write_bytes(pickle.dumps(value))
  (folder / 'done').touch()


@pytest.mark.parametrize('then, now', [(0, 40), (40, 0)])
@pytest.mark.parametrize('script, other', [
    ('train', 'train'), ('train_eval', 'train_eval'), ('train', 'train_eval'), ('train_eval', 'train')])
def test_a_loop_that_would_not_see_the_checkpoint_is_refused(continued, then, now, script, other):
  """It would begin anew, in the same folder and without the teacher's weights."""
  begun, wanted = ({'run.eval_every': x, 'script': y} for x, y in ((then, script), (now, other)))
  for same in (wanted, begun):
    for place in checkpoints.FOLDERS:
      shutil.rmtree(continued.folder / place, ignore_errors=True)
    continued(same, same)
  with pytest.raises(UserError, match=f'is of another loop than --script {other} with run.eval_every {now}') as error:
    continued(begun, wanted)
  assert f'give --script {script} and --run.eval_every {then}, as' in str(error.value)  # Which was no error above.


@pytest.mark.parametrize('key, value', [('vid2act.sources', ['metaworld_reach']), ('vid2act.collect.noise', [0.7])])
@pytest.mark.parametrize('overlay, drawn', [('finetune_rehearse', True), ('vid2act', False)])
def test_what_is_drawn_from_as_a_run_learns_stays_the_same(continued, overlays, bundle, key, value, overlay, drawn):
  """Also beside a teacher that is named, by which other runs are taught whatever it was made from."""
  taught = {'vid2act.teacher': str(bundle), **{k: v for k, v in overlays[overlay].items() if k not in ('method', 'jax')}}
  continued(taught, {**taught, 'vid2act.collect.workers': 3})
  with pytest.raises(UserError, match=f'was begun with {key}') if drawn else contextlib.nullcontext():
    continued(taught, {**taught, key: value})


@pytest.mark.parametrize('ours', [True, False])
def test_a_loop_that_asks_for_other_replays_is_refused(continued, ours):
  """That of DreamerV3 that also evaluates has two, and a checkout of it keeps checkpoints where we do."""
  settings = lambda script: {'run.eval_every': 40 * ours, 'script': script}
  place = continued.folder / checkpoints.kept(ours) / 'x'
  saved(place, replay_train=0, replay_eval=0)
  for script, refused in (('train', True), ('train_eval', ours)):
    with pytest.raises(UserError, match='is of another loop than') if refused else contextlib.nullcontext():
      continued(settings(script), settings(script))
  shutil.rmtree(place)
  saved(place, replay=0)
  for script, refused in (('train', False), ('train_eval', not ours)):
    with pytest.raises(UserError, match='is of another loop than') if refused else contextlib.nullcontext():
      continued(settings(script), settings(script))


def test_the_folder_of_a_checkout_is_ours(monkeypatch):
  import embodied
  monkeypatch.setattr(embodied.run, 'train', lambda: 'ckpt')
  assert checkpoints.kept(False) == checkpoints.kept(True) == checkpoints.OURS


def test_a_cached_stage_is_the_same_for_all_that_want_it(continued, small, tmp_path):
  """Its folder is named by what matters; a run that differs in anything else waits for it, or goes on with it."""
  cache = {'vid2act.cache': str(tmp_path / 'cache'), 'script': 'pretrain'}
  other = {**cache, 'agent.vid2act.guide': True, 'batch_size': 5}
  with pytest.raises(UserError, match='batch_size'):
    continued(cache, other)
  folder = tmp_path / 'cache/teachers/key'
  saved(folder / 'ckpt/x')
  shutil.copy(continued.folder / 'config.yaml', folder)
  start.check(small.update({**other, 'logdir': str(folder)}))


def test_fewer_updates_than_were_made_are_refused(continued, tmp_path):
  """The bundle would be written again, as one of fewer."""
  settings = lambda updates: {'script': 'pretrain', 'vid2act.pretrain.updates': updates}
  continued(settings(9), settings(7))
  saved(tmp_path / 'ckpt/x', step=8)
  for updates in (8, 9):
    continued(settings(9), settings(updates))
  with pytest.raises(UserError, match=f'vid2act.pretrain.updates is 7, but {tmp_path} has made 8; .* --logdir'):
    continued(settings(9), settings(7))


def test_an_evaluation_has_a_folder_of_its_own(continued, tmp_path):
  saved(tmp_path / 'other/ckpt/x', agent=dict(
      params={'enc/x': np.ones(3)}, counters=dict(updates=1, batches=1, actions=1)))
  with pytest.raises(UserError, match=f'The folder {tmp_path} has a run.*another --logdir'):
    continued({}, {'script': 'eval_only', 'run.from_checkpoint': str(tmp_path / 'other')})


@pytest.mark.parametrize('key', ['vid2act.teacher', 'vid2act.cloned'])
@pytest.mark.parametrize('script', ['train_eval', 'eval_only'])
def test_a_teacher_that_was_named_once_need_not_be_again(small, bundle, tmp_path, capsys, key, script):
  """Hours of making another one would end in its refusal."""
  run, made = tmp_path / 'run', tmp_path / 'made'
  (shutil.copytree(bundle, made) if key == 'vid2act.teacher' else clones.make().write(made))
  saved(run / 'ckpt/x')
  begun = small.update({'logdir': str(run), 'script': 'train_eval'})
  def as_begun(path, needed=True, **changes):
    begun.update({key: str(path)}).save(elements.Path(run) / 'config.yaml')
    now = begun.update(script=script, **changes)
    if script == 'eval_only':
      now = now.update({'logdir': str(tmp_path / 'evaluated'), 'run.from_checkpoint': str(run)})
    return start.taught_as_begun(now, taught=needed, acting=needed)
  assert as_begun(made)[key] == str(made) and f'Note: {key} is {made}, as in the run {run}' in capsys.readouterr().out
  other = str(shutil.copytree(made, tmp_path / 'other'))
  assert as_begun(made, **{key: other})[key] == other and as_begun('')[key] == ''
  with pytest.raises(UserError, match=f'was begun with {tmp_path}/gone as {key}, .*give --{key} its folder'):
    as_begun(tmp_path / 'gone')
  with pytest.raises(UserError, match='give --vid2act'):
    as_begun('/my/teachers/eight/teacher')
  assert as_begun('/elsewhere/teachers/0123456789ab/teacher')[key] == ''  # It is made again.
  assert 'is not there' in capsys.readouterr().out
  for path in (made, tmp_path / 'gone'):  # Stock has no use for it.
    assert as_begun(path, needed=False)[key] == '' and not capsys.readouterr().out
  (run / 'config.yaml').write_text('mine: 3')
  if script == 'eval_only':  # Whoever's it is.
    shutil.copytree(run, tmp_path / 'copy')
    assert start.taught_as_begun(begun.update({
        'script': script, 'run.from_checkpoint': str(tmp_path / 'copy'), 'logdir': '/x'}), True, True)[key] == ''


def test_other_behaviours_are_refused_before_anything_is_written_and_the_cure_works(small, bundle, tmp_path):
  """Otherwise the settings would tell those that were refused, and these be taken next time."""
  for draw, name in enumerate(('first', 'second')):
    clones.make(draw).write(tmp_path / name)
  shutil.copytree(bundle, tmp_path / 'teacher')
  saved(tmp_path / 'run/ckpt/x')
  begun = small.update({
      'logdir': str(tmp_path / 'run'), 'agent.vid2act.execute.start': 1.0, 'vid2act.teacher': str(tmp_path / 'teacher'),
      'vid2act.cloned': str(tmp_path / 'first'), 'script': 'train_eval', 'vid2act.sources': ('auto',)})
  begun.save(elements.Path(tmp_path) / 'run/config.yaml')
  before = (tmp_path / 'run/config.yaml').read_bytes()
  with pytest.raises(UserError, match=(
      f'behaviours of {tmp_path}/first, not by those of {tmp_path}/second; leave vid2act.cloned out')):
    prepare.prepare(begun.update({'vid2act.cloned': str(tmp_path / 'second')}))
  assert (tmp_path / 'run/config.yaml').read_bytes() == before
  evaluated = {'script': 'eval_only', 'run.from_checkpoint': str(tmp_path / 'run'), 'logdir': '/x', 'vid2act.cloned': str(
      tmp_path / 'second')}
  with pytest.raises(UserError, match='leave vid2act.cloned out, and they are taken, or evaluate the policy alone'):
    start.taught_as_begun(begun.update(evaluated), True, True)
  idle = {f'agent.vid2act.execute.{x}': 0.0 for x in ('start', 'end')}
  begun.update(idle).save(elements.Path(tmp_path) / 'run/config.yaml')
  assert start.taught_as_begun(begun.update(evaluated), True, True).vid2act.cloned == evaluated['vid2act.cloned']
  begun.save(elements.Path(tmp_path) / 'run/config.yaml')
  assert start.taught_as_begun(begun.update(evaluated), True, False).vid2act.cloned == evaluated['vid2act.cloned']
  for named in ('', str(shutil.copytree(tmp_path / 'first', tmp_path / 'same'))):
    found = start.taught_as_begun(begun.update({'vid2act.cloned': named}), True, True)
    assert found.vid2act.cloned == (named or str(tmp_path / 'first'))


@pytest.mark.parametrize('changes, words', [
    ({'agent.vid2act.rehearse': 0.25, 'agent.vid2act.init': False}, 'images of shape'),
    ({'task': 'gymnasium_CartPole-v1', 'vid2act.teacher': '', 'agent.vid2act.init': False, 'agent.vid2act.distill': False,
      'agent.vid2act.guide': False, 'vid2act.sources': ('metaworld_reach',), 'env.gymnasium.size': (16, 16)},
     'one continuous Box is needed')])
def test_a_task_that_does_not_fit_is_known_before_any_stage(begin, bundle, tmp_path, changes, words, capsys):
  teacher = shutil.copytree(bundle, tmp_path / 'teacher')
  with pytest.raises(UserError, match=words):
    begin(**{'vid2act.teacher': str(teacher), 'env.metaworld.size': (24, 24), 'agent.vid2act.execute.start': 1.0, **changes})
  rehearsed = 'what is rehearsed are the recordings of metaworld_door-close, metaworld_faucet-open; the teacher'
  assert capsys.readouterr().out.count(rehearsed) == ('agent.vid2act.rehearse' in changes)
  with pytest.raises(Stage):
    begin(**{'agent.vid2act.execute.start': 1.0})


@pytest.mark.parametrize('has', [False, True])
def test_behaviours_of_the_cache_that_are_gone_are_made_again_as_they_were(small, bundle, tmp_path, has):
  """Not replaced by those that the teacher has; one that has none is that of the run."""
  teacher = shutil.copytree(bundle, tmp_path / 'teacher')
  if has:
    made = bundles.load(teacher)
    pretrain._adopt(made, clones.make(sources=made.manifest['sources'], act_sizes=made.manifest['act_sizes']))
    made.save(teacher)
  saved(tmp_path / 'run/ckpt/x')
  now = small.update({'logdir': str(tmp_path / 'run'), 'script': 'train_eval'})
  now.update({'vid2act.teacher': str(teacher), 'vid2act.cloned': '/c/behaviours/0123456789ab/behaviours'}).save(
      elements.Path(tmp_path) / 'run/config.yaml')
  found = start.taught_as_begun(now, True, True)
  assert found == (now if has else now.update({'vid2act.teacher': str(teacher)}))


def test_a_task_is_no_wider_than_what_is_used(small, monkeypatch):
  """Sources with fewer actions can be rehearsed, or not act; a teacher's width counts where there is one."""
  wide = types.SimpleNamespace(
      obs_space={'image': elements.Space(np.uint8, (16, 16, 3))}, close=lambda: None,
      act_space={'action': elements.Space(np.float32, 17, -1, 1), 'reset': elements.Space(bool)})
  monkeypatch.setattr(hostmain, 'make_env', lambda *args: wide)
  off = {f'agent.vid2act.{x}': False for x in ('init', 'distill', 'guide')}
  build.check_task(small.update(off))
  with pytest.raises(UserError, match="17 action dimensions, more than the teacher's 16"):
    build.check_task(small)


def test_behaviours_that_settings_do_not_reach_are_told(small, bundle, tmp_path, capsys):
  made = bundles.load(bundle)
  learned = clones.make()
  made.clones, made.manifest['behaviours'] = learned.params, learned.facts
  made.save(tmp_path / 'teacher')
  config = small.update({'vid2act.teacher': str(tmp_path / 'teacher'), 'vid2act.behaviours.updates': 9})
  assert prepare._behaviours(config, given=True) == config
  text = capsys.readouterr().out
  assert 'vid2act.behaviours has updates 9 (those of the teacher 1), ' in text and 'vid2act.cloned' in text
  prepare._behaviours(config.update({'vid2act.behaviours': learned.facts['settings']}), given=True)
  assert capsys.readouterr().out == ''


def test_evaluations_go_on_where_they_are_rarer_now(tmp_path):
  """`evaluated` counts in units of the interval that was; the next one is after one interval of now, not of many."""
  place, config = resume.Place(elements.when.Ratio(1)), elements.Config(eval_every=20)
  place.load(dict(prev=None, evaluated=4, begun={}))
  logger = types.SimpleNamespace(step=elements.Counter(40), multiplier=1)
  loop.catch_up(place, config, logger, known=True)
  assert place.evaluated == 2 and loop._due(config, logger) == 2
  place.evaluated = 1
  loop.catch_up(place, config, logger, known=True)
  assert place.evaluated == 1  # One is due.
  loop.catch_up(place, config, logger, known=False)
  assert place.evaluated == 2  # The host's loop does not tell.


def test_a_folder_below_home_is_one(begin, bundle, tmp_path, monkeypatch):
  """As the usual one of DreamerV3 is, ~/logdir/TIME: all that a run leaves is found there."""
  monkeypatch.setenv('HOME', str(tmp_path))
  config = begin(**{
      'logdir': '~/logdir/run', 'vid2act.teacher': str(shutil.copytree(bundle, tmp_path / 'teacher')),
      'agent.vid2act': dict(init=False, execute=dict(start=0.0, end=0.0, evaluate='policy'))})
  assert config.logdir == str(tmp_path / 'logdir/run') and (tmp_path / 'logdir/run/config.yaml').is_file()
  (pathlib.Path(config.logdir) / 'metrics.jsonl').write_text('{"step": 3, "eval/score": 1}\n')
  assert [x.is_file() for x in scores.write(config)] == [True]
