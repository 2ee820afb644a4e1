"""The sparse study: what the README says of it is what is committed."""

import itertools
import json
import re

import numpy as np
import pytest

from bench.transfer import study
from vid2act_plugin.studies import comparison
from vid2act_plugin.tools import rank
from vid2act_plugin.training import scores

RESULTS = study.RESULTS
README = RESULTS.parent / 'README.md'


def test_the_readme_has_the_sparse_study():
  """Its table tells every pair of runs that is committed, and no other."""
  found = {}
  for row in scores.load(RESULTS / 'sparse' / 'scores' / 'success_any.json.gz'):
    found[row['task'], row['seed'], row['method']] = comparison.mean_over(row, 0, row['xs'][-1])
  pairs = {(task, seed) for task, seed, method in found if method == 'vid2act'} & {
      (task, seed) for task, seed, method in found if method == 'finetune'}
  lines, number = README.read_text().splitlines(), lambda text: [float(x) for x in text.split()]
  start = next(i for i, x in enumerate(lines) if x.startswith('| target (sparse) |'))
  told = [[y.strip() for y in x.strip('|').split('|')] for x in itertools.takewhile(
      lambda x: x.startswith('|'), lines[start + 2:])]
  *told, every = told
  assert {f'metaworld_{x[0]}' for x in told} == {task for task, _ in pairs}
  gained, played = [], json.loads((RESULTS / 'rank' / 'rank.json').read_text())['episodes']
  def check(count, mean, differences):
    """The mean of the targets' means, and its interval."""
    assert int(count) == sum(map(len, differences))
    wanted = comparison.mean(*differences), *comparison.student(*differences)
    assert [float(x) for x in re.findall(r'-?[.0-9]+', mean)] == pytest.approx(wanted, abs=.006)
  for target, best, count, finetune, ours, differences, mean in told:
    rows = rank.summary(played[f'metaworld_{target}'])
    assert float(best) == pytest.approx(rows[0]['success'], abs=.006) and rows[0]['source'] != 'random actions'
    mine = sorted((seed, *(found[task, seed, x] for x in ('finetune', 'vid2act')))
                  for task, seed in pairs if task == f'metaworld_{target}')
    assert int(count) == len(mine) and number(finetune + ' ' + ours) == pytest.approx(np.mean(mine, 0)[1:], abs=.006)
    gained.append(np.array([after - before for _, before, after in mine]))
    assert number(differences) == pytest.approx(gained[-1], abs=.006)
    check(count, mean, gained[-1:])
  assert every[0] == 'all'
  check(every[2], every[-1], gained)


def test_the_readme_has_what_irrelevant_sources_do():
  text, found = ' '.join(README.read_text().split()), {}
  for method in ('finetune', 'vid2act'):
    rows = [x for x in scores.load(RESULTS / 'irrelevant' / 'scores' / 'score.json.gz') if x['method'] == method]
    found[method] = np.array([comparison.mean_over(x, 0, x['xs'][-1]) for x in sorted(rows, key=lambda x: x['seed'])])
    assert f'`{method}` {" ".join(f"{x:.0f}" for x in found[method])}' in text
  differences = found['vid2act'] - found['finetune']
  low, high = comparison.student(differences)
  assert f'a difference of {differences.mean():.1f} ({low:.1f} to {high:.1f})' in text


def test_the_readme_has_what_imitation_gives():
  lines = README.read_text().splitlines()
  start = lines.index('| | agent | policy alone |') + 2
  for line, (method, folder) in zip(lines[start:], (('vid2act', 'sparse'), ('vid2act_noimitate', 'parts'))):
    name, *cells = (x.strip() for x in line.strip('|').split('|'))
    assert name == f'`{method}`'
    for cell, metric in zip(cells, ('success_any', 'policy_success_any')):
      rows = scores.load(RESULTS / folder / 'scores' / f'{metric}.json.gz')
      found = {x['seed']: comparison.mean_over(x, 0, x['xs'][-1]) for x in rows if (
          x['method'] == method and x['task'] == 'metaworld_handle-press-side')}
      assert [float(x) for x in cell.split()] == pytest.approx([found[0], found[1]], abs=.006)
