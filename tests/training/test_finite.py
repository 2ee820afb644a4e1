"""An update that is not finite stops the run, names its cause and leaves what shows it again."""

import json
import pickle

import elements
import jax
import numpy as np
import pytest

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.tools import nonfinite
from vid2act_plugin.training import finite


@pytest.fixture(scope='module')
def config(configure, bundle):
  config = configure('vid2act', **{'vid2act.teacher': str(bundle)})
  return elements.Config({**config, 'jax': {**config.jax, 'precompile': False}})


@pytest.fixture(scope='module')
def agent(config, make_agent):
  return make_agent(config)


@pytest.fixture(scope='module')
def begin(agent):
  return pickle.loads(pickle.dumps(agent.save()))


@pytest.fixture
def watched(agent, begin, config, tmp_path):
  """The agent as a run has it, with a checkpoint of its beginning."""
  agent.load(begin)
  watched = finite.Watched(agent, config.update(logdir=str(tmp_path)))
  watched.cp = elements.Checkpoint(tmp_path / 'ckpt')
  watched.cp.agent = watched
  watched.cp.save()
  return watched


def learn(watched, batches):
  carry = watched.init_train(watched.agent.config.batch_size)
  for batch in batches:
    carry, _, _ = watched.train(carry, batch)


def spoilt(batch):
  # Not through a stream, which refuses it; the host takes an infinite reward for a large one.
  reward = np.array(batch['reward'])
  reward[1, 3] = np.nan
  return {**batch, 'reward': jax.device_put(reward, batch['reward'].sharding)}


def files(folder):
  return {x.relative_to(folder): x.read_bytes() for x in folder.rglob('*') if x.is_file()}


def test_a_reward_that_is_not_finite(watched, batches, tmp_path):
  before = files(tmp_path / 'ckpt')
  good = batches(watched, 4)
  made = [good[0], good[1], spoilt(good[2]), good[3]]
  with pytest.raises(UserError) as e:
    learn(watched, map(dict, made))
  folder = tmp_path / 'nonfinite-2'
  for words in ('Update 2 ', 'loss/rew (module rew)', str(folder), 'does the same to',
                'after 0 updates', f'`python -m vid2act_plugin.tools.nonfinite {folder}`'):
    assert words in str(e.value), e.value
  assert files(tmp_path / 'ckpt') == before
  assert {x.name for x in folder.iterdir()} == {'batch.safetensors', 'config.yaml', 'report.json'}
  report = json.loads((folder / 'report.json').read_text())
  assert report['update'] == 2 and report['repeated'] and report['losses'][0] == 'loss/rew'

  update, _, data = finite.read(folder, watched)
  assert update == 2 and data.keys() == made[2].keys()
  for key, value in made[2].items():
    np.testing.assert_array_equal(np.array(data[key]), np.array(value), key)
  content = pickle.loads(before[next(x for x in before if x.name == 'agent.pkl')])
  bad, params = finite.repeat(watched.agent, content, *finite.read(folder, watched))
  assert bad == report['losses'] and any(x.startswith('rew/') for x in params)
  good = {'seed': data['seed'], **{k: v for k, v in made[1].items() if k != 'seed'}}
  assert finite.repeat(watched.agent, content, 2, watched.init_train(4), good) == ([], [])


def test_a_parameter_that_is_not_finite(watched, begin, batches, tmp_path):
  """It is none of the checkpoint's; and no second report replaces the first."""
  name = next(k for k in begin['params'] if k.startswith('con/'))
  params = {k: v.copy() for k, v in begin['params'].items()}
  params[name].flat[0] = np.nan
  for folder in ('nonfinite-0', 'nonfinite-0-2'):
    watched.agent.load({**begin, 'params': params})
    with pytest.raises(UserError, match=r'loss/con \(module con\).*does no harm to') as e:
      learn(watched, batches(watched, 2))
    assert f'{folder}`' in str(e.value) and (tmp_path / folder / 'report.json').exists()
    assert str(e.value).endswith('then lower agent.opt.lr and repeat the command to continue from there.')
  # What is cached is named by all that made it.
  watched.agent.load({**begin, 'params': params})
  watched.config = watched.config.update({'vid2act.cache': str(tmp_path.parent)})
  with pytest.raises(UserError, match='lower agent.opt.lr and repeat the command, which begins this stage anew with it'):
    learn(watched, batches(watched, 2))


def test_no_checkpoint_of_such_parameters(watched, begin, batches, tmp_path):
  learn(watched, batches(watched, 1))
  before = files(tmp_path / 'ckpt')
  params = {k: v.copy() for k, v in begin['params'].items()}
  name = next(k for k in params if k.startswith('pol/'))
  params[name].flat[0] = np.nan
  broken = {**begin, 'params': params}
  with pytest.raises(UserError, match=name):
    watched.load(broken)
  watched.agent.load(broken)
  with pytest.raises(UserError, match='the gradient of pol;'):
    watched.cp.save()
  assert files(tmp_path / 'ckpt') == before
  watched.cp.load()
  assert not finite.tensors(watched.save()['params'])


def test_causes_before_effects():
  nan, fine = np.float32(np.nan), np.float32(1)
  mets = {'loss/policy': nan, 'loss/image': nan, 'loss/rew': nan, 'opt/grad_norm': nan,
          'loss/dyn': fine, 'relevance/one': nan}
  assert finite.losses(mets) == ['loss/image', 'loss/rew', 'loss/policy', 'opt/grad_norm']
  assert finite.losses({'loss/dyn': fine, 'opt/loss': fine}) == []


@pytest.mark.parametrize('scale, legal', [(5e3, True), (2e-4, True), (1e-4, False)])
def test_overflow_under_loss_scaling(scale, legal):
  mets = {'opt/grad_norm': np.float32(np.nan), 'opt/grad_scale': np.float32(scale),
          'opt/grad_overflow': np.float32(1)}
  assert finite.losses(mets) == ([] if legal else ['opt/grad_norm'])


def test_a_folder_that_holds_no_update(tmp_path):
  with pytest.raises(UserError, match='nonfinite-UPDATE'):
    nonfinite.main([str(tmp_path)])
