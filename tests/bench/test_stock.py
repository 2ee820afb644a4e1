"""Stock DreamerV3 in the studies of sources that act: what the README says of it is what is committed."""

import json

import numpy as np
import pytest
from helpers.told import README, RESULTS, interval, means, paired, rows_of, short

STUDIES = [x for x in ('sparse', 'dense', 'far', 'walker', 'noise', 'irrelevant') if paired(means('score', x), 'stock')]
METRICS = {'sparse': 'success_any'}  # As there is no score to speak of.
REHEARSED = 'finetune_rehearse'


def compared(study, method, *differences, places):
  """Return the rows of a table: `method` seed by seed, and the differences of pairs, each of one method minus another.

  A row per target whose runs are committed, and two over all targets where there are several.
  """
  found = means(METRICS.get(study, 'score'), study)
  pairs = paired(found, method, *(x for both in differences for x in both))
  there = {t for t, _ in pairs}
  targets = [x for x in dict.fromkeys(x['task'] for x in runs(study)) if x in there]
  gained, rows = [[] for _ in differences], []
  for task in targets:
    seeds = [s for t, s in pairs if t == task]
    of = lambda x, task=task, seeds=seeds: np.array([found[task, s, x] for s in seeds])
    for kept, (one, other) in zip(gained, differences, strict=True):
      kept.append(of(one) - of(other))
    rows.append([task.partition('_')[2], f'{seeds[0]} to {seeds[-1]}', short(of(method), places),
                 *(interval(x[-1], places=max(1, places)) for x in gained)])
  for name, drawn in (('all', lambda x: x), ('targets as the sample', lambda x: [np.array([y.mean() for y in x])])):
    if len(targets) > 1:
      rows.append([name, f'{seeds[0]} to {seeds[-1]}', '-', *(interval(*drawn(x), places=max(1, places)) for x in gained)])
  return rows


def runs(study):
  return json.loads((RESULTS / study / 'runs.json').read_text())


@pytest.mark.parametrize('study', STUDIES)
def test_the_readme_has_what_stock_does(study):
  told = [x[1:] for x in rows_of('| study | target | seeds | stock |') if x[0] == study]
  rows = compared(study, 'stock', ('vid2act', 'stock'), ('finetune', 'stock'), places=2 if study in METRICS else 0)
  assert told == rows, '\n'.join(f"| {study} | {' | '.join(x)} |" for x in rows)


def test_the_readme_has_what_rehearsal_gives():
  rows = compared('sparse', REHEARSED, (REHEARSED, 'finetune'), ('vid2act', REHEARSED), places=2)
  assert rows_of(f'| target | seeds | `{REHEARSED}` |') == rows, '\n'.join(f"| {' | '.join(x)} |" for x in rows)
  better = sum(found[t, s, 'vid2act'] > found[t, s, REHEARSED] for found in [means('success_any')]
               for t, s in paired(found, 'vid2act', REHEARSED))
  text = ' '.join(README.read_text().split())
  assert f'(`{REHEARSED}`): {rows[-2][-1]} over the five targets, in {better} of 25 pairs' in text


def test_every_study_with_stock_is_told():
  assert list(dict.fromkeys(x[0] for x in rows_of('| study | target | seeds | stock |'))) == STUDIES
  values = [x for (_, _, method), x in means('success_any').items() if method == 'stock']
  text = ' '.join(README.read_text().split())
  assert f'stock succeeds at all in {sum(x > 0 for x in values)} of its {len(values)} runs' in text
