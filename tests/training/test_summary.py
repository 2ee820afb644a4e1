"""What a run says of itself in words when it has ended."""

import pytest

from vid2act_plugin.training import curves, summary


def rows(prefix='eval', kind='success_any', values=(0.1, 0.7, 0.5)):
  return [{'step': 1000 * i, f'{prefix}/{kind}': x} for i, x in enumerate(values)]


def test_success_at_first_at_the_end_and_at_best():
  found = summary.learned([*rows(), *rows(kind='score', values=(10, 20))])
  assert found == [
      'Evaluation: success 0.1 at first, 0.5 at the end, 0.7 at best, after 1,000 env steps']


def test_the_policy_alone_beside_the_agent():
  agent, policy = summary.learned([*rows(), *rows('policy', values=(0, 0.3))])
  assert 'success 0.1' in agent and policy.startswith('Evaluation of the policy alone: success 0 ')


def test_score_where_no_task_tells_success():
  assert 'score 10 at first, 2e+03 at the end' in summary.learned(rows(kind='score', values=(10, 2000)))[0]


def test_nothing_to_compare():
  assert summary.learned([]) == summary.learned(rows(values=(1,))) == []
  assert summary.learned(rows(values=(float('nan'), 0.5))) == []


def test_which_source_was_useful():
  earned = dict(policy={'episodes': 9, 'earned': 5}, a={'episodes': 2, 'earned': 1}, b={'episodes': 3, 'earned': 2.5})
  own = '; the policy in its last ones: 5'
  assert summary.useful(earned) == [f'Of the sources, b earned most: 2.5 per episode in 3{own}']
  earned['b']['earned'] = 1
  assert summary.useful(earned) == [f'The sources earned all the same: 1 per episode{own}']
  earned['a'] = {'episodes': 0}
  assert summary.useful(earned) == [f'Of the sources, b earned most: 1 per episode in 3{own}']
  assert summary.useful(dict(policy={'episodes': 9, 'earned': 5}, a={'episodes': 0})) == []


def test_one_lucky_episode_is_not_most_useful():
  earned = dict(policy={'episodes': 9, 'earned': 0}, a={'episodes': 1, 'earned': 1.0}, b={'episodes': 40, 'earned': .9},
                c={'episodes': 20, 'earned': 0.0})
  assert summary.useful(earned) == ['Of the sources, b earned most: 0.9 per episode in 40; the policy in its last ones: 0']


def test_relevance_of_a_run_that_had_nothing_left_to_learn():
  rows = [{'step': 1, 'train/relevance/a': 0.5, 'train/relevance/b': 0.5}, {'step': 2, 'train/relevance/a': 0.9,
          'train/relevance/b': 0.1}, {'step': 3, 'eval/score': 1.0}]
  assert summary.relevance(rows) == {'a': 0.9, 'b': 0.1} and summary.relevance([]) == {}


@pytest.mark.parametrize('log, wanted', [
    ({'train/loss/rec': 1, 'train/loss/rew': 2}, ['rec', 'rew', 'dyn']),
    ({'train/loss/image': 1, 'train/loss/rew': 2}, ['image', 'rew', 'dyn']), ({}, ['image', 'rew', 'dyn'])])
def test_the_image_loss_is_drawn_of_a_run_and_of_pretraining(log, wanted):
  assert list(curves.panels([log])['World-model losses'].values()) == wanted
