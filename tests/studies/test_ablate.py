"""A matrix of runs through the real command, and what it is read from and run with."""

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers import orphans
from ruamel.yaml import YAML

from vid2act_plugin import cli, prepare
from vid2act_plugin.common import lock
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.studies import ablation as ablations
from vid2act_plugin.studies import matrix
from vid2act_plugin.training import scores, summary

TASK = 'metaworld_door-lock'
WHOLE = dict(
    configs=['metaworld', 'quickstart', {'batch_size': 3}],
    variants={'stock': [], 'ours': ['vid2act', {'agent.vid2act.scales.distill': 2.0}]},
    tasks=[TASK], seeds=[0, 7], against='stock')


@pytest.fixture
def write(tmp_path):
  """Return a function that writes an ablation file with some of its keys changed."""
  def fn(**changes):
    content = {k: v for k, v in {**WHOLE, **changes}.items() if v is not None}
    with open(tmp_path / 'matrix.yaml', 'w') as file:
      YAML().dump(content, file)
    return tmp_path / 'matrix.yaml'
  return fn


def test_runs_are_paired_and_resolve_as_their_command_does(write, tmp_path):
  plan = matrix.Matrix(write())
  assert [x.name for x in plan.runs] == [
      f'{m}/{TASK}/{s}' for s in (0, 7) for m in ('stock', 'ours')]
  plan.write(tmp_path / 'overlays')
  stock, ours = plan.configurations(tmp_path / 'overlays').values()
  assert (stock.batch_size, ours.batch_size) == (3, 3)
  assert (stock.agent.typ, ours.agent.typ) == ('dreamerv3', 'vid2act')
  assert (stock.agent.vid2act.scales.distill, ours.agent.vid2act.scales.distill) == (1, 2)
  assert (stock.method, ours.method, ours.task) == ('stock', 'ours', TASK)
  command = plan.command(plan.runs[3], tmp_path / 'overlays', tmp_path / 'logdir')
  names = command[command.index('--configs') + 1: command.index('--task')]
  assert names == plan.names('ours', tmp_path / 'overlays') and names[3] == 'vid2act'
  assert command[command.index('--seed') + 1] == '7' and '--method' in command


def test_a_variant_changes_no_other(write, tmp_path):
  """Whatever its name is: overlays in place become files."""
  names = 'configs', 'variants', 'stock'
  plan = matrix.Matrix(write(variants={x: [{'batch_length': 5 + i}] for i, x in enumerate(names)}))
  plan.write(tmp_path / 'overlays')
  found = plan.configurations(tmp_path / 'overlays')
  assert [found[x, TASK].batch_length for x in names] == [5, 6, 7]
  assert {x.batch_size for x in found.values()} == {3}


@pytest.mark.parametrize('key, value, words', [
    ('seeds', [0, 0], ('seeds', '[0, 0]', 'each once')), ('seeds', ['a'], ("['a']",)),
    ('seeds', [True], ('True',)), ('tasks', [], ('tasks', '[]')), ('tasks', None, ('tasks',)),
    ('against', 'stok', ('against', "'stok'")), ('variants', {'a/b': []}, ('a/b',)),
    ('variants', {'stock': 'vid2act'}, ('variants.stock', "'vid2act'", 'list')),
    ('configs', 'metaworld', ('configs', "'metaworld'")), ('sead', [1], ("'sead'", 'seeds'))])
def test_faults_of_an_ablation_file(write, key, value, words):
  path = write(**{key: value})
  with pytest.raises(UserError) as error:
    matrix.Matrix(path)
  assert all(x in str(error.value) for x in (*words, 'matrix.yaml'))


def test_files_that_are_no_ablation(tmp_path):
  for content, word in ((None, 'cannot be read'), ('[1', 'not valid YAML'), ('- 1', 'no mapping')):
    path = tmp_path / f'{word[:3]}.yaml'
    if content:
      path.write_text(content)
    with pytest.raises(UserError, match=word):
      matrix.Matrix(path)


def test_the_ablations_that_we_ship_can_be_listed(tmp_path, capsys):
  from vid2act_plugin.common import resources as paths
  for name, count in (
      ('cpu', 100), ('gpu', 120), ('sparse', 125), ('dense', 45), ('parts', 45), ('parts_dense', 45), ('irrelevant', 15),
      ('far', 30), ('labels', 12),
      ('noise', 15), ('started', 45), ('long', 9), ('walker', 15)):
    file, out = paths.data('configs') / 'ablations' / f'{name}.yaml', tmp_path / f'out of {name}'
    cli.main(['ablate', str(file), '--dry-run', '--out', str(out)])
    lines = capsys.readouterr().out.splitlines()
    command = shlex.split(lines[1])  # As it is typed.
    assert sum(x.endswith(' env steps') and x[0] != ' ' for x in lines) == count
    first = 'dmc' if name == 'walker' else 'metaworld'
    assert command[:5] == [sys.executable, '-m', 'dreamerv3', '--configs', first]
    assert Path(command[-1]).is_relative_to(out) and not (out / 'results').exists()


def test_a_run_that_left_nothing_readable_is_listed_as_not_finished(write, tmp_path, capsys):
  path, folder = write(variants={'stock': []}, seeds=[0]), tmp_path / 'out' / 'stock' / TASK / '0'
  (folder / 'scores').mkdir(parents=True)
  (folder / 'metrics.jsonl').write_bytes(b'{"step": 10, "a": 1}\n\xff\0"step": ' + b'9' * 5000)

  def listed():
    cli.main(['ablate', str(path), '--dry-run', '--out', str(tmp_path / 'out')])
    return capsys.readouterr().out
  assert f'stock/{TASK}/0: 10 of' in listed()
  summary.write(folder, dict(env_steps=10 ** 9))
  assert 'there are no scores in' in listed()
  scores.save(folder / 'scores/score.json.gz', [dict(method='stock', task=TASK, seed=0, xs=[0, 10], ys=[1, 2])])
  assert f'stock/{TASK}/0: finished' in listed()
  for content in (b'', b'{"env_st', b'[]', b'{}', b'\xff\0', b'[' * 10 ** 5):
    (folder / summary.FILE).write_bytes(content)
    text = listed()
    assert 'does not count as finished' in text and 'summary.json is no summary of a run' in text
    assert f'stock/{TASK}/0: 10 of' in text and text.count('Note') == 1
  summary.write(folder, dict(env_steps=10 ** 9))
  (folder / 'scores' / 'score.json.gz').write_bytes(b'torn')
  assert 'score.json.gz cannot be read' in (text := listed()) and f'stock/{TASK}/0: 10 of' in text


def test_a_reader_that_went_away_is_no_fault(write, tmp_path):
  reader, writer = os.pipe()
  os.close(reader)
  done = subprocess.run([
      sys.executable, '-m', 'vid2act_plugin.cli', 'ablate', write(), '--dry-run', '--out', tmp_path / 'out'],
      stdout=writer, stderr=subprocess.PIPE, text=True)
  os.close(writer)
  assert (done.returncode, done.stderr) == (1, '')


def test_links_in_the_folder_of_an_ablation_lead_nowhere(write, tmp_path):
  (tmp_path / 'out' / 'overlays').mkdir(parents=True)
  victim = tmp_path / 'victim'
  victim.write_text('precious')
  (tmp_path / f'out/overlays/ours-1.yaml.{os.getpid()}.part').symlink_to(victim)
  cli.main(['ablate', str(write()), '--dry-run', '--out', str(tmp_path / 'out')])
  assert victim.read_text() == 'precious'
  assert 'agent.vid2act.scales.distill' in (tmp_path / 'out/overlays/ours-1.yaml').read_text()


def test_a_killed_ablation_leaves_no_run_behind_and_continues(tiny, write, tmp_path, capsys, monkeypatch):
  """Repeated at once, it waits for a run that is saving, and for one that somebody else started."""
  out = tmp_path / 'out'
  plan = write(
      configs=['metaworld', 'quickstart', str(tiny), {
          'random_agent': True, 'logger.outputs': ['jsonl'], 'run.steps': 600}],
      variants={'stock': []}, seeds=[0])
  command = [sys.executable, '-m', 'vid2act_plugin.cli', 'ablate', plan, '--out', out]
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
  run = out / 'stock' / TASK / '0'
  while not (run / 'metrics.jsonl').exists() or not (run / 'metrics.jsonl').read_text():
    assert process.poll() is None
    time.sleep(0.05)
  children = orphans.descendants(process.pid)
  process.kill()
  process.wait()
  cli.main(['ablate', str(plan), '--out', str(out)])
  assert len(children) > 1 and orphans.gone(children, 1)
  assert 'Stopped and saved' in (run / 'log.txt').read_text()
  assert '1 of 1 runs' in capsys.readouterr().out
  # Its summary is gone, as if it were not finished, and another process is at work on it.
  (run / 'summary.json').rename(tmp_path / 'summary.json')
  held, asked = threading.Event(), threading.Event()
  def other():
    with lock.locked(run):
      held.set()
      assert asked.wait(60)
      (tmp_path / 'summary.json').rename(run / 'summary.json')
  owner = lock.owner
  def owned(folder):
    found = owner(folder)
    if found and folder == run:
      asked.set()
    return found
  monkeypatch.setattr(lock, 'owner', owned)
  thread = threading.Thread(target=other)
  thread.start()
  held.wait()
  cli.main(['ablate', str(plan), '--out', str(out)])
  thread.join()
  text = capsys.readouterr().out
  assert f'stock/{TASK}/0: waiting for process {os.getpid()} on' in text and '1 of 1 runs' in text


def test_a_matrix_is_run_continued_and_compared(tiny, write, tmp_path, capsys):
  """One variant fails; the other's result is kept, and the mended matrix runs what is missing."""
  configs = ['metaworld', 'quickstart', str(tiny), {'run.debug': True}]
  broken = {'stock': [], 'ours': ['vid2act', {'env.metaworld.camera': 'nowhere'}]}
  mended = {'stock': [], 'ours': ['vid2act', 'vid2act_noimitate']}
  out = tmp_path / 'out'
  plan = lambda variants: str(write(configs=configs, variants=variants, seeds=[3]))
  run = lambda variants: cli.main(['ablate', plan(variants), '--out', str(out), '--jobs', '2'])
  with pytest.raises(UserError) as error:
    run({**broken, 'ours': broken['ours'][1:]})
  assert f'ours/{TASK}/3' in str(error.value) and 'log.txt' in str(error.value)
  assert "env.metaworld.camera is 'nowhere'" in (out / 'ours' / TASK / '3' / 'log.txt').read_text()
  assert [x['method'] for x in json.loads((out / 'results' / 'runs.json').read_text())] == ['stock']
  summary = out / 'stock' / TASK / '3' / 'summary.json'
  stock, before = json.loads(summary.read_text()), summary.stat().st_mtime_ns
  assert stock['sources'] == [] and stock['updates'] > 0
  run(mended)
  output = capsys.readouterr().out
  assert '2 runs, 1 of them finished' in output
  assert output.splitlines()[-1] == f'Report: {out}/report.html; open it in a browser.'
  assert summary.stat().st_mtime_ns == before
  runs = {x['method']: x for x in json.loads((out / 'results' / 'runs.json').read_text())}
  assert runs['ours']['env_steps'] == runs['stock']['env_steps'] == 80
  assert set(runs['ours']['relevance'][-1]) - {'step'} == set(runs['ours']['sources'])
  assert {x['seed'] for x in runs.values()} == {3}
  text = (out / 'comparison.md').read_text()
  assert f'| {TASK} | ours | paired_difference |' in text
  assert 'Differences to stock' in (out / 'report.html').read_text()
  with pytest.raises(UserError, match='begun with another variants.ours'):
    run(broken)
  with pytest.raises(UserError, match='begun with another configs'):
    cli.main(['ablate', str(write(configs=configs[:3], variants=mended)), '--out', str(out)])
  ablation = ablations.Ablation(matrix.Matrix(plan(mended)), out)
  assert [ablation.step(x) for x in ablation.plan.runs] == [80, 80]


def test_runs_share_behaviours_as_they_share_teachers(write, tmp_path, monkeypatch):
  """Those that each variant asks for, not those that the teacher happens to have."""
  few, many = ({'vid2act.behaviours.updates': x} for x in (7, 9))
  plan = matrix.Matrix(write(variants={'stock': [], 'few': ['vid2act', few], 'many': ['vid2act', many]}))
  monkeypatch.setattr(prepare, 'prepare', lambda config: config.update({
      'vid2act.teacher': '/teacher', 'vid2act.cloned': f'/behaviours-{config.vid2act.behaviours.updates}'}))
  study = ablations.Ablation(plan, tmp_path / 'out')
  study.prepare()
  for run in plan.runs:
    if run.method != 'stock':
      command = study._command(run)
      last = YAML(typ='safe').load(Path(command[command.index('--task') - 1]))
      assert last == {'vid2act.teacher': '/teacher', 'vid2act.cloned': '/behaviours-' + ('7' if run.method == 'few' else '9')}
