"""A study whose runs could only fail is refused before anything is made for others, and two that begin at once are not mixed."""

import contextlib

import pytest
from ruamel.yaml import YAML

from vid2act_plugin import cli, prepare
from vid2act_plugin.common import lock
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.studies import ablate, ablation, matrix

TASK = 'metaworld_door-lock'


@pytest.fixture
def write(tmp_path):
  """Return a function that writes an ablation file whose second variant has these settings."""
  def fn(settings, tasks=(TASK,), name='plan.yaml'):
    with open(tmp_path / name, 'w') as file:
      YAML().dump(dict(configs=['metaworld', 'quickstart'], tasks=[*tasks], seeds=[0], against='stock', variants={
          'stock': [], 'ours': ['vid2act', settings]}), file)
    return str(tmp_path / name)
  return fn


@pytest.mark.parametrize('settings, tasks, words', [
    ({'agent.vid2act.floor': 2.0}, [TASK], f"'ours' of .*plan.yaml cannot run {TASK}: The key agent.vid2act.floor is 2.0; give"),
    ({'batch_size': 3}, [TASK, 'metaworld_door-lok'], "'stock' of .* cannot run metaworld_door-lok: The key task is .*; did you mean"),
    ({'run.eval_every': 0}, [TASK], f"'ours' of .* cannot run {TASK}: with run.eval_every 0 and script train_eval .*; set script"),
    ({'script': 'pretrain'}, [TASK], f"cannot run {TASK}: with run.eval_every 500 and script pretrain it would leave no scores"),
    ({'agent.vid2act.adapted': 1}, [TASK], f"'ours' of .* cannot run {TASK}.*: The key agent.vid2act.adapted is 1"),
    ({'vid2act.teacher': '/nowhere'}, [TASK], f"'ours' of .* cannot run {TASK}.*: The key vid2act.teacher is '/nowhere'")])
def test_a_variant_or_task_that_can_only_fail_is_known_before_the_others(write, tmp_path, monkeypatch, capsys, settings, tasks, words):
  """Where runs are listed alone, what can still be brought is told instead."""
  monkeypatch.setattr(prepare, 'prepare', lambda config: pytest.fail('A stage would begin.'))
  command = ['ablate', write({'vid2act.cache': str(tmp_path / 'cache'), **settings}, tasks), '--out', str(tmp_path / 'out')]
  with pytest.raises(UserError, match=words) as error:
    cli.main(command)
  assert not (tmp_path / 'cache').exists() and not (tmp_path / 'out/results').exists()
  if 'as things are' not in (text := _listed(command, capsys)):
    assert str(error.value) in text
  assert 'own task' not in text


@pytest.mark.parametrize('overlays, key', [
    (['vid2act_noimitate'], 'agent.vid2act.imitate'), ([{'agent.vid2act.scales.distill': 3.0}], 'agent.vid2act.scales.distill'),
    (['FILE'], 'vid2act.sources'), (['vid2act_guide', 'vid2act'], ''), (['finetune'], ''), ([{'batch_size': 3}], ''),
    (['quickstart'], ''), ([{'batch_size': 3, 'vid2act.auto': False}], 'vid2act.auto')])
def test_a_variant_that_would_be_stock_by_another_name(tmp_path, overlays, key):
  (tmp_path / 'mine.yaml').write_text('vid2act: {sources: [metaworld_reach]}')
  plan = dict(configs=['metaworld', 'quickstart', {'agent.vid2act.share': 1.0}], seeds=[0], against='stock', tasks=[TASK], variants={
      'stock': [], 'mine': [x if x != 'FILE' else str(tmp_path / 'mine.yaml') for x in overlays]})
  with open(tmp_path / 'plan.yaml', 'w') as file:
    YAML().dump(plan, file)
  made = ablation.Ablation(matrix.Matrix(tmp_path / 'plan.yaml'), tmp_path / 'out')
  words = f"'mine' of .* cannot run {TASK}: it gives {key}.*stock, which does not know that; put vid2act before"
  with pytest.raises(UserError, match=words) if key else contextlib.nullcontext():
    ablate._check(made)


def test_training_without_evaluations_is_compared_by_its_episodes_alone(tmp_path):
  plan = dict(configs=['metaworld', 'quickstart', {'script': 'train'}], seeds=[0], against='stock', tasks=[TASK],
              variants={'stock': []})
  for metric, refused in ((None, False), ('train_score', False), ('score', True)):
    with open(tmp_path / 'plan.yaml', 'w') as file:
      YAML().dump({**plan, **({'metric': metric} if metric else {})}, file)
    made = ablation.Ablation(matrix.Matrix(tmp_path / 'plan.yaml'), tmp_path / 'out')
    words = "the script train never evaluates, and the key metric is 'score'; set script to train_eval, or metric"
    with pytest.raises(UserError, match=words) if refused else contextlib.nullcontext():
      ablate._check(made)


def test_what_is_made_here_is_not_asked_of_a_cluster(write, tmp_path):
  with pytest.raises(UserError, match='--prepare makes what runs share on this machine, which --ray is not for; leave'):
    cli.main(['ablate', write({'batch_size': 3}), '--out', str(tmp_path / 'out'), '--prepare', '--ray', '127.0.0.1:1'])
  assert not (tmp_path / 'out').exists()


def test_a_metric_that_no_task_has_is_known_before_the_runs(tmp_path):
  plan = dict(configs=['dmc', 'quickstart'], seeds=[0], against='a', variants={'a': []})
  def check(tasks, metric):
    with open(tmp_path / 'plan.yaml', 'w') as file:
      YAML().dump(dict(plan, tasks=tasks, metric=metric), file)
    ablate._check(ablation.Ablation(matrix.Matrix(tmp_path / 'plan.yaml'), tmp_path / 'out'))
  for metric in ('success_any', 'policy_success_any'):
    with pytest.raises(UserError, match=f"metric of .*plan.yaml is '{metric}', but none of its tasks tells success; give it score"):
      check(['dmcontrol_walker_run'], metric)
    check(['dmcontrol_walker_run', TASK], metric)
  check(['dmcontrol_walker_run'], 'score')


def test_a_run_that_ends_well_and_leaves_nothing_has_failed(write, tmp_path, monkeypatch):
  made = ablation.Ablation(matrix.Matrix(write({'batch_size': 3})), tmp_path / 'out')
  made.prepare = lambda: None
  made.run(lambda commands, **kwargs: ((x, 0) for x in commands))
  assert made.failed == [f'stock/{TASK}/0', f'ours/{TASK}/0']
  # What a node has written may be seen later.
  monkeypatch.setattr(ablation.time, 'sleep', lambda seconds: made.ended.update({made.runs[f'ours/{TASK}/0']: None}))
  monkeypatch.setattr(ablation, 'LATE', 0.5)
  made.run(lambda commands, **kwargs: ((x, 0) for x in commands if x != ablation.PREPARED), here=False)
  assert made.failed == [f'stock/{TASK}/0']


def _listed(command, capsys):
  """Return what is told of the runs when they are listed, the error included."""
  try:
    cli.main([*command, '--dry-run'])
  except UserError as e:
    return str(e)
  text = capsys.readouterr().out
  assert 'Note: the variant ' in text
  return text


def test_a_study_that_can_run_is_listed_without_a_word(write, tmp_path, capsys):
  cli.main(['ablate', write({'batch_size': 3}), '--out', str(tmp_path / 'out'), '--dry-run'])
  assert 'cannot run' not in capsys.readouterr().out and not (tmp_path / 'out/prepared').exists()


def test_of_two_that_begin_at_once_each_runs_with_its_own_settings(write, tmp_path):
  """The one that gets the lock may have read the folder before the other wrote into it."""
  make = lambda size: ablation.Ablation(matrix.Matrix(write({'batch_size': size}, name=f'{size}.yaml')), tmp_path / 'out')
  first, _ = make(3), make(5)
  class Begun(Exception):
    pass
  def start(*args, **kwargs):
    raise Begun
  first.prepare = lambda: None
  with lock.locked(tmp_path / 'out', wait=False):
    with pytest.raises(Begun):
      first.run(start)
    assert YAML(typ='safe').load(tmp_path / 'out/overlays/ours-1.yaml') == {'batch_size': 3}
    with pytest.raises(UserError, match='is at work with other settings than .*5.yaml has now'):
      make(5)


def test_overlays_are_not_written_while_another_begins(write, tmp_path, monkeypatch):
  """Who looked for the other before it had the lock does not write either."""
  monkeypatch.setattr(ablation.lock, 'owner', lambda folder: None)
  monkeypatch.setattr(lock, 'GRACE', 0.0)
  with lock.locked(tmp_path / 'out'), pytest.raises(UserError, match='is in use by'):
    ablation.Ablation(matrix.Matrix(write({'batch_size': 3})), tmp_path / 'out')
  assert not (tmp_path / 'out/overlays').exists()
