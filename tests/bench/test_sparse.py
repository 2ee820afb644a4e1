"""The sparse study: what the README says of it is what is committed."""

import json
import re

import numpy as np
import pytest
import scipy.stats
from helpers.told import README, RESULTS, interval, means, number, paired, rows_of

from vid2act_plugin.studies import comparison, matrix
from vid2act_plugin.tools import rank
from vid2act_plugin.training import scores

FRONT = RESULTS.parents[2] / 'README.md'
DEVELOPED = 'button-press-wall', 'handle-press-side'  # On other seeds.
ABLATIONS = FRONT.parent / 'configs' / 'ablations'


def test_the_readme_has_the_sparse_study():
  """Its table tells every pair of runs that is committed, and no other."""
  found = means('success_any')
  pairs = paired(found, 'vid2act', 'finetune')
  *told, every = rows_of('| target (sparse) |')
  assert {f'metaworld_{x[0]}' for x in told} == {task for task, _ in pairs}
  gained, played = [], json.loads((RESULTS / 'rank' / 'rank.json').read_text())['episodes']
  def check(count, mean, differences):
    """The mean of the targets' means, and its interval."""
    assert int(count) == sum(map(len, differences))
    wanted = comparison.mean(*differences), *comparison.student(*differences)
    assert number(mean) == pytest.approx(wanted, abs=.006)
  for target, best, count, finetune, ours, differences, mean in told:
    rows = rank.summary(played[f'metaworld_{target}'])
    assert float(best) == pytest.approx(rows[0]['success'], abs=.006) and rows[0]['source'] != 'random actions'
    mine = sorted((seed, *(found[task, seed, x] for x in ('finetune', 'vid2act')))
                  for task, seed in pairs if task == f'metaworld_{target}')
    assert int(count) == len(mine) and number(finetune + ' ' + ours) == pytest.approx(np.mean(mine, 0)[1:], abs=.006)
    gained.append(np.array([after - before for _, before, after in mine]))
    assert number(differences) == pytest.approx(gained[-1], abs=.006)
    check(count, mean, gained[-1:])
    if target in DEVELOPED:
      front = ' '.join(FRONT.read_text().split())
      assert (f"is {ours} on {target}, and `finetune`'s {finetune}, a difference of {mean}" in front
              or f'on {target} it is {ours} and {finetune}, a difference of {mean}' in front)
  assert every[0] == 'all'
  check(every[2], every[-1], gained)
  listed = json.loads((RESULTS / 'sparse/runs.json').read_text())
  assert f'{len(listed)} of its 125 runs are made' in ' '.join(README.read_text().split())


def test_the_readme_has_what_the_rule_before_gave():
  """Beside that of today, seed by seed; all that is committed, and no other."""
  found = [means(metric, study) for metric in ('success_any', 'policy_success_any') for study in ('sparse_before', 'sparse')]
  told = rows_of('| target | `vid2act` before |')
  assert sorted(f'metaworld_{x[0]}' for x in told) == sorted({task for task, _, _ in found[0]})
  for target, *cells in told:
    for cell, values in zip(cells, found, strict=True):
      seeds = sorted(seed for task, seed, method in values if (task, method) == (f'metaworld_{target}', 'vid2act'))
      assert seeds == [0, 1, 2, 3, 4]
      assert number(cell) == pytest.approx(
          [values[f'metaworld_{target}', seed, 'vid2act'] for seed in seeds], abs=.006), target
  text = ' '.join(README.read_text().split())
  for was, now, whose in ((*found[:2], 'the agent'), (*found[2:], 'its policy alone')):
    changes = [np.array([now[task, seed, 'vid2act'] - was[task, seed, 'vid2act'] for seed in range(5)])
               for task in sorted({x[0] for x in was})]
    assert f'{interval(*changes)} of {whose}' in text


def test_the_readme_has_what_other_beginnings_give():
  found, was, told = means('success_any', 'started'), means('success_any'), rows_of('| target | starts as |')
  assert sorted((f'metaworld_{x[0]}', f'as_{x[1]}') for x in told) == sorted({(task, x) for task, _, x in found})
  for target, source, seeds, *cells in told:
    task = f'metaworld_{target}'
    mine = sorted(seed for x, seed, method in found if (x, method) == (task, f'as_{source}'))
    assert mine == list(range(len(mine))) and seeds == ('0' if mine == [0] else f'0 to {mine[-1]}')
    for cell, (values, method) in zip(cells, ((was, 'finetune'), (found, f'as_{source}'), (was, 'vid2act')), strict=True):
      assert number(cell) == pytest.approx([values[task, seed, method] for seed in mine], abs=.006), (target, method)


def test_the_readme_has_what_random_sources_do():
  found, text = means('score', 'noise'), ' '.join(README.read_text().split())
  seeds = [seed for _, seed in paired(found, 'vid2act', 'finetune')]
  one, two = ([found['metaworld_button-press-topdown', seed, x] for seed in seeds] for x in ('finetune', 'vid2act'))
  told = lambda values: ' '.join(f'{x:.0f}' for x in values)
  assert seeds == [*range(1, len(seeds) + 1)] and f'`finetune` {told(one)}, `vid2act` {told(two)} (seeds 1 to' in text
  before = means('score', 'noise_before')
  assert f"By returns alone `vid2act` had {told(before['metaworld_button-press-topdown', x, 'vid2act'] for x in seeds)};" in text
  difference = interval(np.array(two) - one, places=1)
  assert f'a difference of {difference}' in text


def test_with_sparse_rewards_who_earned_something_succeeded():
  """So that these studies are as well of the rule that asks for success."""
  for study in ('sparse', 'parts'):
    for one, other in (('score', 'success_any'), ('policy_score', 'policy_success_any')):
      earned, succeeded = (scores.load(RESULTS / study / 'scores' / f'{x}.json.gz') for x in (one, other))
      key = lambda x: (x['task'], x['method'], x['seed'])
      earned, succeeded = ({key(x): x for x in rows} for rows in (earned, succeeded))
      assert earned.keys() == succeeded.keys() and earned
      assert all((np.array(x['ys']) > 0).tolist() == (np.array(succeeded[k]['ys']) > 0).tolist() for k, x in earned.items())


def test_the_readme_has_the_sparse_study_by_other_measures():
  found = {x: means(x) for x in ('success_any', 'success_last', 'policy_success_any', 'score')}
  *told, every, others, sample, beside, these = rows_of('| `vid2act` minus `finetune` | success')
  gained, aside = ({x: [] for x in found} for _ in range(2))
  for target, *cells in told:
    for cell, (metric, mine) in zip(cells, found.items(), strict=True):
      base = found[metric.removeprefix('policy_')]
      gained[metric].append(np.array([
          mine[task, seed, 'vid2act'] - base[task, seed, 'finetune']
          for task, seed in paired(found['success_any'], 'vid2act', 'finetune') if task == f'metaworld_{target}']))
      aside[metric].append(np.array([
          mine[task, seed, 'vid2act'] - base[task, seed, 'finetune_exec']
          for task, seed in paired(found['success_any'], 'vid2act', 'finetune_exec') if task == f'metaworld_{target}']))
      wanted = gained[metric][-1].mean(), *comparison.student(gained[metric][-1])
      assert number(cell) == pytest.approx(wanted, abs=.06 if metric == 'score' else .006), (target, metric)
    if target in DEVELOPED:
      last = interval(gained['success_last'][-1])
      assert f' {last}' in ' '.join(FRONT.read_text().split())
  new = [i for i, x in enumerate(told) if x[0] not in DEVELOPED]
  for i, (metric, differences) in enumerate(gained.items()):
    for row, samples in (
        (every, differences), (others, [differences[k] for k in new]), (beside, aside[metric]), *(
            (x, [np.array([y.mean() for y in z])]) for x, z in ((sample, differences), (these, aside[metric])))):
      wanted = comparison.mean(*samples), *comparison.student(*samples)
      assert number(row[1 + i]) == pytest.approx(wanted, abs=.06 if metric == 'score' else .006), (row[0], metric)


def test_the_readme_has_what_execution_alone_gives():
  found, (*told, every) = means('success_any'), rows_of('| target | seeds | `finetune` |')
  methods = 'finetune', 'finetune_exec', 'vid2act'
  pairs, better, gained = paired(found, *methods), 0, []
  assert {f'metaworld_{x[0]}' for x in told} == {task for task, _ in pairs}
  for target, seeds, *cells, mean in told:
    mine = [seed for task, seed in pairs if task == f'metaworld_{target}']
    assert mine == list(range(len(mine))) and seeds == ('0' if mine == [0] else f'0 to {mine[-1]}')
    values = np.array([[found[f'metaworld_{target}', seed, x] for seed in mine] for x in methods])
    for cell, wanted in zip(cells, [*values, values[2] - values[1]], strict=True):
      assert number(cell) == pytest.approx(wanted, abs=.006), target
    better += (values[2] > values[1]).sum()
    gained.append(values[2] - values[1])
    assert mean == interval(gained[-1])
  assert every[-1] == interval(*gained)
  text = ' '.join(README.read_text().split())
  assert f'than `finetune_exec` by {every[-1]} over the five targets, in {better} of {len(pairs)} pairs, and' in text
  alone = interval(*(np.array([
      found[task, seed, 'finetune_exec'] - found[task, seed, 'finetune'] for task, seed in pairs
      if task == f'metaworld_{x[0]}']) for x in told))
  assert f'`finetune_exec` differs from `finetune` by {alone}' in text


def test_the_readme_has_what_irrelevant_sources_do():
  text, found = ' '.join(README.read_text().split()), {}
  for method in ('finetune', 'vid2act'):
    rows = [x for x in scores.load(RESULTS / 'irrelevant' / 'scores' / 'score.json.gz') if x['method'] == method]
    found[method] = np.array([comparison.mean_over(x, 0, x['xs'][-1]) for x in sorted(rows, key=lambda x: x['seed'])])
    assert f'`{method}` {" ".join(f"{x:.0f}" for x in found[method])}' in text
  difference = interval(found['vid2act'] - found['finetune'], places=1)
  assert f'a difference of {difference}' in text


def test_the_readme_tells_how_much_of_each_study_was_run():
  kept, told = {path.parent.name: path for path in RESULTS.glob('*/runs.json')}, rows_of('| study | file in configs/ablations |')
  for _, file, made, _ in told:
    plan, folder = matrix.Matrix(str(ABLATIONS / file)), re.search(r'`results/(\w+)`', made)
    path = kept.pop(folder[1] if folder else file.removesuffix('.yaml'), None)
    count, *of = number(made.split(',')[0].replace('none', '0'))
    assert count == (len(json.loads(path.read_text())) if path else 0) and of in ([], [len(plan.runs)]), file
  assert not kept
  assert {x[1] for x in told} == {x.name for x in ABLATIONS.glob('*.yaml')} - {'small.yaml'}


def test_the_readme_tells_what_the_mean_hides():
  """The targets that the method was not developed on, targets as the sample, the policy alone, and many looks."""
  found, policy = means('success_any'), means('policy_success_any')
  text, front = (' '.join(x.read_text().split()) for x in (README, FRONT))
  targets = [x[0] for x in rows_of('| target (sparse) |')[:-1]]
  seeds = lambda t, mine: np.array([
      mine[f'metaworld_{t}', s, 'vid2act'] - found[f'metaworld_{t}', s, 'finetune'] for s in range(5)])
  gained = {t: seeds(t, found) for t in targets}
  others = interval(*(gained[t] for t in targets if t not in DEVELOPED))
  assert f'over the three others the difference is {others}' in text and f'the three others it is {others}' in front
  wall, side = (interval(seeds(t, policy)) for t in DEVELOPED)
  assert f'of the policy alone by {wall} and {side}' in text and f'Of the policy alone, it is {wall} and {side}' in front
  chance = [f'{5 * scipy.stats.ttest_1samp(gained[t], 0).pvalue:.2f}'.lstrip('0') for t in DEVELOPED]
  assert f'is {chance[0]} on button-press-wall and {chance[1]} on handle-press-side' in text


def test_the_readme_tells_how_seldom_a_source_is_of_use():
  content = json.loads((RESULTS / 'rank_others/rank.json').read_text())
  found = {task: rank.summary(x) for task, x in content['episodes'].items()}
  seen = json.loads((RESULTS / 'rank/rank.json').read_text())
  assert content['settings']['behaviours'] == seen['settings']['behaviours'] and not found.keys() & {
      *seen['episodes'], *content['settings']['behaviours']['sources']}
  assert not any(row['better'] for rows in found.values() for row in rows)
  task, best = max(((task, rows[0]) for task, rows in found.items()), key=lambda x: x[1]['success'])
  text, front = (' '.join(x.read_text().split()) for x in (README, FRONT))
  assert (f"Of {len(found)} further tasks" in text and f"{best['success'] * best['episodes']:.0f} successes in {best['episodes']} "
          f"episodes, of {best['source'][10:]} on {task[10:]}" in text and f'all {len(found)} further tasks' in front)
