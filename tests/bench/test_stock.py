"""Stock DreamerV3 in the studies of sources that act: what the README says of it is what is committed."""

import json

import numpy as np
import pytest
from helpers.told import README, RESULTS, interval, means, paired, rows_of

STUDIES = [x for x in ('sparse', 'dense', 'far', 'walker', 'noise', 'irrelevant') if paired(means('score', x), 'stock')]
METRICS = {'sparse': 'success_any'}  # As there is no score to speak of.


def short(values, places):
  return ' '.join(f'{x:.{places}f}'.removeprefix('0' * (places > 0)) for x in values)


@pytest.mark.parametrize('study', STUDIES)
def test_the_readme_has_what_stock_does(study):
  """A row per target whose runs are committed, and two over all targets where there are several."""
  metric = METRICS.get(study, 'score')
  places, found = (2 if metric != 'score' else 0), means(metric, study)
  told, gained = [x[1:] for x in rows_of('| study | target | seeds | stock |') if x[0] == study], {}
  pairs = paired(found, 'stock', 'vid2act', 'finetune')
  targets = list(dict.fromkeys(x['task'] for x in _plan(study) if x['task'] in {t for t, _ in pairs}))
  rows = []
  for task in targets:
    seeds = [s for t, s in pairs if t == task]
    stock = np.array([found[task, s, 'stock'] for s in seeds])
    for method in ('vid2act', 'finetune'):
      gained.setdefault(method, []).append(np.array([found[task, s, method] for s in seeds]) - stock)
    rows.append([task.partition('_')[2], f'{seeds[0]} to {seeds[-1]}', short(stock, places),
                 *(interval(gained[x][-1], places=max(1, places)) for x in ('vid2act', 'finetune'))])
  for name, drawn in (('all', lambda x: x), ('targets as the sample', lambda x: [np.array([y.mean() for y in x])])):
    if len(targets) > 1:
      rows.append([name, f'{seeds[0]} to {seeds[-1]}', '-', *(
          interval(*drawn(gained[x]), places=max(1, places)) for x in ('vid2act', 'finetune'))])
  assert told == rows, '\n'.join(f"| {study} | {' | '.join(x)} |" for x in rows)


def _plan(study):
  return json.loads((RESULTS / study / 'runs.json').read_text())


def test_every_study_with_stock_is_told():
  assert list(dict.fromkeys(x[0] for x in rows_of('| study | target | seeds | stock |'))) == STUDIES
  values = [x for (_, _, method), x in means('success_any').items() if method == 'stock']
  text = ' '.join(README.read_text().split())
  assert f'stock succeeds at all in {sum(x > 0 for x in values)} of its {len(values)} runs' in text
