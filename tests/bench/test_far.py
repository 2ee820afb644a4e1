"""Far sources that act: what the README says of them is what is committed."""

import json

import numpy as np
from helpers.told import README, RESULTS, interval, means, paired, rows_of

from vid2act_plugin.tools import rank

TARGETS = 'button-press-topdown', 'door-lock'


def test_the_readme_has_the_study_of_far_sources():
  found = {x: means(x, 'far') for x in ('score', 'policy_score', 'success_any')}
  pairs, told = paired(found['score'], 'vid2act', 'finetune'), rows_of('| target (far) |')
  gained = {x: [] for x in found}
  for (target, seeds, *cells), expected in zip(told, TARGETS):
    task = f'metaworld_{expected}'
    mine = [seed for x, seed in pairs if x == task]
    assert target == expected and mine == list(range(len(mine))) and seeds == f'0 to {mine[-1]}'
    for method in ('finetune', 'vid2act'):
      assert cells.pop(0) == ' '.join(f"{found['score'][task, x, method]:.0f}" for x in mine)
    for cell, (metric, values) in zip(cells, found.items(), strict=True):
      base = found[metric.removeprefix('policy_')]
      gained[metric].append(np.array([values[task, x, 'vid2act'] - base[task, x, 'finetune'] for x in mine]))
      assert cell == interval(gained[metric][-1], places=1 if 'score' in metric else 2), (target, metric)
  for row, drawn in zip(told[2:], (lambda x: x, lambda x: [np.array([y.mean() for y in x])]), strict=True):
    assert row[4:] == [interval(*drawn(x), places=1 if 'score' in k else 2) for k, x in gained.items()]
  before, text = means('score', 'far_before'), ' '.join(README.read_text().split())
  was = [np.array([before[f'metaworld_{x}', seed, 'vid2act'] for seed in range(5)]) for x in TARGETS]
  base, now = ([np.array([found['score'][f'metaworld_{x}', seed, method] for seed in range(5)]) for x in TARGETS]
               for method in ('finetune', 'vid2act'))
  assert 'By returns alone `vid2act` had ' + ' and '.join(' '.join(f'{x:.0f}' for x in y) for y in was) in text
  minus = lambda one, two: interval(*(x - y for x, y in zip(one, two, strict=True)), places=1)
  assert f"below `finetune` by {minus(was, base)}; today's minus that is {minus(now, was)}" in text
  less = sum((x < 0).sum() for x in gained['score'])
  assert f'in {less} of {len(pairs)} pairs it has the lower score' in ' '.join(README.read_text().split())


def test_the_readme_has_what_far_sources_earn():
  text, content = ' '.join(README.read_text().split()), json.loads((RESULTS / 'rank_far/rank.json').read_text())
  assert content['settings']['seed'] == 779
  for target, name, marked in zip(TARGETS, ('drawer-close', 'soccer'), ('ten', 'three'), strict=True):
    found = rank.summary(content['episodes'][f'metaworld_{target}'])
    best, (random,) = found[0], [x for x in found if 'random' in x['source']]
    assert best['source'] == f'metaworld_{name}'
    low, high = best['score_interval']
    assert f"{name} earns {best['score']:.1f} ({low:.1f} to {high:.1f}), random actions {random['score']:.1f}" in text
    assert sum(bool(x.get('better')) for x in found) == dict(ten=10, three=3)[marked]
    succeeded = max(x['success'] for x in found)
    assert succeeded == dict(ten=0, three=best['success'])[marked] and (
        marked == 'ten' or f'On door-lock soccer succeeds in {succeeded:.2f}'.replace('0.', '.') in text)
