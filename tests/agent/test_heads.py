"""What a new agent takes of its teacher's heads."""

import copy

import numpy as np

from vid2act_plugin.agent import initialise
from vid2act_plugin.host import loading
from vid2act_plugin.teacher import bundle as bundles


def test_a_head_with_other_settings_begins_anew(fresh, bundle, finetune, capsys):
  """Its tensors may have the same shapes, and mean something else: of logarithms of rewards, or after other units."""
  loaded, old = bundles.load(bundle), {k: v + 1 for k, v in loading.parameters(fresh).items()}
  loaded.params |= {k: 0 * v + 5 for k, v in old.items() if k.startswith(('rew/', 'con/'))}
  loaded.manifest['agent'] = copy.deepcopy(loaded.manifest['agent'])
  loaded.manifest['agent']['rewhead'].update(act='relu')
  loaded.manifest['agent']['conhead'].update(outscale=7.0)  # Only as it begins.
  fresh.load({'params': old, 'counters': loading.FRESH})
  initialise.initialise(fresh, loaded, finetune)
  new = loading.parameters(fresh)
  of = lambda head: [k for k in new if k.startswith(f'{head}/')]
  assert of('rew') and of('con') and of('enc')
  assert all(np.array_equal(new[k], old[k]) for k in of('rew'))
  assert all((new[k] == 5).all() for k in of('con')) and all(np.array_equal(new[k], loaded.params[k]) for k in of('enc'))
  assert "Note: rew begins anew, as the teacher" in capsys.readouterr().out
