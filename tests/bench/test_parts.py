"""Which part gives what: the README's tables are what is committed."""


import numpy as np
import pytest
from helpers.told import README, RESULTS, interval, intervals, means, paired, prose, rows_of, short

from vid2act_plugin.training import scores

HANDLE, WALL = 'metaworld_handle-press-side', 'metaworld_button-press-wall'
TABLES = {  # What stands in the head of a table: its study, its metric, decimals of a run's figure, and its target.
    'sparse': ('parts', 'success_any', 2, HANDLE), 'dense': ('parts_dense', 'score', 0, WALL),
    'dense, success': ('parts_dense', 'success_any', 2, WALL)}
BASES = 'vid2act', 'finetune'


def found(table):
  """Return the means over training of every run, of the agent and of its policy alone, and how differences are told."""
  study, metric, places, task = TABLES[table]
  agent = means(metric, study)
  assert {x for x, _, _ in agent} == {task}
  policy = {**agent, **means(f'policy_{metric}', study)}  # Where nobody else acts, the whole evaluation is the policy's.
  minus = lambda values, method, base: interval(
      np.array([values[task, s, method] - values[task, s, base] for _, s in paired(agent, method, base)]),
      places=max(1, places))
  return agent, policy, minus


@pytest.mark.parametrize('table', TABLES)
def test_the_readme_has_which_part_gives_what(table):
  """Every run that is committed is told, beside `vid2act` and `finetune` with the same seed."""
  *_, places, task = TABLES[table]
  agent, policy, minus = found(table)
  rows = {}
  for method in dict.fromkeys(x for _, _, x in agent):
    mine = [s for _, s in paired(agent, method)]
    assert mine == list(range(5)), method
    cells = []
    for values in (agent, policy):
      cells += [short([values[task, s, method] for s in mine], places),
                *('' if x == method else minus(values, method, x) for x in BASES)]
    rows[f'`{method}`'] = [f'`{method}`', '0 to 4', *cells]
  told = rows_of(f'| variant ({table}) |')
  shown = '\n'.join(f"| {' | '.join(x)} |" for x in rows.values())
  assert {x[0]: x for x in told} == rows and len(told) == len(rows), shown


@pytest.mark.parametrize('table', ['sparse', 'dense'])
def test_the_readme_says_what_the_published_choices_lose(table):
  agent, policy, minus = found(table)
  less = [minus(x, 'vid2act', 'vid2act_published') for x in (agent, policy)]
  text = ' '.join(README.read_text().split())
  assert f'than `vid2act`, by {less[0]}, the policy alone by {less[1]}' in text
  assert {
      'sparse': f"no more often than `finetune` that can be shown, {minus(agent, 'vid2act_published', 'finetune')}",
      'dense': f"and a lower one than `finetune`, by {minus(agent, 'finetune', 'vid2act_published')}"}[table] in text


def test_the_readme_has_what_dense_rewards_show():
  """Every interval told of the dense target is one of its runs, and so is what came of `finetune` once more."""
  text = prose('**The same with dense rewards** ([parts_dense', '\n**With sources of other bodies')
  have, tables = set(), {}
  for table in ('dense', 'dense, success'):
    agent, policy, minus = found(table)
    tables[table], methods = agent, {x for _, _, x in agent}
    have |= {minus(values, x, y) for values in (agent, policy) for x in methods for y in methods if x != y}
  again = {k: means(TABLES[k][1], 'dense_again') for k in tables}
  assert {(t, x) for t, _, x in again['dense']} == {(WALL, 'finetune')}
  runs = lambda values, method: np.array([values[WALL, s, method] for s in range(5)])
  score, success = (short(runs(x, 'finetune'), TABLES[k][2]) for k, x in again.items())
  assert f'once more with the same five seeds, by later code, has the score {score} and success {success}' in text
  for k, x in again.items():
    less = [runs(tables[k], method) - runs(x, 'finetune') for method in BASES]
    have |= {interval(sign * y, places=max(1, TABLES[k][2])) for y in less for sign in (1, -1)}
  told = intervals(text)
  assert len(told) == 16 and {*told} <= have, {*told} - have
  curve = lambda method, seed: zip(*(next(
      x['ys'] for x in scores.load(RESULTS / f'parts_dense/scores/{metric}.json.gz')
      if (x['method'], x['seed']) == (method, seed)) for metric in ('score', 'success_any')), strict=True)
  assert 'score of 42 succeed in .8' in text and (42, .8) in [(round(x), round(y, 2)) for x, y in curve('finetune', 2)]
  assert 'one with 343 in none' in text and (343, 0) in [(round(x), y) for x, y in curve('vid2act_noimitate', 1)]
