"""The finetuning agent: what it shares with the host, what moves, what must not."""

import json
import os
import pathlib

import dreamerv3
import elements
import jax
import numpy as np
import pytest
from ruamel.yaml import YAML

from vid2act_plugin.agent import build as taughts
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.teacher import bundle as bundles

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'agent.json'
STOCK = {'agent.typ': 'dreamerv3'}


def params(model):
  return {k: np.array(v) for k, v in model.save()['params'].items()}


def update(model, batches, count=2):
  carry, metrics = model.init_train(model.config.batch_size), []
  for batch in batches(model, count):
    carry, _, mets = model.train(carry, batch)
    metrics.append(mets)
  return metrics


@pytest.fixture(scope='module')
def taught(configure, make_agent, bundle):
  return make_agent(configure('vid2act', **{'vid2act.teacher': str(bundle)}))


@pytest.fixture(scope='module')
def stock(configure, make_agent):
  return make_agent(configure())


@pytest.fixture(scope='module')
def host(configure, make_agent, batches):
  """Metrics of three updates of the host's own agent, and its parameters after them."""
  path = pathlib.Path(dreamerv3.__path__[0]) / 'configs.yaml'
  made = make_agent(configure(defaults=YAML(typ='safe').load(path)['defaults']))
  return update(made, batches, 3), params(made)


@pytest.mark.parametrize('case', ['off', 'ours'])
def test_equals_the_host(case, host, configure, make_agent, batches):
  """Without our keys, with them but no overlay of ours, and with all parts off: bit for bit."""
  other = make_agent(configure('metaworld', **STOCK) if case == 'ours' else configure(
      'vid2act', **{f'agent.vid2act.{x}': False for x in ('distill', 'guide', 'init', 'folded')}))
  metrics = host[0], update(other, batches, 3)
  first, second = host[1], params(other)
  assert first.keys() == second.keys()
  for key in first:
    np.testing.assert_array_equal(first[key], second[key], key)
  for a, b in zip(*metrics):
    assert a.keys() == b.keys()
    for key in a:
      np.testing.assert_array_equal(a[key], b[key], key)


def test_update_moves_what_it_should(taught, batches):
  before, teacher = params(taught), jax.device_get(taught.teacher.params)
  update(taught, batches)
  after = params(taught)
  still = {k.split('/')[0] for k in before
           if k.endswith(('kernel', 'bias', 'scale')) and (before[k] == after[k]).all()}
  moved = {k.split('/')[0] for k in before if (before[k] != after[k]).any()}
  assert {'enc', 'dyn', 'dec', 'rew', 'con', 'pol', 'val', 'relevance', 'adapter', 'amortised',
          'vae'} <= moved, moved
  assert not still & {'relevance', 'adapter', 'amortised', 'vae'}, still
  for key, value in jax.device_get(taught.teacher.params).items():
    np.testing.assert_array_equal(value, teacher[key], key)


def test_golden_parameters(taught, configure, batches):
  """Names, shapes and which parameters one update moves; VID2ACT_GOLDEN=write renews the file."""
  update(taught, batches, 2)  # Layers below one that begins at zero move from the second on.
  fresh = params(taught)
  update(taught, batches, 1)
  after = params(taught)
  moved = {k: bool((fresh[k] != after[k]).any()) for k in sorted(fresh) if not k.startswith('opt/')}
  config = {k: v for k, v in taught.config.flat.items() if k.split('.')[0] in (
      'enc', 'dyn', 'dec', 'policy', 'vid2act', 'imag_length', 'imag_last')}
  found = dict(
      settings={k: list(v) if isinstance(v, tuple) else v for k, v in sorted(config.items())},
      parameters={k: [list(fresh[k].shape), 'moves' if m else 'stays'] for k, m in moved.items()})
  if os.environ.get('VID2ACT_GOLDEN') == 'write':
    lines = lambda x: ',\n'.join(f'  {json.dumps(k)}: {json.dumps(v)}' for k, v in x.items())
    parts = ',\n'.join(f' {json.dumps(k)}: {{\n{lines(v)}\n }}' for k, v in found.items())
    GOLDEN.write_text(f'{{\n{parts}\n}}\n')
  golden = json.loads(GOLDEN.read_text())
  assert found['settings'] == golden['settings']
  assert found['parameters'] == golden['parameters']


def test_teacher_is_not_in_the_checkpoint(taught, stock):
  added = {k.split('/')[0] for k in params(taught)} - {k.split('/')[0] for k in params(stock)}
  assert added == {'relevance', 'adapter', 'amortised', 'vae'}


def test_teacher_in_both_stages(taught, bundle):
  """The frozen features of source k equal those of a batch that is all of source k."""
  import ninjax as nj

  from vid2act_plugin.teacher.model import pack
  loaded = bundles.load(bundle)
  loaded.manifest['agent']['dyn']['rssm']['unimix'] = 0.0
  model, params_ = loaded.model(), loaded.params
  rng = np.random.default_rng(1)
  image = rng.integers(0, 256, (2, 5, 16, 16, 3), np.uint8)
  action = rng.uniform(-1, 1, (2, 5, 16)).astype(np.float32)
  first = np.zeros((2, 5), bool)
  first[:, 0] = first[1, 3] = True
  # With one certain class per group the state is not random, so that the two passes can be compared.
  params_ = {k: 1e4 * v if 'obslogit' in k else v for k, v in params_.items()}
  with jax.transfer_guard('allow'):
    params_ = jax.device_put(params_)
    seeds = jax.random.split(jax.random.PRNGKey(0), 2)
    _, frozen = jax.jit(nj.pure(model.features))(params_, image, action, first, seed=seeds[0])
    for k in range(3):
      source = np.full((2, 5), k, np.int32)
      def single(source=source):
        tokens = model.encode(image, source, False)
        acts = model.prevacts(action, source)
        return pack(model.dyn.observe(model.dyn.initial(2), tokens, acts, first, False)[2])
      _, alone = jax.jit(nj.pure(single))(params_, seed=seeds[1])
      np.testing.assert_array_equal(frozen['stoch'][:, :, k], alone['stoch'])
      np.testing.assert_allclose(frozen['deter'][:, :, k], alone['deter'], atol=1e-5)


def test_acting(taught):
  """In both modes, with the relevance by which it was guided."""
  carry = taught.init_policy(2)
  obs = {k: np.zeros((2, *v.shape), v.dtype) for k, v in taught.obs_space.items()}
  obs['is_first'][:] = True
  for mode in ('train', 'eval'):
    _, act, out = taught.policy(carry, obs, mode=mode)
    assert act['action'].shape == (2, 3) and np.isfinite(act['action']).all()
    weights = [out[f'log/relevance/{x}'] for x in ('one', 'two', 'three')]
    np.testing.assert_allclose(sum(weights), np.ones(2), rtol=1e-5)


def test_report_has_a_relevance_picture(taught, batches):
  _, metrics = taught.report(taught.init_report(4), batches(taught, 1)[0])
  assert metrics['relevance'].dtype == np.uint8
  assert metrics['relevance'].shape == (16 + 3 * 10, 6 * 16, 3)


@pytest.mark.parametrize('changes, words', [
    ({'vid2act.sources': ['two', 'one', 'three']}, 'vid2act.sources'),
    ({'vid2act.teacher': '/nowhere'}, 'vid2act.teacher')])
def test_wrong_teacher(configure, make_agent, bundle, changes, words):
  config = configure('vid2act', **{'vid2act.teacher': str(bundle), **changes})
  with pytest.raises(UserError, match=words):
    make_agent(config)


@pytest.mark.parametrize('image, action, words', [
    ((32, 32, 3), 3, 'metaworld_door-lock.*32, 32, 3.*16, 16, 3.*env.metaworld.size'),
    ((16, 16, 3), 17, '17 action.*16.*vid2act.act_width')])
def test_teacher_that_does_not_fit(configure, bundle, image, action, words):
  config = configure('vid2act', **{'vid2act.teacher': str(bundle)})
  obs = {'image': elements.Space(np.uint8, image)}
  act = {'action': elements.Space(np.float32, action, -1, 1)}
  with pytest.raises(UserError, match=words):
    taughts.check(bundles.load(bundle), config, obs, act)


@pytest.mark.parametrize('overlay, seen', [('actionfree', True), ('finetune', False)])
def test_a_teacher_that_saw_actions_is_not_one_that_did_not(configure, bundle, overlay, seen):
  """Else one of these baselines would run under the name of the other."""
  obs, act = {'image': elements.Space(np.uint8, (16, 16, 3))}, {'action': elements.Space(np.float32, 3, -1, 1)}
  loaded = bundles.load(bundle)
  loaded.manifest['actions'] = seen
  config = configure('vid2act', overlay, **{'vid2act.teacher': str(bundle)})
  with pytest.raises(UserError, match=f'pretrain.actions is {not seen}, .* set that key to {seen}'):
    taughts.check(loaded, config, obs, act)
  taughts.check(loaded, config.update({'vid2act.pretrain.actions': seen}), obs, act)


def test_a_run_keeps_its_teacher(bundle, tmp_path):
  loaded = bundles.load(bundle)
  (tmp_path / 'ckpt').mkdir()
  (tmp_path / 'ckpt/latest').write_text('x')
  taughts._pin(elements.Path(tmp_path), loaded)
  taughts._pin(elements.Path(tmp_path), loaded)
  loaded.manifest['hash'] = 64 * '0'
  with pytest.raises(UserError, match='--logdir'):
    taughts._pin(elements.Path(tmp_path), loaded)


def test_bare_job_is_size12m(overlays):
  bare = elements.Config(overlays['defaults'])
  for name in ('vid2act', 'metaworld'):
    bare = bare.update(overlays[name])
  sized = elements.Config(overlays['defaults']).update(overlays['size12m'])
  for key in ('enc', 'dyn', 'dec', 'rewhead', 'conhead', 'policy', 'value'):
    assert dict(bare.agent[key]) == dict(sized.agent[key])
  assert bare.task == 'metaworld_door-lock' and bare.run.steps == 3e5
