"""What students take from teachers."""

import contextlib
import pathlib

import elements
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import pytest
from dreamerv3 import rssm
from helpers.checkpoints import params, save

from vid2act_plugin.agent import build
from vid2act_plugin.agent import initialise as convert
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.host import convolutions, loading
from vid2act_plugin.teacher import bundle as bundles


@pytest.mark.parametrize('source, share, row', [(1, 0.5, 7), (None, 1.0, 6)])
def test_worked_folding(source, share, row):
  """D = 1, S = 2, X = 2, H = 1; A = 2 of a width of 3, and 2 sources."""
  kernel = np.array([[1], [10], [20], [2], [3]], np.float32)  # deter, two of the source, image.
  action = np.array([[1], [2], [0], [5], [7]], np.float32)  # three actions, two sources.
  teacher = {
      'dyn/obs0/kernel': kernel, 'dyn/obs0/bias': np.float32([4]),
      'dyn/dynin2/kernel': action, 'dyn/dynin2/bias': np.float32([8])}
  given = {
      'dyn/obs0/kernel': np.zeros((3, 1), np.float32), 'dyn/obs0/bias': np.zeros(1, np.float32),
      'dyn/dynin2/kernel': np.zeros((2, 1), np.float32),
      'dyn/dynin2/bias': np.zeros(1, np.float32), 'adapter/map/kernel': np.ones((2, 2), np.float32)}
  new, report = convert.fit(given, teacher, Small(), source, 2)
  np.testing.assert_array_equal(new['dyn/obs0/kernel'], [[1], [2], [3]])
  np.testing.assert_array_equal(new['dyn/obs0/bias'], [4 + share * 10 + 0.25 * 20])
  np.testing.assert_array_equal(new['dyn/dynin2/kernel'], [[1], [2]])
  np.testing.assert_array_equal(new['dyn/dynin2/bias'], [8 + row])
  np.testing.assert_array_equal(new['adapter/map/kernel'], np.eye(2))
  assert ('b' if source else 'the mean of its sources') in str(report)
  assert [report.status(x) for x in given] == ['sliced', 'folded', 'sliced', 'folded', 'set']


def test_worked_vectors():
  """The rows of a vector observation lie where the teacher's rows of the source do."""
  kernel = np.array([[1], [10], [20], [2], [3]], np.float32)
  teacher = {
      'dyn/obs0/kernel': kernel, 'dyn/obs0/bias': np.float32([4]),
      'dyn/dynin2/kernel': np.zeros((5, 1)), 'dyn/dynin2/bias': np.zeros(1)}
  given = {
      'enc/mlp0/kernel': np.zeros((6, 2)), 'dyn/obs0/kernel': 100 + 0 * kernel,
      'dyn/obs0/bias': np.zeros(1), 'dyn/dynin2/kernel': np.zeros((2, 1)),
      'dyn/dynin2/bias': np.zeros(1)}
  new, report = convert.fit(given, teacher, Small(), 1, 2)
  np.testing.assert_array_equal(new['dyn/obs0/kernel'][:, 0], [1, 100, 100, 2, 3])
  assert report.status('enc/mlp0/kernel') == 'missing'


class Small:
  """A bundle whose encoder of the source says (1.5, 0.25) of the first and (0.5, 0.25) of the second."""

  act_width = 3
  manifest = {'sources': ['a', 'b'], 'act_sizes': [2, 2]}
  config = elements.Config({'dyn': {'rssm': {'absolute': False, 'deter': 1}}})

  def model(self):
    return self

  def src(self, carry, obs, reset, training):
    share = 1.5 - obs['source']
    return {}, {}, jnp.stack([share, 0.25 + 0 * share], -1)


@pytest.mark.parametrize('source', [0, 1, 2])
def test_student_continues_as_the_teacher(source, student, start, finetune, bundle):
  """Deter and logits from the same state on the same images and actions, without a reset."""
  loaded = bundles.load(bundle)
  loaded.manifest['agent']['dyn']['rssm']['unimix'] = 0.0
  # With one certain class per group the state is not random, so that both can be compared.
  teacher = {k: 1e4 * v if 'obslogit' in k else v for k, v in loaded.params.items()}
  converted, report = convert.fit(start, teacher, loaded, source, 3)
  assert not [x for x in report.rows if x[1] == 'shape differs']
  rng, model = np.random.default_rng(0), loaded.model()
  image = rng.integers(0, 256, (2, 5, 16, 16, 3), np.uint8)
  action = rng.uniform(-1, 1, (2, 5, 3)).astype(np.float32)
  action[..., loaded.manifest['act_sizes'][source]:] = 0
  index, no = np.full((2, 5), source, np.int32), np.zeros((2, 5), bool)
  carry = {'deter': rng.uniform(-1, 1, (2, 16)).astype(np.float32),
           'stoch': np.eye(4, dtype=np.float32)[rng.integers(0, 4, (2, 4))]}
  settings = finetune.agent.dyn.rssm.update(unimix=0.0)
  dyn = rssm.RSSM(student.act_space, **settings, name='dyn')

  def taught(carry, image, action, reset):
    padded = np.pad(action, ((0, 0), (0, 0), (0, 13)))
    return model.dyn.observe(
        carry, model.encode(image, index, False), {'action': padded, 'source': index}, reset,
        False)[2]

  def stock(carry, image, action, reset):
    tokens = student.model.enc({}, {'image': image}, reset, False)[2]
    return dyn.observe(carry, tokens, {'action': action}, reset, False)[2]

  def both(reset):
    with jax.transfer_guard('allow'):
      return [jax.device_get(nj.pure(fn)(p, carry, image, action, reset, seed=seed)[1])
              for fn, p, seed in ((taught, teacher, 0), (stock, converted, 1))]

  first, second = both(no)
  for key, atol in (('deter', 1e-4), ('logit', 1e-2)):  # Logits are scaled by 1e4.
    np.testing.assert_allclose(first[key], second[key], rtol=1e-4, atol=atol)
  first, second = both(np.eye(5, dtype=bool)[[0, 0]])
  assert np.abs(first['deter'][:, 0] - second['deter'][:, 0]).max() > 1e-3


def test_init(student, begun, start, bundle):
  """As the source that was asked for; nothing else than the world model differs from stock."""
  loaded = bundles.load(bundle)
  expected, report = convert.fit(start, loaded.params, loaded, 1, 3)
  for key in report.taken():
    np.testing.assert_array_equal(start[key], expected[key], key)
  assert {x.split('/')[0] for x in report.taken()} >= {'dyn', 'enc'}
  assert type(student).__name__ == 'Agent' and student.model.policy_keys == '^(enc|dyn|dec|pol)/'
  assert begun['counters'] == loading.FRESH
  for key, value in begun['params'].items():
    assert not key.startswith('opt/') or not np.any(value), key
  value, slow = (start[f'{x}/mlp/linear0/kernel'] for x in ('val', 'slowval'))
  np.testing.assert_array_equal(value, slow)
  assert begun['policy'].keys() == set(student.policy_keys)
  for key, value in begun['policy'].items():
    np.testing.assert_array_equal(value, start[key], key)


def test_adapter_begins_as_the_identity():
  name = 'adapter/map/kernel'
  kernel = np.full((3, 3), 2, np.float32)
  (key, (value, status, _)), = convert.aligned({name: kernel, 'adapter/map/bias': kernel[0]}).items()
  assert key == name and status == 'set' and value.tolist() == np.eye(3).tolist()
  assert convert.aligned({name: kernel[:2]}) == convert.aligned({}) == {}


def test_init_source_is_checked(student, bundle, finetune):
  config = finetune.update({'agent.vid2act.init_source': 'four'})
  with pytest.raises(UserError, match="init_source is 'four'.*one, two, three"):
    convert.initialise(student, bundles.load(bundle), config)


@pytest.mark.parametrize('name, refused', [
    ('enc/cnn0/kernel', True), ('dyn/dyngru/kernel', True), ('dyn/dynin2/kernel', True), ('dyn/obs0/kernel', False),
    ('rew/mlp/linear0/kernel', False)])
def test_a_teacher_of_another_size_is_refused(fresh, bundle, finetune, monkeypatch, name, refused):
  """Otherwise a run from scratch would be called one that starts from its weights."""
  other = lambda params, *args: loading.match(params, {**params, name: np.repeat(params[name], 2, -1)}, 'Initialised')
  monkeypatch.setattr(convert, 'fit', other)
  before = params(fresh)
  with pytest.raises(UserError, match=f'1 tensors of the world model .* {name}, .* set that key to False') if (
      refused) else contextlib.nullcontext():
    convert.initialise(fresh, bundles.load(bundle), finetune)
  for key, value in params(fresh).items():
    np.testing.assert_array_equal(value, before[key], key)


@pytest.mark.parametrize('separate', [False, True])
def test_sizes_are_known_before_an_agent_is_built(bundle, finetune, spaces, separate, monkeypatch):
  loaded = bundles.load(bundle)
  if separate:
    loaded.params = {f'{k}/{name}': v for name, v in loaded.params.items() for k in range(3)}
    loaded.manifest |= {'kind': 'separate', 'agents': [loaded.manifest['agent']] * 3}
    kernel = loaded.params['1/dyn/dynin2/kernel']
    loaded.params['1/dyn/dynin2/kernel'] = kernel[:2]  # Of the actions that it knows.
  build.check(loaded, finetune, *spaces)
  for changes, name in (
      ({'agent.dyn.rssm.deter': 32}, 'dyn/dyngru/bias'), ({'agent.enc.simple.depth': 8}, 'enc/cnn0/bias')):
    with pytest.raises(UserError, match=rf'other settings of the world model, {[*changes][0]} \d+ \(there'):
      build.check(loaded, finetune.update(changes), *spaces)
    with monkeypatch.context() as patch:  # Of what the settings do not tell.
      patch.setattr(convert, 'check_alike', lambda *args: None)
      with pytest.raises(UserError, match=f'init is True, but of the teacher .* such as {name}, .* there, .* here; give the sizes'):
        build.check(loaded, finetune.update(changes), *spaces)
    build.check(loaded, finetune.update({**changes, 'agent.vid2act': {'init': False, 'init_source': ''}}), *spaces)


@pytest.mark.parametrize('separate', [False, True])
def test_weights_that_fit_and_mean_something_else_are_refused(bundle, finetune, spaces, separate):
  """Shapes alone do not tell: a convolution has the same kernel whether it strides or its output is pooled."""
  loaded = bundles.load(bundle)
  if separate:
    loaded.params = {f'{k}/{name}': v for name, v in loaded.params.items() for k in range(3)}
    loaded.manifest |= {'kind': 'separate', 'agents': [loaded.manifest['agent']] * 3}
    loaded.params['0/dyn/dynin2/kernel'] = loaded.params['0/dyn/dynin2/kernel'][:3]
  strided, mults = (loaded.manifest['agent']['enc']['simple'][x] for x in ('strided', 'mults'))
  one = finetune.update({'agent.vid2act.init_source': 'one'})
  for key, value in (('enc.simple.strided', not strided), ('enc.simple.act', 'relu'), ('dyn.rssm.norm', 'none'),
                     ('enc.simple.mults', mults[:-1])):
    with pytest.raises(UserError, match=rf'the teacher .* was made with other settings of the world model, agent.{key} .* \(there '):
      build.check(loaded, one.update({f'agent.{key}': value}), *spaces)
    build.check(loaded, one.update({f'agent.{key}': value, 'agent.vid2act': {'init': False, 'init_source': ''}}), *spaces)
  for key, value in (('dyn.rssm.unimix', 0.5), ('dyn.rssm.free_nats', 3.0), ('enc.simple.winit', 'normal'),
                     ('enc.simple.units', 77)):
    build.check(loaded, one.update({f'agent.{key}': value}), *spaces)


def test_a_separate_teacher_of_images_begins_a_task_with_vectors():
  kernel, old = np.float32([[1], [2], [3]]), 100 + np.zeros((5, 1), np.float32)
  given = {'0/dyn/obs0/kernel': kernel, '0/dyn/obs0/bias': np.float32([4]), '0/dyn/dynin2/kernel': np.ones((2, 1))}
  params = {'enc/mlp0/kernel': np.zeros((6, 2)), 'dyn/obs0/kernel': old, 'dyn/obs0/bias': np.zeros(1),
            'dyn/dynin2/kernel': np.zeros((2, 1))}
  many = type('Many', (), dict(manifest={
      'kind': 'separate', 'sources': ['a'], 'act_sizes': [2], 'agents': [{'dyn': {'rssm': {'absolute': False, 'deter': 1}}}]}))
  new, report = convert.fit(params, given, many, 0, 2)
  np.testing.assert_array_equal(new['dyn/obs0/kernel'][:, 0], [1, 100, 100, 2, 3])
  assert report.status('dyn/obs0/kernel') == 'sliced' and new['dyn/obs0/bias'] == 4


def test_a_student_without_method_computes_on_blocks_too(student):
  assert isinstance(student.model.enc, convolutions.Encoder)
  assert isinstance(student.model.dec, convolutions.Decoder)


def test_init_leaves_a_resumed_run_alone(fresh, bundle, finetune):
  other = {k: v + 1 for k, v in params(fresh).items()}
  fresh.load({'params': other, 'counters': {**loading.FRESH, 'updates': 3}})
  latest = pathlib.Path(str(fresh.config.logdir)) / 'ckpt' / 'latest'
  save(fresh, latest.parent.parent)
  convert.initialise(fresh, bundles.load(bundle), finetune)
  latest.unlink()
  for key, value in params(fresh).items():
    np.testing.assert_array_equal(value, other[key], key)
  assert int(fresh.n_updates) == 3


def test_teacher_without_actions(start, bundle):
  loaded = bundles.load(bundle)
  loaded.manifest['actions'] = False
  new, report = convert.fit(start, loaded.params, loaded, 0, 3)
  np.testing.assert_array_equal(new['dyn/dynin2/kernel'], start['dyn/dynin2/kernel'])
  assert report.status('dyn/dynin2/kernel') == 'missing' and 'saw no actions' in str(report)
  assert report.status('dyn/dynin2/bias') == 'folded'


def test_separate_teacher():
  """Model 1 of two, which knows one action of the student's two."""
  Separate = type('Separate', (Small,), {'manifest': {
      'kind': 'separate', 'sources': ['a', 'b'], 'act_sizes': [2, 1]}})
  student = {'dyn/dynin2/kernel': np.zeros((2, 1)), 'enc/cnn0/bias': np.zeros(2), 'adapter/map/kernel': np.zeros((1, 1))}
  teacher = {'0/enc/cnn0/bias': np.ones(2), '1/enc/cnn0/bias': np.full(2, 2.0),
             '1/dyn/dynin2/kernel': np.ones((1, 1))}
  new, report = convert.fit(student, teacher, Separate(), 1, 2)
  assert new['enc/cnn0/bias'].tolist() == [2, 2] and new['dyn/dynin2/kernel'].tolist() == [[1], [0]]
  assert [x[1] for x in report.rows] == ['sliced', 'matched', 'set'] and new['adapter/map/kernel'].tolist() == [[1]]
