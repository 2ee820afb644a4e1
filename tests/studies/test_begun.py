"""Runs that lie in the folder of a study and were begun with other settings than they have now."""

import pathlib
import shutil

import elements
import pytest
from ruamel.yaml import YAML

from vid2act_plugin.common import lock
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.studies import ablation, elsewhere, matrix
from vid2act_plugin.training import scores, summary

TASK = 'metaworld_door-lock'
OURS = {'stock': [], 'ours': ['vid2act', {'agent.opt.lr': 1e-3}]}
CHANGED = {'stock': [], 'ours': ['vid2act', {'agent.opt.lr': 5e-3}]}
CACHE = '/home/me/.cache/vid2act'
BY_ITSELF = {
    'jax.platform': 'cpu', 'jax.compute_dtype': 'float32', 'jax.prealloc': False, 'vid2act.seconds.pretrain': 7.5,
    'vid2act.teacher': f'{CACHE}/teachers/0123456789ab/teacher', 'vid2act.cloned': f'{CACHE}/behaviours/{"0" * 12}/behaviours'}


@pytest.fixture
def study(tmp_path):
  """Return a function that begins a study of these variants, in a folder that may hold another one."""
  def fn(variants=OURS, **more):
    with open(tmp_path / 'plan.yaml', 'w') as file:
      YAML().dump(dict(configs=['metaworld', 'quickstart'], variants=variants, tasks=[TASK], seeds=[0],
                       against='stock', **more), file)
    made = ablation.Ablation(matrix.Matrix(tmp_path / 'plan.yaml'), tmp_path / 'out')
    made.gather()
    return made
  return fn


@pytest.fixture
def finished(study):
  """Return a function that leaves a study as one that came to its end, and does so once."""
  def fn(change=BY_ITSELF):
    made = study()
    for run in made.plan.runs:
      folder, config = made.logdir(run), made.configs[run.method, run.task]
      (folder / 'ckpt').mkdir(parents=True)
      (folder / 'ckpt/latest').write_text('x')
      config.update({**change, 'logdir': str(folder)} if run.method == 'ours' else {}).save(
          elements.Path(str(folder / 'config.yaml')))
      summary.write(folder, dict(env_steps=made.steps(run), task=run.task, seed=run.seed))
      row = dict(method=run.method, task=run.task, seed=run.seed, xs=[0, 10], ys=[1, 2])
      scores.save(folder / 'scores/score.json.gz', [row])
    assert all(map(made.finished, made.plan.runs))
    return made
  fn()
  return fn


def forgotten(out, study):
  study({'stock': []})
  assert not (out / 'results' / elsewhere.MATRIX).read_text().count('ours')


@pytest.mark.parametrize('spoil', [
    forgotten, lambda out, study: [shutil.rmtree(x) for x in out.glob('*/*/*/ckpt')],
    lambda out, study: shutil.rmtree(out / 'results'),
    lambda out, study: [shutil.rmtree(x) for x in (out / 'results', *out.glob('*/*/*/ckpt'))],
    lambda out, study: [x.unlink() for x in (*out.glob('results/*.yaml'), *out.glob('*/*/*/summary.json'))]])
def test_changed_settings_are_refused_whatever_is_gone(finished, study, tmp_path, spoil):
  """As directly, and runs whose settings are the same go on counting."""
  with pytest.raises(UserError, match=r'another variants.ours \(agent.opt.lr 0.001 there, 0.005 now\)'):
    study(CHANGED)
  spoil(tmp_path / 'out', study)
  with pytest.raises(UserError, match=r'begun with another .*\(agent.opt.lr 0.001 there, 0.005 now\) than .*plan.yaml has; name'):
    study(CHANGED)
  # One that no other run has, of those that a command may change when it continues a run.
  with pytest.raises(UserError, match=r'run.eval_eps \d+ there, 77 now'):
    study({**OURS, 'ours': [*OURS['ours'], {'run.eval_eps': 77}]})
  made = study()
  assert [x.method for x in made.plan.runs if made.finished(x)] == [
      x.method for x in made.plan.runs if (made.logdir(x) / 'summary.json').exists()]


def test_a_variant_is_asked_for_all_that_lies_there(finished, study, tmp_path):
  """Also where its present runs are others: the next study may ask for those again."""
  forgotten(tmp_path / 'out', study)
  (tmp_path / 'out/ours' / TASK / '0').rename(tmp_path / 'out/ours' / TASK / '8')
  with pytest.raises(UserError, match=rf'ours/{TASK}/8 was begun with another setting \(agent.opt.lr'):
    study(CHANGED)


@pytest.mark.parametrize('key', ['vid2act.teacher', 'vid2act.cloned'])
def test_what_a_run_made_is_not_what_another_was_given(finished, study, tmp_path, key):
  def again(before, now):
    shutil.rmtree(tmp_path / 'out')
    finished({key: before})
    shutil.rmtree(tmp_path / 'out/results')
    return study({**OURS, 'ours': [*OURS['ours'], {key: now}]})
  for before, now in ((BY_ITSELF[key], ''), (BY_ITSELF[key], BY_ITSELF[key])):
    assert len(again(before, now).ended) == 2
  for before, now in (('/mine', ''), (BY_ITSELF[key], '/mine'), ('', '/mine')):
    with pytest.raises(UserError, match=rf'another setting \({key} .* there, .* now\)'):
      again(before, now)


def test_settings_that_cannot_be_read_and_those_that_are_gone(finished, study, tmp_path):
  shutil.rmtree(tmp_path / 'out/results')
  path = tmp_path / 'out/ours' / TASK / '0/config.yaml'
  for content in ('[', '{}', 'task: [1', '\0'):
    path.write_text(content)
    with pytest.raises(UserError, match=r'ours/.*/config.yaml .* cannot be read .*; delete it .* another folder \(--out\)'):
      study()
  path.unlink()
  made = study()
  assert all(map(made.finished, made.plan.runs))


def test_a_finished_run_whose_logdir_goes_while_the_study_is_at_work_is_not_lost(finished, study, tmp_path):
  made = study()
  read = lambda: {x.relative_to(made.results): x.read_bytes() for x in made.results.rglob('*') if x.is_file()}
  before = read()
  shutil.rmtree(tmp_path / 'out/ours')
  made.gather()  # As when another run ends.
  assert read() == before and b'"ours"' in before[pathlib.Path('runs.json')]
  again = study()
  assert all(map(again.finished, again.plan.runs)) and read() == before


def test_an_earlier_version_did_what_the_default_is(finished, study, tmp_path):
  path = tmp_path / 'out/ours' / TASK / '0/config.yaml'
  content = YAML(typ='safe').load(path)
  assert content['agent']['vid2act'].pop('share') == 0.25
  with open(path, 'w') as file:
    YAML(typ='safe').dump({**content, 'gone': 3}, file)
  shutil.rmtree(tmp_path / 'out/results')
  with pytest.raises(UserError, match=r'agent.vid2act.share 0.25 there, 1.0 now'):
    study({**OURS, 'ours': [*OURS['ours'], {'agent.vid2act.share': 1.0}]})
  assert len(study().ended) == 2


def test_an_overlay_that_is_edited_while_runs_wait_changes_none_of_them(study, tmp_path):
  """What the next run reads is a copy from when the study began; the next command tells, and where that is."""
  path = tmp_path / 'more.yaml'
  path.write_text('batch_size: 3  # Mine.\n')
  variants = {'stock': [], 'ours': ['vid2act', str(path)]}
  made = study(variants)
  run = made.plan.runs[1]
  (made.logdir(run) / 'ckpt').mkdir(parents=True)
  (made.logdir(run) / 'ckpt/latest').write_text('x')
  path.write_text('batch_size: 5\n')
  command = made.plan.command(run, made.overlays, made.logdir(run))
  kept = command[command.index('vid2act') + 1]
  assert kept == str(tmp_path / 'out/overlays/ours-1.yaml') and str(path) not in command
  # Also what makes the things that runs share, which may begin later.
  with lock.locked(tmp_path / 'out', wait=False):
    later = ablation.Ablation(matrix.Matrix(made._preparation()[4]), tmp_path / 'out')
  assert later.configs['ours', TASK].batch_size == 3 and [x.name for x in later.plan.runs] == [x.name for x in made.plan.runs]
  with pytest.raises(UserError, match=rf'another configs \(batch_size 3 there, 5 now\) .* overlays as they were, in {made.overlays}'):
    study(variants)
  path.write_text(open(kept).read())  # The cure.
  assert path.read_text() == 'batch_size: 3  # Mine.\n' and study(variants).configs['ours', TASK].batch_size == 3


def test_a_fault_in_an_overlay_is_told_by_its_own_name(study, tmp_path):
  path = tmp_path / 'more.yaml'
  path.write_text('batch_sise: 3\n')
  with pytest.raises(SystemExit, match=f'{path}:1: .*batch_sise'):
    study({'stock': [], 'ours': ['vid2act', str(path)]})


def test_what_was_not_kept_may_change(finished, study, tmp_path):
  """A run that left nothing to continue, and no summary, begins anew."""
  for sign in ('ckpt/latest', 'summary.json'):
    (tmp_path / 'out/ours' / TASK / '0' / sign).unlink()
  shutil.rmtree(tmp_path / 'out/results')
  made = study(CHANGED)
  assert [x.method for x in made.plan.runs if made.finished(x)] == ['stock']
