"""DeepMind Control: what the README says of it is what is committed."""

import json

import numpy as np
from helpers.told import README, RESULTS, interval, means, paired, rows_of

from vid2act_plugin.teacher import bundle
from vid2act_plugin.tools import rank

TASK = 'dmcontrol_walker_run'


def test_the_readme_has_the_study_of_a_walker():
  found = {x: means(x, 'walker') for x in ('score', 'policy_score')}
  mine = [seed for _, seed in paired(found['score'], 'vid2act', 'finetune')]
  (target, seeds, *cells), = rows_of('| target (DeepMind Control) |')
  assert target == 'walker_run' and mine == list(range(len(mine))) and seeds == f'0 to {mine[-1]}'
  short = lambda metric, method: ' '.join(f'{found[metric][TASK, s, method]:.1f}' for s in mine)
  less = lambda metric: np.array([found[metric][TASK, s, 'vid2act'] - found['score'][TASK, s, 'finetune'] for s in mine])
  assert cells == [
      short('score', 'finetune'), short('score', 'vid2act'), interval(less('score'), places=1),
      short('policy_score', 'vid2act'), interval(less('policy_score'), places=1)]


def test_the_readme_has_what_its_sources_earn():
  text, content = ' '.join(README.read_text().split()), json.loads((RESULTS / 'rank_walker/rank.json').read_text())
  found = rank.summary(content['episodes'][TASK])
  assert content['settings']['seed'] == 779 and len(found) == 4
  for row in found:
    name, (low, high) = row['source'].removeprefix('dmcontrol_'), row['score_interval']
    assert f"{name} {row['score']:.1f} ({low:.1f} to {high:.1f})" in text, row
  made = bundle.load(RESULTS.parent / 'teachers/walker').manifest['behaviours']
  errors = dict(zip(made['sources'], made['error']))
  assert f"{errors['dmcontrol_walker_walk']:.2f} and {errors['dmcontrol_walker_stand']:.2f}".replace('0.', '.') in text
