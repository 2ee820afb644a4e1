"""How far the lead reaches: the README's tables are what is committed."""

import numpy as np
import pytest
from helpers.told import README, RESULTS, interval, intervals, prose, rows_of, short

from vid2act_plugin.studies import comparison
from vid2act_plugin.training import scores

# A study's methods in the order of its tables, the differences told, its env steps, seeds and target; ALONE is the policy
# of `vid2act` in evaluations in which no source acts.
ALONE = 'policy'
STUDIES = {
    'long': (('stock', 'finetune', 'vid2act'), (('vid2act', 'finetune'), ('vid2act', 'stock'), ('finetune', 'stock')),
             20_000, [0, 1, 2], 'metaworld_handle-press-side'),
    'long_sparse': (('finetune', 'vid2act', ALONE), (('vid2act', 'finetune'), (ALONE, 'finetune')),
                    10_000, [0, 1, 2, 3, 4], 'metaworld_button-press-wall')}
TABLES = {  # What stands in the head of a table: its study, its metric, and decimals of a run's figure.
    'long': ('long', 'score', 0), 'long, success': ('long', 'success_any', 2),
    'long, sparse': ('long_sparse', 'success_any', 2)}
FRONT = README.parents[2] / 'README.md'


def parts(study):
  """Return the first and the last env step of each fifth of training, and of all of it."""
  steps = STUDIES[study][2]
  return [*((x, x + steps // 5) for x in range(0, steps, steps // 5)), (0, steps)]


def curves(study, metric):
  """Return `{method: [(env steps, values), ...]}` in the order of seeds."""
  methods, _, steps, seeds, task = STUDIES[study]
  load = lambda name: sorted(scores.load(RESULTS / study / f'scores/{name}.json.gz'), key=lambda x: x['seed'])
  policy = load(f'policy_{metric}') if ALONE in methods and metric == 'success_any' else []
  rows = load(metric) + [{**x, 'method': ALONE} for x in policy if x['method'] == 'vid2act']
  assert {(x['task'], x['xs'][-1]) for x in rows} == {(task, steps)}
  found = {m: [x for x in rows if x['method'] == m] for m in methods if m != ALONE or policy}
  assert all([x['seed'] for x in mine] == seeds for mine in found.values())
  return found


def found(study, metric, first, last):
  """Return `{method: means [S] from the first env step to the last}`, in the order of seeds."""
  return {m: np.array([comparison.mean_over(x, first, last) for x in rows]) for m, rows in curves(study, metric).items()}


@pytest.mark.parametrize('table', TABLES)
def test_the_readme_has_every_part_of_the_curves(table):
  study, metric, places = TABLES[table]
  methods, differences, *_ = STUDIES[study]
  rows = []
  for first, last in parts(study):
    mine = found(study, metric, first, last)
    rows.append([f'{first:,} to {last:,}', *(short(mine[x], places) for x in methods),
                 *(interval(mine[x] - mine[y], places=max(1, places)) for x, y in differences)])
  assert rows_of(f'| env steps ({table}) |') == rows, '\n'.join(f"| {' | '.join(x)} |" for x in rows)


def test_the_readme_says_when_each_method_succeeds():
  """And no interval that is not of the whole or of a part of training."""
  text = prose('**How far it reaches**', '\n**The same with sparse rewards')
  first = {m: [next(a for a, b in zip(x['xs'], x['ys'], strict=True) if b > .79) for x in rows]
           for m, rows in curves('long', 'success_any').items()}
  for method, words in (('stock', 'env steps for stock'), ('finetune', 'for `finetune`'), ('vid2act', 'for `vid2act`')):
    assert 'after {:,.0f}, {:,.0f} and {:,.0f} '.format(*first[method]) + words in text, first
  *_, (start, end), _ = parts('long')
  last = found('long', 'success_any', start, end)['stock']
  assert f'it succeeds in {short([last.min()], 2)} to {short([last.max()], 2)} of episodes' in text
  whole = found('long', 'score', 0, end)
  assert intervals(text) == [interval(whole[x] - whole['stock'], places=1) for x in ('vid2act', 'finetune')]
  for metric in ('score', 'success_any'):  # Of the differences that are said not to be shown.
    for part in parts('long'):
      mine = found('long', metric, *part)
      low, high = comparison.student(mine['vid2act'] - mine['finetune'])
      assert low < 0 < high
      if part == (start, end):
        assert all(np.prod(comparison.student(mine[x] - mine['stock'])) < 0 for x in ('vid2act', 'finetune'))


def test_the_readme_says_whether_finetune_catches_up():
  text, front = prose('**The same with sparse rewards, for longer**', '\n**With far sources'), ' '.join(FRONT.read_text().split())
  (start, end), whole = parts('long_sparse')[-2:]
  mine = found('long_sparse', 'success_any', *whole)
  assert intervals(text) == [interval(mine[x] - mine['finetune']) for x in ('vid2act', ALONE)]
  ends = {m: np.array([x['ys'][-1] for x in rows]) for m, rows in curves('long_sparse', 'success_any').items()}
  last = {m: f'{x.mean():.2f}'.removeprefix('0') for m, x in ends.items()}
  assert f"with success in {last['vid2act']} of episodes, the policy alone in {last[ALONE]}, and `finetune` in {last['finetune']}" in text
  assert f"the policy alone ends with success in {last[ALONE]} of episodes, and `finetune` in {last['finetune']}" in front
  at_last = np.mean([x['ys'][-1] for x in curves('long_sparse', 'success_last')['vid2act']])
  assert f'at the last step `vid2act` succeeds in {short([at_last], 2)}.' in text
  assert 'none of its five runs ever succeeds' in text
  assert [max(x['ys']) for x in curves('long_sparse', 'success_any')['finetune']] == [0] * 5
