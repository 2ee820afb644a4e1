"""How far the lead reaches: the README's tables are what is committed."""

import re

import numpy as np
import pytest
from helpers.told import README, RESULTS, interval, rows_of, short

from vid2act_plugin.studies import comparison
from vid2act_plugin.training import scores

METHODS = 'stock', 'finetune', 'vid2act'
DIFFERENCES = ('vid2act', 'finetune'), ('vid2act', 'stock'), ('finetune', 'stock')
TABLES = {'long': ('score', 0), 'long, success': ('success_any', 2)}
STEPS, PART = 20_000, 4_000
PARTS = [*((x, x + PART) for x in range(0, STEPS, PART)), (0, STEPS)]


def found(metric, first, last):
  """Return `{method: means [S] from the first env step to the last}`, in the order of seeds."""
  rows = sorted(scores.load(RESULTS / f'long/scores/{metric}.json.gz'), key=lambda x: x['seed'])
  assert {(x['task'], x['xs'][-1]) for x in rows} == {('metaworld_handle-press-side', STEPS)}
  means = {m: [(x['seed'], comparison.mean_over(x, first, last)) for x in rows if x['method'] == m] for m in METHODS}
  assert all([s for s, _ in x] == [0, 1, 2] for x in means.values())
  return {m: np.array([y for _, y in x]) for m, x in means.items()}


@pytest.mark.parametrize('table', TABLES)
def test_the_readme_has_every_part_of_the_curves(table):
  metric, places = TABLES[table]
  rows = []
  for first, last in PARTS:
    mine = found(metric, first, last)
    rows.append([f'{first:,} to {last:,}', *(short(mine[x], places) for x in METHODS),
                 *(interval(mine[x] - mine[y], places=max(1, places)) for x, y in DIFFERENCES)])
  assert rows_of(f'| env steps ({table}) |') == rows, '\n'.join(f"| {' | '.join(x)} |" for x in rows)


def test_the_readme_says_when_each_method_succeeds():
  """And no interval that is not of the whole or of a part of training."""
  text = README.read_text().split('**How far it reaches**')[1].split('\n**With far sources')[0]
  text = ' '.join(' '.join(x for x in text.splitlines() if not x.startswith('|')).split())
  rows = scores.load(RESULTS / 'long/scores/success_any.json.gz')
  first = {(x['method'], x['seed']): next(a for a, b in zip(x['xs'], x['ys'], strict=True) if b > .79) for x in rows}
  for method, words in (('stock', 'for stock'), ('finetune', 'for `finetune`'), ('vid2act', 'for `vid2act`')):
    steps = [f'{first[method, s]:,.0f}' for s in range(3)]
    assert f'after {steps[0]}, {steps[1]} and {steps[2]} {"env steps " * (method == "stock")}{words}' in text, steps
  last = found('success_any', STEPS - PART, STEPS)
  assert f"it succeeds in {short([last['stock'].min()], 2)} to {short([last['stock'].max()], 2)} of episodes" in text
  told = re.findall(r'-?[.\d]+ \(-?[.\d]+ to -?[.\d]+\)', text)
  whole = found('score', 0, STEPS)
  assert told == [interval(whole[x] - whole['stock'], places=1) for x in ('vid2act', 'finetune')]
  for metric, _places in TABLES.values():  # Of the two differences that are said not to be shown.
    for part in PARTS:
      mine = found(metric, *part)
      low, high = comparison.student(mine['vid2act'] - mine['finetune'])
      assert low < 0 < high
      if part == (STEPS - PART, STEPS):
        assert all(np.prod(comparison.student(mine[x] - mine['stock'])) < 0 for x in ('vid2act', 'finetune'))
