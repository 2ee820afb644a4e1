"""Reports of what has gone on, or is not whole yet, say what is so now."""

import json

import pytest
from helpers import logdirs

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.studies import comparison, logdir, plot, run_page, study_page
from vid2act_plugin.training import scores


def test_a_run_that_goes_on_after_its_end_shows_what_its_log_has(tmp_path):
  folder = logdirs.write(tmp_path / 'run')
  ended = ' '.join(run_page.content(folder)['lead'])
  assert 'Last evaluation: score 10, success_any 1.' in ended and 'metaworld_reach earned most: 1.5 per episode in 15' in ended
  assert logdir.Run(folder).summary['stages']
  with open(folder / 'metrics.jsonl', 'a') as file:
    file.write(json.dumps({'step': 600, 'eval/score': 7.0, 'eval/success_any': 0.5, 'train/relevance/metaworld_reach': 0.1}) + '\n')
  again, run = ' '.join(run_page.content(folder)['lead']), logdir.Run(folder)
  assert 'score 7, success_any 0.5.' in again and 'score 10' not in again and 'in 15' not in again
  assert run.step == 600 and run.sources and run.last('train/relevance/metaworld_reach') == 0.1
  assert not run.summary['final_relevance'] and run.summary['host'] == 'dreamer 3.3.0'


def test_differences_of_some_tasks_are_not_called_none(tmp_path, monkeypatch):
  """As while a study goes on: no method has pairs on every task."""
  monkeypatch.setattr(comparison, 'REPS', 50)
  row = lambda method, task, seed, y: dict(method=method, task=task, seed=seed, xs=[0, 10], ys=[y, y + seed])
  rows = [row(m, 'metaworld_reach', s, y) for m, y in (('stock', 1), ('vid2act', 5)) for s in range(5)]
  def lead(rows):
    scores.save(tmp_path / 'scores/score.json.gz', rows)
    return ' '.join(study_page.content(tmp_path, 'stock')['lead'])
  assert 'vid2act: +4' in lead(rows)
  begun = [*rows, row('stock', 'metaworld_push', 0, 1)]
  assert lead(begun) == 'No method has runs of every task that stock has; differences by task are below.'
  assert lead(rows[:5]) == 'Nothing to compare with.'


def test_a_method_that_nobody_ran_is_nothing_to_compare_with(tmp_path, monkeypatch):
  monkeypatch.setattr(comparison, 'REPS', 50)
  rows = [dict(method=m, task='metaworld_reach', seed=s, xs=[0, 10], ys=[1, 2 + s]) for m in ('stock', 'mine') for s in range(2)]
  scores.save(tmp_path / 'in/scores/score.json.gz', rows)
  for command in (['plot', '--out', str(tmp_path / 'out')], ['report']):
    with pytest.raises(UserError, match="There are no runs of 'stck' to compare with; choose one of stock, mine"):
      cli.main([command[0], str(tmp_path / 'in'), *command[1:], '--against', 'stck'])
  assert not (tmp_path / 'out').exists() and not (tmp_path / 'in/report.html').exists()
  plot.plot([tmp_path / 'in'], tmp_path / 'out', 'planned')  # As a study does before its first run of that ends.
  assert (tmp_path / 'out/comparison.md').exists()


def test_a_report_tells_that_runs_were_made_by_several_versions(tmp_path, monkeypatch):
  monkeypatch.setattr(comparison, 'REPS', 50)
  rows = [dict(method='stock', task='metaworld_reach', seed=s, xs=[0, 10], ys=[1, 2 + s]) for s in range(2)]
  scores.save(tmp_path / 'scores/score.json.gz', rows)
  def notes(*codes):
    about = [dict(method='stock', task='metaworld_reach', seed=s, env_steps=10, code=x) for s, x in enumerate(codes)]
    (tmp_path / 'runs.json').write_text(json.dumps(about))
    return str([x for x in study_page.content(tmp_path)['sections'] if x[0] == 'notes'])
  assert 'were made by 2 versions of the code (a1, b2)' in notes('a1', 'b2') and 'versions' not in notes('a1', 'a1')
