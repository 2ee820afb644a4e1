"""The dense study: what the README says of it is what is committed."""

import numpy as np
from helpers.told import README, interval, means, paired, rows_of


def test_the_readme_has_the_dense_study():
  """Its table tells every pair of runs that is committed, and no other."""
  found = {x: means(x, 'dense') for x in ('score', 'policy_score', 'success_any', 'success_last')}
  *told, every, sample = rows_of('| target (dense) |')
  pairs = paired(found['score'], 'vid2act', 'finetune')
  assert {f'metaworld_{x[0]}' for x in told} == {task for task, _ in pairs}
  short, gained = lambda values: ' '.join(f'{x:.0f}' for x in values), {x: [] for x in found}
  for target, seeds, finetune, ours, *cells in told:
    task = f'metaworld_{target}'
    mine = [seed for x, seed in pairs if x == task]
    assert mine == list(range(len(mine))) and seeds == f'0 to {mine[-1]}'
    for cell, method in ((finetune, 'finetune'), (ours, 'vid2act')):
      assert cell == short([found['score'][task, seed, method] for seed in mine])
    for cell, (metric, values) in zip(cells, found.items(), strict=True):
      base = found[metric.removeprefix('policy_')]
      gained[metric].append(np.array([values[task, seed, 'vid2act'] - base[task, seed, 'finetune'] for seed in mine]))
      assert cell == interval(gained[metric][-1], places=1 if 'score' in metric else 2), (target, metric)
  for row, drawn in ((every, lambda x: x), (sample, lambda x: [np.array([y.mean() for y in x])])):
    for cell, (metric, differences) in zip(row[4:], gained.items(), strict=True):
      assert cell == interval(*drawn(differences), places=1 if 'score' in metric else 2), metric
  before = means('score', 'dense_before')
  change = [np.array([found['score'][f'metaworld_{x[0]}', seed, 'vid2act'] - before[f'metaworld_{x[0]}', seed, 'vid2act']
                      for seed in range(5)]) for x in told]
  text, front = (' '.join(x.read_text().split()) for x in (README, README.parents[2] / 'README.md'))
  assert f"is higher than `finetune`'s by {interval(*gained['score'], places=1)}" in front
  success = [interval(*gained[f'success_{x}']) for x in ('any', 'last')]
  assert f'success at any step by {success[0]}, at the last by {success[1]}' in front
  assert f"today's minus that is {interval(*change, places=1)} in score" in text
  better = f"in {sum((x > 0).sum() for x in gained['score'])} of {len(pairs)} pairs"
  assert f"`vid2act` has the higher score {better}, and in all five of button-press-wall and of door-lock" in text
  assert [(x > 0).all() for x in gained['score']] == [False, True, True] and {len(x) for x in gained['score']} == {5}
  assert f'leave the difference of the scores at {sample[4]}.' in text
  others = [i for i, x in enumerate(told) if x[0] != 'button-press-wall']
  less = [interval(*(gained[x][i] for i in others), places=n) for x, n in (('score', 1), ('success_any', 2))]
  assert len(others) == 2 and f'it is {less[0]}, and success at any step differs by {less[1]}.' in text, less
