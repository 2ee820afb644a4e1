"""Settings that go together but do not do what they seem to."""

import pytest

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.training import settings


@pytest.mark.parametrize('changes, first', [
    ({}, 39), ({'run.envs': 3}, 53), ({'replay_context': 2, 'consec_train': 2}, 49)])
def test_a_run_without_an_update_is_told(small, capsys, changes, first):
  """Of the replay's steps each environment's last ones begin no sequence."""
  config = small.update(**{'run.envs': 1, 'replay_context': 0, **changes})
  said = lambda steps, **more: (settings.replay(config.update({'run.steps': steps, **more}), True), capsys.readouterr().out)[1]
  assert f'Note: nothing is learned in {first - 1} agent steps' in said(first - 1) and f'after {first} (' in said(1)
  assert said(first) == '' == said(1, **{'run.train_ratio': 0.0})


@pytest.mark.parametrize('seeds', [True, False])
def test_evaluations_that_are_not_of_their_own_episodes_are_told(small, capsys, seeds):
  settings.check(small.update({'script': 'train_eval', 'env.metaworld.use_seed': seeds}))
  assert ('env.metaworld.use_seed is False' in capsys.readouterr().out) == (not seeds)


@pytest.mark.parametrize('then, now, same', [
    ('bfloat16', 'float32', True), ('float16', 'float16', True), ('bfloat16', 'float16', False), ('float16', 'float32', False)])
def test_a_run_goes_on_in_another_precision_unless_its_optimiser_has_more_state(continued, then, now, same):
  of = lambda x: {'jax.compute_dtype': x}
  if same:
    continued(of(then), of(now))
  else:
    with pytest.raises(UserError, match=f"was begun with jax.compute_dtype '{then}' .now '{now}'.; continue it with these"):
      continued(of(then), of(now))
