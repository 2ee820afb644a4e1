"""Runs in several processes: what is refused before anything starts, who is who, and what they tell each other."""

import json
import subprocess
import sys

import numpy as np
import pytest
from helpers import rays

from vid2act_plugin import prepare
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.host import processes
from vid2act_plugin.training import start

SECOND = {
    'script': 'train', 'jax.num_processes': 2, 'jax.process_id': 1, 'jax.coordinator_address': 'localhost:1'}


@pytest.mark.parametrize('changes, words', [
    ({'script': 'parallel'}, 'script parallel is .*--script train_eval'),
    ({'script': 'parallel_env'}, 'script parallel_env is '), ({'script': 'parallel_replay'}, 'script parallel_replay'),
    ({'jax.num_processes': 2, 'script': 'eval_only'}, 'is 2, but only pretrain, train, train_eval.*--script eval_only'),
    ({'jax.num_processes': 2, 'script': 'clone'}, 'is 2, but only'),
    ({'jax.num_processes': 2, 'script': 'train', 'run.eval_every': 0, 'jax.platform': 'auto'}, 'is 2, but only'),
    ({'script': 'train', 'random_agent': True, 'jax.num_processes': 2}, 'is 2, but only .* random_agent False'),
    ({**SECOND, 'agent.vid2act.guide_from': 'start', 'agent.vid2act.share': 1.0}, 'guide_from is start.* which 2 processes'),
    ({**SECOND, 'agent.vid2act.rehearse': 0.5, 'agent.vid2act.rehearse_from': 0.5}, 'rehearse_from is 0.5, but episodes'),
    ({**SECOND, 'batch_size': 5}, 'batch_size makes batches of 5, which the 2 devices'),
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
    assert processes.size(config, 8) == 4 and processes.writes(config) == (index == 0)
    assert processes.home(config) == tmp_path / 'run'
  assert all((np.concatenate([x[k] for x in parts]) == batch[k]).all() for k in batch)
  assert config.logdir == str(tmp_path / 'run' / 'process-1')


TALK = """
import json, sys, elements, jax, numpy as np
from vid2act_plugin.host import processes
index = int(sys.argv[1])
jax.distributed.initialize(sys.argv[2], 2, index)
jax.config.update('jax_transfer_guard', 'disallow')
processes.PART = 1024
said = processes.exchange({'signal': index, 'call': ['first', 'other'][index]})
content = bytes(np.random.default_rng(0).integers(0, 256, 3000, np.uint8))
heard = processes.spread(content if index == 0 else b'', len(content))
rows = processes.gather({'a': np.arange(4).reshape(2, 2) + 10 * index})['a']
config = elements.Config(seed=0, logdir=str(index), jax=dict(num_processes=2, process_id=index))
processes.agree(config, teacher='a hash')
try:
  processes.agree(config.update(seed=index), teacher='a hash')
  refused = ''
except processes.UserError as e:
  refused = str(e)
print(json.dumps([refused, said, heard == content, rows.tolist(), processes.most(index), processes.spread(b'', 0) == b'']))
"""


def test_what_processes_tell_each_other():
  """Each hears what all say in their order, the first one's bytes in several parts, rows of all, and other settings."""
  address = f'127.0.0.1:{rays.port()}'
  both = [subprocess.Popen([sys.executable, '-c', TALK, str(i), address], stdout=subprocess.PIPE, text=True)
          for i in range(2)]
  (first, *heard), (other, *same) = (json.loads(x.communicate()[0].splitlines()[-1]) for x in both)
  wanted = [[{'signal': 0, 'call': 'first'}, {'signal': 1, 'call': 'other'}], True,
            [[0, 1], [2, 3], [10, 11], [12, 13]], 1, True]
  assert heard == same == wanted
  assert first == '' and 'process 1 was begun with other settings than the first one of its run: seed 1 (there 0);' in other
