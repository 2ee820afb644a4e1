"""The report of a run or a study says all that is there, and what is not; it costs no run anything."""

import html
import json
import os
import pathlib
import re
import shutil
import types

import pytest
from helpers import logdirs
from helpers.nasty import NASTY, plain

from vid2act_plugin import cli, plugin
from vid2act_plugin.common import charts, images, lock
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.studies import report
from vid2act_plugin.training import notes

EARLIER = pathlib.Path(__file__).parents[1] / 'data' / '660db1a' / 'logdir'
SCRIPT = '<script>alert(1)</script>'
OTHER = b'{"step": "x", "stages": 3, "reward": {}}\n'


def shown(path):
  """Return the page and its text, without what it draws."""
  page = path.read_text(encoding='utf-8')
  body = re.sub(r'<(script|style).*?</\1>', '', page.split('<body>')[1], flags=re.DOTALL)
  return page, html.unescape(re.sub(r'<[^>]*>', ' ', body))


@pytest.fixture
def quick(monkeypatch):
  """Leave out what takes longest, the drawing."""
  for name in ('lines', 'intervals'):
    monkeypatch.setattr(charts, name, lambda *args, **axes: dict(svg=b'<svg/>', left=.1, right=.9, top=0, bottom=.2))


def sections(page):
  return re.findall(r'<section id="(\w+)"', page)


def test_a_finished_run(tmp_path, capsys):
  logdirs.write(tmp_path / 'run')
  cli.main(['report', str(tmp_path / 'run')])
  assert f'Report: {tmp_path}/run/report.html' in capsys.readouterr().out
  page, text = shown(tmp_path / 'run/report.html')
  assert sections(page) == ['learning', 'sources', 'episode', 'openloop', 'ran', 'notes']
  for words in ('vid2act_exec on metaworld_door-lock', 'Ended after 500 env steps and 3 min 01 s',
                'Last evaluation: score 10, success_any 1', 'metaworld_reach earned most: 1.5 per episode in 15',
                'Carried out by the source metaworld_reach, not', '0.75', 'Initialised from the teacher', 'dreamer 3.3.0', '0.10.2', 'abababababababab'):
    assert words in text, words
  assert 'missing' not in text


def test_nothing_is_fetched_and_no_other_script_runs(tmp_path):
  page, _ = shown(report.write(logdirs.write(tmp_path / 'run')))
  assert set(re.findall(r'(?:src|href)="([a-z]+:|.)', page)) == {'data:', '#'}
  assert "default-src 'none'; img-src data:;" in page
  assert not re.search(r'url\(|@import|https?://(?!www\.w3\.org)', re.sub(r'data:[^"]*', '', page))


@pytest.mark.parametrize('name', [SCRIPT, NASTY, '{{ 7 * 7 }}', '"><img src=x onerror=alert(1)>', '</script>'])
def test_text_stays_text(name, tmp_path, study, quick):
  """What others call tasks, methods and sources, in a run and in a study."""
  run = report.write(logdirs.write(tmp_path / 'run', f'metaworld_{name}', name, (name, 'metaworld_reach')))
  (run.parent / 'summary.json').write_text(
      (run.parent / 'summary.json').read_text().replace('0.10.2', 'x' * 10 ** 5))
  for path in (report.write(run.parent), report.write(study((name, 'stock'), f'metaworld_{name}'))):
    page, text = shown(path)
    assert page.count('<script') == 1 + page.count('<script type="application/json"')
    assert page.count('</script') == page.count('<script') and '<img src=x' not in page
    assert plain(page) and (name is NASTY or name in text)
    assert 'x' * 400 not in page


def test_a_run_of_dreamerv3_alone(tmp_path, quick):
  page, text = shown(report.write(logdirs.stock(tmp_path / 'run', 'dmc_walker_walk')))
  assert sections(page) == ['learning', 'ran', 'missing'] and 'dreamerv3 on dmc_walker_walk' in text
  assert 'No summary' in text and 'No film' in text and 'Has not ended: 400' in text


def test_a_run_of_an_earlier_version(tmp_path, quick):
  shutil.copytree(EARLIER, tmp_path / 'run')
  page, text = shown(report.write(tmp_path / 'run'))
  assert {'learning', 'ran', 'missing'} <= {*sections(page)}
  assert 'an earlier version made it' in text or 'No film' in text


def test_what_an_earlier_version_drew_along_an_episode(tmp_path, quick):
  folder = logdirs.write(tmp_path / 'run')
  images.png(folder / 'eval_relevance.png', logdirs.frames(3)[0])
  assert 'Relevance along it' not in shown(report.write(folder))[1]
  (folder / 'eval_episode.json').unlink()
  page, text = shown(report.write(folder))
  assert 'Relevance along it' in text and 'data:image/png;base64,iVBOR' in page


def test_a_run_that_is_still_going_on(tmp_path, quick):
  folder = logdirs.stock(tmp_path / 'run')
  with open(folder / 'metrics.jsonl', 'a') as file:
    file.write('{"step": 450, "eval/score": 5}\n{"step": 47')
  with lock.locked(folder):
    _, text = shown(report.write(folder))
  assert re.search(r'Still going on \(process \d+.*\): 450 of 500 env steps so far', text)
  assert 'Last evaluation: score 5.' in text


@pytest.mark.parametrize('name', [
    'config.yaml', 'metrics.jsonl', 'summary.json', 'teacher.json', 'eval.gif', 'eval_episode.json',
    'openloop_image.gif', 'notes.jsonl'])
@pytest.mark.parametrize('content', [None, b'\0\xff{', OTHER])
def test_what_is_missing_or_spoilt_is_said_and_the_rest_is_shown(name, content, tmp_path, quick):
  folder = logdirs.write(tmp_path / 'run', steps=4)
  (folder / name).unlink()
  if content is not None:
    (folder / name).write_bytes(content)
  page, text = shown(report.write(folder))
  lost = {'metrics.jsonl': 'learning', 'eval.gif': 'episode', 'openloop_image.gif': 'openloop',
          'notes.jsonl': 'notes'}.get(name)
  assert {'learning', 'sources', 'episode', 'openloop', 'ran', 'notes'} - {lost} <= {*sections(page)}
  # Without a teacher nothing is missing; JSON without what is wanted is an older version's.
  assert content == OTHER or (name, content) == ('teacher.json', None) or 'missing' in sections(page)


def test_pipes_are_not_waited_for(tmp_path, quick):
  folder = logdirs.stock(tmp_path / 'run')
  for name in ('metrics.jsonl', 'summary.json', 'teacher.json', 'eval.gif', 'eval_episode.json',
               'eval_relevance.png', 'openloop.gif', 'notes.jsonl'):
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
  _, text = shown(report.write(folder))
  assert 'eval.gif cannot be read' in text and 'it is a pipe' in text


@pytest.mark.parametrize('by, said', [
    ('policy', 'Carried out by the policy.'), (None, ''), (3, ''), (SCRIPT, f'by the source {SCRIPT},')])
def test_who_carried_out_the_episode(by, said, tmp_path, quick):
  folder = logdirs.write(tmp_path / 'run', sources=('reward', 'return so far'))  # As other lines are called.
  content = json.loads((folder / 'eval_episode.json').read_text())
  (folder / 'eval_episode.json').write_text(json.dumps({**content, 'by': by}))
  page, text = shown(report.write(folder))
  assert said in text and ('Carried out' in text) == bool(said)
  numbers, bars = (json.loads(re.search(rf'"{k}": (\[.*?\])[,}}]\s*["}}<]', page)[1]) for k in ('numbers', 'bars'))
  assert bars == [False] * 3 + [True] * 2 and len(numbers) == 5 and sum(numbers[0]) == 1


def test_an_episode_of_another_length_than_its_film(tmp_path, quick):
  folder = logdirs.write(tmp_path / 'run')
  (folder / 'eval_episode.json').write_text(json.dumps(dict(reward=[1] * 9, relevance={'a': [1], 'b': ['x']})))
  page, _ = shown(report.write(folder))
  assert 'episode' in sections(page)


@pytest.mark.parametrize('make, said', [
    (lambda x: x / 'nothing', 'is no folder'), (lambda x: x, 'is neither the LOGDIR'),
    (lambda x: pathlib.Path('/dev/null'), 'is no folder')])
def test_what_is_no_run_is_refused_in_one_sentence(make, said, tmp_path):
  (tmp_path / 'a.txt').write_text('x')
  with pytest.raises(UserError, match=said) as error:
    cli.main(['report', str(make(tmp_path))])
  assert '\n' not in str(error.value) and [x.name for x in tmp_path.iterdir()] == ['a.txt']


def test_out_is_a_file(tmp_path, quick):
  folder = logdirs.stock(tmp_path / 'run')
  cli.main(['report', str(folder), '--out', str(tmp_path / 'new/x.html')])
  assert (tmp_path / 'new/x.html').exists() and not (folder / 'report.html').exists()
  with pytest.raises(UserError, match='--out .* is a folder'):
    cli.main(['report', str(folder), '--out', str(tmp_path)])


def test_a_study(study):
  page, text = shown(report.write(study(), against='stock'))
  assert sections(page) == ['curves', 'differences', 'table', 'sources', 'runs', 'notes', 'missing']
  assert '2 methods, 1 task, 3 seeds' in text and 'no matrix.yaml' in text.lower()
  assert re.search(r'vid2act: \+\S+ \(\S+ to \S+\), ', text) and 'fewer than 5 seeds' in text
  cells = re.findall(r'<td class="number" data-sort="([^"]*)">', page)
  assert len(cells) > 50 and all(x == '' or float(x) == float(x) for x in cells)


def test_a_study_without_scores_of_evaluations(study, quick):
  page, text = shown(report.write(study(metric='train_score')))
  assert 'score of training episodes' in text and 'with exploration' in text


def test_the_end_of_a_run_writes_it(tmp_path, monkeypatch, capsys, quick):
  """Through the script that DreamerV3 is given; what fails is said, and the run has ended well."""
  config = types.SimpleNamespace(logdir=str(logdirs.write(tmp_path / 'run')), run=types.SimpleNamespace(eval_every=1))
  monkeypatch.setattr(plugin, '_lazy', lambda module, name: lambda config, args: None)
  run = plugin._scripts(config)['train_eval']
  run(config, None)
  assert (tmp_path / 'run/report.html').exists()
  assert capsys.readouterr().out.splitlines()[-1] == f'Report: {tmp_path}/run/report.html; open it in a browser.'
  for fault in (OSError(28, 'No space left on device'), MemoryError(), UserError('x'), RuntimeError('x\ny')):
    def broken(*args, fault=fault):
      raise fault
    monkeypatch.setattr(report, 'write', broken)
    run(config, None)
    line, = capsys.readouterr().out.splitlines()
    assert 'the report was not written' in line and type(fault).__name__ in line


def test_notes_are_kept_once_and_read_as_far_as_they_go(tmp_path):
  from vid2act_plugin.common import output
  output.NOTED.clear()
  output.note('Note: one', 'two\x1b[31m')
  notes.keep(tmp_path)
  notes.keep(tmp_path)
  with open(tmp_path / notes.FILE, 'a') as file:
    file.write('{"torn')
  found, = notes.read(tmp_path)
  assert found['lines'] == ['Note: one', 'two?[31m']
  assert notes.read(tmp_path / 'nothing') == []


def test_a_finished_pretraining(tmp_path, quick):
  """It leaves no summary, evaluates nothing, and has batches and films of its own."""
  folder = logdirs.stock(tmp_path / 'run')
  content = json.loads((folder / 'config.yaml').read_text()) | dict(run=dict(train_ratio=512), vid2act=dict(
      pretrain=dict(batch_size=6, batch_length=24), behaviours=dict(batch_size=77)))
  (folder / 'config.yaml').write_text(json.dumps({**content, 'script': 'pretrain'}))
  images.gif(folder / 'openloop.gif', logdirs.frames(6, 24, 16))
  (folder / 'teacher').mkdir()
  (folder / 'teacher/manifest.json').write_text('{}')
  never = 'No summary', 'No film', 'has not ended', '4 x 8', 'train ratio', 'how they differ', 'Not kept'
  assert 'Ended after 400 updates' in (text := shown(report.write(folder))[1]) and '6 x 24' in text
  assert not [x for x in never if x in text]
  (folder / 'config.yaml').write_text(json.dumps({**content, 'script': 'clone'}))
  os.unlink(folder / 'openloop.gif')
  assert '77 steps' in (text := shown(report.write(folder))[1]) and 'No open-loop' not in text


def test_stages_and_evaluations_alone(tmp_path, quick):
  """Their steps are updates, or those of the checkpoint; neither is a run that was cut short."""
  folder = logdirs.stock(tmp_path / 'run')
  for script, said in (('pretrain', 'Has not ended: 400 updates'), ('eval_only', 'Ended after 400 env steps')):
    content = json.loads((folder / 'config.yaml').read_text())
    (folder / 'config.yaml').write_text(json.dumps({**content, 'script': script}))
    if script == 'eval_only':
      (folder / 'summary.json').write_text('{"eval": {"score": 3.5}}')
    assert said in shown(report.write(folder))[1]
  for script, made in (('pretrain', 'teacher/manifest.json'), ('clone', 'behaviours/behaviours.json')):
    (folder / 'config.yaml').write_text(json.dumps({**content, 'script': script}))
    shutil.rmtree((folder / 'teacher'), ignore_errors=True)
    assert 'Has not ended' in shown(report.write(folder))[1]
    (folder / made).parent.mkdir()
    (folder / made).write_text('{}')
    assert 'Ended after 400 updates' in shown(report.write(folder))[1]
