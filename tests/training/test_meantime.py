"""What has changed since a run began, elsewhere or in its folder."""

import pickle
import shutil

import elements
import pytest

from vid2act_plugin import prepare
from vid2act_plugin.agent import build
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.teacher import bundle as bundles
from vid2act_plugin.training import start


def test_a_run_that_began_there_in_the_meantime_is_not_mixed_in(small, tmp_path, monkeypatch):
  """While the stages of this one were made; its settings are left as they are."""
  other = small.update({'seed': 3, 'logdir': str(tmp_path / 'run')})
  def stage(config, name, *args):
    (tmp_path / 'run' / 'ckpt').mkdir(parents=True, exist_ok=True)
    other.save(elements.Path(tmp_path) / 'run/config.yaml')
    (tmp_path / 'run/ckpt/latest').write_text('x')
    return config.update({'vid2act.seconds.collect': 1.0})
  monkeypatch.setattr(prepare, '_stage', stage)
  monkeypatch.setattr(prepare, '_teacher', lambda config, found: config)
  monkeypatch.setattr(prepare, '_behaviours', lambda config, given: config)
  monkeypatch.setattr(prepare, '_check_contents', lambda config, found: None)
  with pytest.raises(UserError, match=r'was begun with seed 3 \(now 0\)'):
    prepare.prepare(other.update({'seed': 0, 'vid2act.cache': str(tmp_path / 'cache')}))
  assert 'seed: 3' in (tmp_path / 'run/config.yaml').read_text()


def test_where_a_run_began_its_weights_need_not_be_for_long(small, continued, tmp_path):
  gone = {'run.from_checkpoint': str(tmp_path / 'gone')}
  with pytest.raises(UserError, match='gone'):
    start.check(small.update({'logdir': str(tmp_path / 'new'), 'script': 'train_eval', **gone}))
  continued(gone, gone)  # It has a checkpoint of its own.


def test_data_may_be_moved_once_a_run_has_its_teacher(configure, bundle, spaces, tmp_path):
  """The names of the data at their former place are known no more; of a new run they have to be."""
  teacher = bundles.load(shutil.copytree(bundle, tmp_path / 'teacher'))
  config = configure('vid2act', **{
      'logdir': str(tmp_path / 'run'), 'vid2act.teacher': str(tmp_path / 'teacher'), 'vid2act.sources': ('./gone/one',)})
  obs, act = spaces
  with pytest.raises(UserError, match='gone/one'):
    build.check(teacher, config, obs, act)
  (tmp_path / 'run').mkdir()
  build._pin(elements.Path(tmp_path / 'run'), teacher)
  build.check(teacher, config, obs, act)


def test_what_is_gone_is_not_made_again_without_a_word(small, tmp_path, capsys):
  (tmp_path / 'run/ckpt').mkdir(parents=True)
  (tmp_path / 'run/ckpt/latest').write_text('x')
  (tmp_path / 'run/ckpt/x').mkdir()
  now = small.update({'logdir': str(tmp_path / 'run'), 'script': 'train_eval'})
  now.update({'vid2act.teacher': '/c/teachers/0123456789ab/teacher'}).save(elements.Path(tmp_path) / 'run/config.yaml')
  assert start.taught_as_begun(now, True, True) == now
  assert '/c/teachers/0123456789ab/teacher, the vid2act.teacher of the run' in capsys.readouterr().out


def test_a_stage_has_no_weights_to_begin_from(small, tmp_path):
  """So that none are offered."""
  base = small.update({'logdir': str(tmp_path), 'script': 'pretrain'})
  base.save(elements.Path(tmp_path) / 'config.yaml')
  (tmp_path / 'ckpt').mkdir()
  (tmp_path / 'ckpt/latest').write_text('x')
  with pytest.raises(UserError, match='begin another --logdir.$'):
    start.check(base.update({'vid2act.pretrain.batch_size': 5}))


@pytest.mark.parametrize('names, execute, alone', [
    (['finetune'], 0.0, True), (['finetune_rehearse'], 0.0, True), (['vid2act_noexecute'], 0.0, False), (['finetune'], 1.0, False)])
def test_a_run_that_began_from_a_teacher_goes_on_without_it(configure, tmp_path, names, execute, alone, capsys):
  """It is named in what the run says as long as it is there; sources that act need it."""
  config = configure('vid2act', *names, 'metaworld', **{
      'logdir': str(tmp_path / 'run'), 'vid2act.cache': str(tmp_path / 'cache'), 'agent.vid2act.execute.start': execute})
  assert prepare._needs(config)[0]
  (tmp_path / 'run/ckpt/x').mkdir(parents=True)
  for name in ('agent', 'step'):
    (tmp_path / f'run/ckpt/x/{name}.pkl').write_bytes(pickle.dumps(0))
  (tmp_path / 'run/ckpt/x/done').touch()
  config.update({'vid2act.teacher': '/c/teachers/0123456789ab/teacher'}).save(elements.Path(tmp_path) / 'run/config.yaml')
  found, _ = prepare.checked(config)
  assert ('is not needed any more' in capsys.readouterr().out) == alone
  assert not found.vid2act.teacher and prepare._needs(found)[0] != alone
  named = config.update({'vid2act.teacher': '/mine'})
  assert prepare._needs(named)[0]
  with pytest.raises(UserError, match='was begun with .*seed 0 .now 1'):  # With DreamerV3's own loop as well.
    prepare.checked(config.update({'seed': 1, 'run.eval_every': 0, 'jax.platform': 'cpu'}))
