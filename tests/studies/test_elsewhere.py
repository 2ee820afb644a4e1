"""Studies of which some runs were finished elsewhere: `vid2act ablate --merge`."""

import json
import pathlib
import shutil

import pytest
from ruamel.yaml import YAML

from vid2act_plugin import cli
from vid2act_plugin.common import lock
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.studies import ablation, matrix
from vid2act_plugin.teacher import bundle
from vid2act_plugin.training import scores, summary

ROOT = pathlib.Path(__file__).parents[2]
KEPT = ROOT / 'bench/transfer/results/control'
PLAN = KEPT / 'matrix.yaml'
GONE = 'vid2act', 'metaworld_door-lock', 4
RIGHT = bundle.verify(ROOT / 'bench/transfer/teachers/eight')['hash']


@pytest.fixture
def part(tmp_path):
  """Results in which one of the kept runs is missing, and one is there that is not of the matrix."""
  shutil.copytree(KEPT, tmp_path / 'elsewhere/results')
  path = tmp_path / 'elsewhere/results/runs.json'
  listed = json.loads(path.read_text())
  key = lambda x: (x['method'], x['task'], x['seed'])
  listed = [{**x, 'seed': 77} if key(x) == GONE else x for x in listed]
  path.write_text(json.dumps(listed))
  return tmp_path / 'elsewhere'


def read(folder):
  rows = scores.read([folder / 'scores'])
  keyed = lambda x: (x['method'], x['task'], x['seed'])
  return {k: {keyed(x): (x['xs'], x['ys']) for x in v} for k, v in rows.items()}


def test_runs_finished_elsewhere_are_kept_and_not_repeated(part, tmp_path, capsys):
  """Their results come out as they went in, beside those of runs that are finished here."""
  cli.main(['ablate', str(PLAN), '--dry-run', '--out', str(tmp_path / 'out'), '--merge', str(part)])
  text = capsys.readouterr().out
  assert f'99 runs finished elsewhere, in {part}; 1 other there' in text
  assert text.count(': finished\n') == 99 and 'vid2act/metaworld_door-lock/4: 0 of 3,000' in text
  study = ablation.Ablation(matrix.Matrix(PLAN), tmp_path / 'out', [part])
  study.gather()
  kept, found = read(KEPT), read(tmp_path / 'out/results')
  assert found == {k: {x: y for x, y in v.items() if x != GONE} for k, v in kept.items()}
  # The run that is missing is finished here.
  mine = tmp_path / 'out/vid2act/metaworld_door-lock/4'
  mine.mkdir(parents=True)
  summary.write(mine, dict(env_steps=3000, method='vid2act', task=GONE[1], seed=4))
  row = dict(method='vid2act', task=GONE[1], seed=4, xs=[0, 3000], ys=[1, 2])
  scores.save(mine / 'scores/score.json.gz', [row])
  study.gather()
  assert read(tmp_path / 'out/results')['score'] == {**kept['score'], GONE: ([0, 3000], [1, 2])}
  # In the order of the plan, so that nothing in a table or picture tells where a run was made.
  places = {(x.method, x.task, x.seed): i for i, x in enumerate(study.plan.runs)}
  rows = [places[x['method'], x['task'], x['seed']] for x in scores.load(
      tmp_path / 'out/results/scores/score.json.gz')]
  assert rows == sorted(rows) and len(rows) == 100
  listed = {(x['method'], x['task'], x['seed']): x for x in json.loads((tmp_path / 'out/results/runs.json').read_text())}
  # What was merged is kept when the option is not repeated, and without any logdir.
  again = ablation.Ablation(matrix.Matrix(PLAN), tmp_path / 'out')
  assert f"99 runs finished elsewhere, in {tmp_path / 'out/results'}" in capsys.readouterr().out
  again.gather()
  assert read(tmp_path / 'out/results')['score'] == {**kept['score'], GONE: ([0, 3000], [1, 2])}
  was = {(x['method'], x['task'], x['seed']): x for x in json.loads((KEPT / 'runs.json').read_text())}
  assert len(listed) == 100 and all(was[k] == v for k, v in listed.items() if k != GONE)


def test_a_run_that_is_here_too_counts_as_it_is_here(tmp_path):
  folder = tmp_path / 'out/stock/metaworld_door-lock/0'
  folder.mkdir(parents=True)
  summary.write(folder, dict(env_steps=3000, method='stock', task=GONE[1], seed=0))
  row = dict(method='stock', task=GONE[1], seed=0, xs=[0, 3000], ys=[7, 7])
  scores.save(folder / 'scores/score.json.gz', [row])
  ablation.Ablation(matrix.Matrix(PLAN), tmp_path / 'out', [KEPT]).gather()
  found = read(tmp_path / 'out/results')['score']
  assert found['stock', GONE[1], 0] == ([0, 3000], [7, 7]) and len(found) == 100


def test_other_settings_are_refused_and_the_same_in_other_words_are_not(part, tmp_path):
  content = YAML().load(PLAN)
  run = lambda: ablation.Ablation(matrix.Matrix(tmp_path / 'plan.yaml'), tmp_path / 'out', [part])
  def write(**changes):
    with open(tmp_path / 'plan.yaml', 'w') as file:
      YAML().dump({**content, **changes}, file)
  with open(tmp_path / 'shared.yaml', 'w') as file:
    YAML().dump(content['configs'][2], file)
  write(configs=['metaworld', 'quickstart', str(tmp_path / 'shared.yaml')], seeds=[0, 1])
  assert len(run().elsewhere) == 20
  changed = r'batch_size 8 there, 9 now\)'
  for changes, key in (
      ({'configs': ['metaworld', 'quickstart', {**content['configs'][2], 'batch_size': 9}]}, 'another configs'),
      ({'variants': {**content['variants'], 'stock': [{'batch_size': 9}]}}, 'another variants.stock')):
    write(**changes)
    with pytest.raises(UserError, match=rf'{key} \({changed}'):
      run()
  # What no run was made of may change.
  path = part / 'results/runs.json'
  path.write_text(json.dumps([x for x in json.loads(path.read_text()) if x['method'] != 'stock']))
  assert len(run().elsewhere) == 79
  # The same file that says something else: what it said is kept with the results.
  write(configs=['metaworld', 'quickstart', str(tmp_path / 'shared.yaml')])
  run().gather()
  (tmp_path / 'shared.yaml').write_text((tmp_path / 'shared.yaml').read_text().replace('batch_size: 8', 'batch_size: 9', 1))
  with pytest.raises(UserError, match=rf'another configs \({changed}'):
    ablation.Ablation(matrix.Matrix(tmp_path / 'plan.yaml'), tmp_path / 'new', [tmp_path / 'out'])
  (tmp_path / 'shared.yaml').unlink()
  write()
  with pytest.raises(UserError, match='cannot be read any more .*shared.yaml'):
    (tmp_path / 'out/results/settings.json').unlink()
    ablation.Ablation(matrix.Matrix(tmp_path / 'plan.yaml'), tmp_path / 'new', [tmp_path / 'out'])


def test_what_is_not_whole_is_made_again(part, tmp_path, capsys):
  listed = json.loads((part / 'results/runs.json').read_text())
  listed[0]['env_steps'] = 2000
  (part / 'results/runs.json').write_text(json.dumps(listed))
  study = ablation.Ablation(matrix.Matrix(PLAN), tmp_path / 'out', [part])
  assert len(study.elsewhere) == 98 and '1 run there without scores or too short, made again' in capsys.readouterr().out
  shutil.rmtree(part / 'results/scores')
  assert not ablation.Ablation(matrix.Matrix(PLAN), tmp_path / 'out', [part]).elsewhere
  (part / 'results/matrix.yaml').unlink()
  with pytest.raises(UserError, match='elsewhere/results/matrix.yaml cannot be read, .*; restore it'):
    ablation.Ablation(matrix.Matrix(PLAN), tmp_path / 'out', [part])
  content = YAML().load(PLAN)
  del content['variants']['finetune']
  with open(part / 'results/matrix.yaml', 'w') as file:
    YAML().dump(content, file)
  with pytest.raises(UserError, match="has runs of the variant 'finetune', of which its matrix.yaml says nothing"):
    ablation.Ablation(matrix.Matrix(PLAN), tmp_path / 'out', [part])


def test_a_running_study_keeps_its_overlays(tmp_path):
  content = YAML().load(PLAN)
  with open(tmp_path / 'plan.yaml', 'w') as file:
    YAML().dump(content, file)
  make = lambda: ablation.Ablation(matrix.Matrix(tmp_path / 'plan.yaml'), tmp_path / 'out')
  with lock.locked(tmp_path / 'out'):
    study = make()
    make()
    content['configs'][2]['batch_size'] = 9
    with open(tmp_path / 'plan.yaml', 'w') as file:
      YAML().dump(content, file)
    with pytest.raises(UserError, match='is at work with other settings than .*plan.yaml has now'):
      make()
    # What is gathered says what runs were begun with.
    study.gather()
  text = (tmp_path / 'out/results/matrix.yaml').read_text()
  assert 'batch_size: 8' in text and 'batch_size: 9' not in text


@pytest.mark.parametrize('content', [None, b'{}', b'[1]', b'[{}]', b'[{"method": [], "task": "a", "seed": 0}]', b'\xff'])
def test_folders_without_results(part, tmp_path, content):
  path = part / 'results/runs.json'
  path.write_bytes(content) if content else path.unlink()
  with pytest.raises(UserError, match='elsewhere holds no results of an ablation.*--merge'):
    ablation.Ablation(matrix.Matrix(PLAN), tmp_path / 'out', [part])


def test_results_that_nothing_else_has_are_never_lost(tmp_path, capsys):
  """Neither by a smaller plan, nor by a run that was begun again and not ended."""
  content, out = YAML().load(PLAN), tmp_path / 'out'
  def study(merged=(), folder=out, **changes):
    with open(tmp_path / 'plan.yaml', 'w') as file:
      YAML().dump({**content, **changes}, file)
    made = ablation.Ablation(matrix.Matrix(tmp_path / 'plan.yaml'), folder, merged)
    made.gather()
    return made
  study([KEPT])
  before = read(out / 'results')
  for begun in ([], [out / x / 'log.txt' for x in study().runs]):  # As a run has it before it has anything else.
    [(x.parent.mkdir(parents=True), x.touch()) for x in begun]
    with pytest.raises(UserError, match='has the only results of 80 runs that .*plan.yaml does not ask for, such as .*/2'):
      study(seeds=[0, 1])
  assert read(out / 'results') == before
  assert len(study([out / 'results'], tmp_path / 'other', seeds=[0, 1]).elsewhere) == 20
  begun = out / 'vid2act/metaworld_door-lock/4'
  assert len(study().elsewhere) == 100 and read(out / 'results') == before
  # A run without scores has not ended.
  summary.write(begun, dict(env_steps=3000))
  shutil.rmtree(out / 'results')
  made = study()
  assert not made.finished(made.runs[f'{begun.parent.parent.name}/metaworld_door-lock/4'])
  assert f"makes its results again: there are no scores in {begun / 'scores'}" in capsys.readouterr().out


def test_folders_that_differ_in_a_run_are_refused(tmp_path):
  shutil.copytree(KEPT, tmp_path / 'other')
  rows = scores.load(KEPT / 'scores/score.json.gz')
  rows[7]['ys'][-1] += 1
  scores.save(tmp_path / 'other/scores/score.json.gz', rows)
  merge = lambda *folders: ablation.Ablation(matrix.Matrix(PLAN), tmp_path / 'out', folders)
  with pytest.raises(UserError, match='have different runs of the method'):
    merge(KEPT, tmp_path / 'other')
  merge(KEPT).gather()
  before = read(tmp_path / 'out/results')
  with pytest.raises(UserError, match=f"results has other scores of 1 run than .*, such as {rows[7]['method']}/.*; leave that --merge"):
    merge(tmp_path / 'other')
  merge(KEPT).gather()
  assert read(tmp_path / 'out/results') == before


def test_a_setting_that_results_do_not_know_was_the_default(tmp_path):
  plan = matrix.Matrix(PLAN)
  now = plan.settings(plan.resolved(['stock', 'vid2act']))
  before = {k: {x: y for x, y in v.items() if x not in ('agent.vid2act.share', 'agent.vid2act.gradshare')} for k, v in now.items()}
  changed = lambda: plan.changed((plan, before), now, {'stock', 'vid2act'})
  assert changed() == 'configs (agent.vid2act.share 0.25 there, 1.0 now)'
  before['stock']['agent.vid2act.share'] = before['vid2act']['agent.vid2act.share'] = 1.0
  before['stock']['agent.vid2act.gone'] = 1
  assert changed() is None


def test_runs_of_another_teacher_are_refused(tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)  # The plan names its teacher from there.
  shutil.copytree(ROOT / 'bench/transfer/results/sparse', tmp_path / 'sparse')
  path, plan = tmp_path / 'sparse/runs.json', matrix.Matrix(tmp_path / 'sparse/matrix.yaml')
  listed, right = json.loads(path.read_text()), RIGHT
  def merge(teacher):
    path.write_text(json.dumps([{**listed[0], 'teacher': teacher}, *listed[1:]]))
    return ablation.Ablation(plan, tmp_path / 'out', [tmp_path / 'sparse'])
  assert len(merge(right).elsewhere) == len(merge('').elsewhere) == len(listed)
  with pytest.raises(UserError, match=f'had the teacher {right[1:13]}, but bench/transfer/teachers/eight is {right[:12]}'):
    merge(right[1:])


def test_a_teacher_that_was_made_and_is_named_now_is_the_same(tmp_path, monkeypatch):
  """By its hash; runs that do not tell it may have had any, and stock has none."""
  monkeypatch.chdir(ROOT)
  shutil.copytree(ROOT / 'bench/transfer/results/sparse', tmp_path / 'sparse')
  path, settings = tmp_path / 'sparse/runs.json', tmp_path / 'sparse/settings.json'
  plan, listed, made = matrix.Matrix(tmp_path / 'sparse/matrix.yaml'), *(
      json.loads(x.read_text()) for x in (path, settings))
  settings.write_text(json.dumps({k: {**x, 'vid2act.teacher': ''} for k, x in made.items()}))
  assert {x['method'] for x in listed} >= {'stock', 'vid2act'}
  merge = lambda: ablation.Ablation(plan, tmp_path / 'out', [tmp_path / 'sparse'])
  told = [x if x.get('teacher') or x['method'] == 'stock' else {**x, 'teacher': RIGHT} for x in listed]
  path.write_text(json.dumps(told))
  assert len(merge().elsewhere) == len(listed)
  for method, hidden, found in (('vid2act', '', "vid2act.teacher '' there"), ('finetune', RIGHT[1:], 'had the teacher')):
    path.write_text(json.dumps([{**x, 'teacher': hidden} if x['method'] == method else x for x in told]))
    with pytest.raises(UserError, match=found):
      merge()
