"""Runs in several processes: what is refused before anything starts, and who is who."""

import numpy as np
import pytest

from vid2act_plugin import prepare
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.training import processes, start


@pytest.mark.parametrize('changes, words', [
    ({'script': 'parallel'}, 'script parallel is .*--script train_eval'),
    ({'script': 'parallel_env'}, 'script parallel_env is '), ({'script': 'parallel_replay'}, 'script parallel_replay'),
    ({'jax.num_processes': 2, 'script': 'train_eval'}, 'num_processes is 2.*script pretrain.*--jax.train_devices'),
    ({'jax.num_processes': 2}, "are -1 and '' of 2 processes.*from 0 to 1"),
    ({'jax.num_processes': 2, 'jax.process_id': 2, 'jax.coordinator_address': 'localhost:1'}, 'are 2 and'),
    ({'jax.num_processes': 2, 'jax.process_id': 0}, "are 0 and ''")])
def test_what_cannot_be_is_refused(configure, tmp_path, changes, words):
  logdir = tmp_path / 'run'
  config = configure('vid2act', 'metaworld', **{'script': 'pretrain', 'logdir': str(logdir), **changes})
  with pytest.raises(UserError, match=words):
    prepare.prepare(config)
  assert not logdir.exists()


def test_the_scripts_of_dreamerv3_stay_its_own(configure):
  config = configure('debug', **{'script': 'parallel', 'run.eval_every': 0, 'jax.platform': 'cpu'})
  assert prepare.prepare(config) is config


def test_each_process_has_its_part_and_the_first_one_writes(configure, tmp_path):
  batch, parts = {'a': np.arange(8), 'b': np.arange(16).reshape(8, 2)}, []
  for index in range(2):
    config = configure('vid2act', 'metaworld', **{
        'jax.num_processes': 2, 'jax.process_id': index, 'vid2act.pretrain.batch_size': 8,
        'logdir': str(tmp_path / 'run')})
    config = start.own(config)
    parts.append(processes.share(batch, config))
    assert processes.size(config) == 4 and processes.writes(config) == (index == 0)
    assert processes.home(config) == tmp_path / 'run'
  assert all((np.concatenate([x[k] for x in parts]) == batch[k]).all() for k in batch)
  assert config.logdir == str(tmp_path / 'run' / 'process-1')
