"""The table of what settings may be, and plugins whose parts are malformed."""

import types

import elements
import pytest
from dreamerv3 import plugins, values

from vid2act_plugin.plugin import plugin

KNOWN = {'a': 1, 'b.c': 0.5, 'd': ['x'], 'e': 'x', 'f': [0.1, 0.2]}


@pytest.mark.parametrize('table, settings, words', [
    ({'e': ['x', 'yes']}, {'e': 'yse'}, "The key e is 'yse', but it is one of x, yes; did you mean yes?"),
    ({'d': ['x', 'y']}, {'d': ['x', 'z']}, "The key d is 'z', but it is one of x, y."),
    ({'a': {'from': 1}}, {'a': 0}, 'The key a is 0; give a number of at least 1.'),
    ({'b.c': {'above': 0, 'to': 1}}, {'b.c': 0.0}, 'number above 0 and of at most 1'),
    ({'b.c': {'above': 0, 'to': 1}}, {'b.c': 1.1}, 'The key b.c is 1.1'),
    ({'b.c': {'from': 0, 'below': 1}}, {'b.c': 1.0}, 'of at least 0 and below 1'),
    ({'b.c': {'from': 0}}, {'b.c': float('inf')}, 'The key b.c is inf'),
    ({'b.c': {'from': 0}}, {'b.c': float('nan')}, 'The key b.c is nan'),
    ({'f': {'from': 0}}, {'f': [0.3, -0.1]}, 'The key f is -0.1')])
def test_values_that_break_a_rule(table, settings, words):
  (fault,) = values.faults({**KNOWN, **settings}, table)
  assert words in fault
  assert not values.malformed(table, {**KNOWN, 'a': 1}) and not list(values.faults(KNOWN, table))


@pytest.mark.parametrize('table, words', [
    (['a'], 'a list instead of a mapping'), ({'x': ['a']}, "no setting has the key 'x'"),
    ({'a': 3}, "the rule of 'a' is 3"), ({'a': []}, "the rule of 'a'"), ({'a': {}}, "rule of 'a'"),
    ({'a': {'least': 1}}, "the rule of 'a'"), ({'a': {'from': 'b'}}, "the rule of 'a'"),
    ({'e': ['y']}, 'the default breaks its rule'), ({'e': {'from': 0}}, 'the default breaks')])
def test_a_malformed_table(table, words):
  assert words in values.malformed(table, KNOWN)


@pytest.fixture(scope='module')
def config(overlays):
  return elements.Config(overlays['defaults'])


@pytest.mark.parametrize('key, value, words', [
    ('agent.vid2act.weights', 'learnd', 'did you mean learned'),
    ('agent.vid2act.guide_from', 'stat', 'did you mean start'),
    ('agent.vid2act.guide_by', 'mixtur', 'did you mean mixture'),
    ('agent.vid2act.rehearse', 1.0, 'below 1'), ('agent.value.norm', 'layr', 'did you mean layer'),
    ('agent.dec.simple.bspace', 0, 'of at least 1'),
    ('agent.dyn.rssm.winit', 'trunc_norm', 'did you mean trunc_normal'), ('agent.rewhead.output', 'mes', 'did you mean mse'),
    ('agent.vid2act.floor', -1.0, 'of at least 0'), ('vid2act.max_sources', -1, 'of at least 0'),
    ('agent.vid2act.vae.batch', 0, 'of at least 1'), ('run.envs', 0, 'of at least 1'),
    ('run.train_ratio', float('inf'), 'of at least 0'), ('batch_length', 1, 'of at least 2'),
    ('vid2act.collect.noise', (0.1, -0.1), 'of at least 0'), ('jax.platform', 'tpux', 'tpu'),
    ('logger.outputs', ('jsonl', 'tensorbord'), 'did you mean tensorboard'),
    ('seed', -1, 'of at least 0'), ('seed', 2 ** 32, 'below 4294967296'), ('consec_train', 0, 'of at least 1'),
    ('agent.policy_dist_cont', 'bounded_norml', 'did you mean bounded_normal'), ('agent.policy.act', 'sliu', 'did you mean silu'),
    *((f'agent.{x}.act', 'reluu', 'did you mean relu') for x in ('enc.simple', 'dec.simple', 'dyn.rssm', 'value', 'rewhead', 'conhead')),
    *((f'agent.{x}.impl', 'mean', 'none, meanstd, perc; did you mean meanstd') for x in ('retnorm', 'valnorm', 'advnorm')),
    ('agent.opt.schedule', 'cosin', 'did you mean cosine'), ('jax.enable_policy', False, 'one of True'),
    ('script', 'trian', "Unknown script 'trian'; choose one of train"), ('script', 'zzz', 'pretrain')])
def test_our_own_table(config, key, value, words):
  with pytest.raises(plugins.PluginError) as error:
    plugins.prepare(config.update({key: value}))
  assert words in str(error.value) and '\n' not in str(error.value)


def test_activations_are_those_that_the_host_knows(config, plain):
  """Of JAX's own, those that keep the shape."""
  import embodied.jax.nets
  import jax.numpy as jnp
  for name in plugins.mapping(plugin()['values'], '')['agent.policy.act']:
    assert embodied.jax.nets.act(name)(jnp.ones((2, 4))).shape == (2, 2 if name == 'swiglu' else 4), name


def test_every_setting_of_the_method_has_a_rule(config):
  """Switches apart, and the sources whose names bundle and recordings decide."""
  table = plugins.mapping(plugin()['values'], '')
  ours = {
      k for k, v in config.flat.items()
      if k.startswith('agent.vid2act.') and not isinstance(v, bool)}
  assert ours - {'agent.vid2act.init_source', 'agent.vid2act.init_policy.source'} <= {*table}


@pytest.fixture
def install(monkeypatch):
  """Return a function that makes functions the entry points, each under its name."""
  def fn(**found):
    points = [types.SimpleNamespace(name=k, value=f'{k}:plugin', load=lambda v=v: v)
              for k, v in found.items()]
    monkeypatch.setattr(plugins.importlib.metadata, 'entry_points', lambda group: points)
    monkeypatch.delenv('DREAMERV3_PLUGINS', raising=False)
    plugins.load.cache_clear()
    return points
  yield fn
  plugins.load.cache_clear()


def host(tmp_path):
  (tmp_path / 'host.yaml').write_text('defaults: {run: {steps: 1}, script: train}\n')
  return tmp_path / 'host.yaml'


@pytest.mark.parametrize('text, words', [
    ('run.steps: 3', "redefines the key 'run.steps'"), ('run: {steps: 3}', "redefines the key 'run.steps'"),
    ('run: 3', "redefines the key 'run'"), ('run.steps.more: 3', "redefines the key 'run.steps.more'"),
    ('x: null', "default 'x' of None"), ('x: []', "default 'x' of []"), ('x: [1, a]', "default 'x'"),
    ('x: [[1]]', "default 'x'"), ('x y: 3', "default 'x y'; keys"), ('1: 3', None),
    ('- 1', 'hold a list'), ('', 'hold a NoneType'), ('a: [', 'cannot be read'),
    ('x: 2020-01-01', "default 'x'")])
def test_malformed_defaults(install, tmp_path, text, words):
  (tmp_path / 'defaults.yaml').write_text(text)
  install(theirs=lambda: {'defaults': tmp_path / 'defaults.yaml'})
  if words is None:
    assert plugins.configs(host(tmp_path))['defaults']['1'] == 3
    return
  with pytest.raises(plugins.PluginError) as error:
    plugins.configs(host(tmp_path))
  assert words in str(error.value) and "'theirs'" in str(error.value)


def test_defaults_nested_and_dotted_are_one(install, tmp_path):
  for i, text in enumerate(('more.a: 1', 'more: {b: 2}', 'run.more: 3')):
    (tmp_path / f'{i}.yaml').write_text(text)
  install(**{x: lambda x=x: {'defaults': tmp_path / f'{x}.yaml'} for x in '012'})
  assert plugins.configs(host(tmp_path))['defaults'] == {
      'run': {'steps': 1, 'more': 3}, 'script': 'train', 'more': {'a': 1, 'b': 2}}


@pytest.mark.parametrize('part, words', [
    ({'overlays': {'a': 3}}, "overlays with 'a': 3"), ({'overlays': {1: 'a'}}, "overlays with 1"),
    ({'agents': {'a': 'b'}}, "agents with 'a': 'b'"), ({'envs': {'a': 'b'}}, "'module:Class'"),
    ({'envs': {'a': print}}, "'module:Class'"), ({'scripts': lambda config: None}, 'a NoneType, no dict'),
    ({'scripts': lambda config: ['a']}, 'a list, no dict'),
    ({'scripts': lambda config: {'train': 'x'}}, "scripts with 'train': 'x'"),
    ({'prepare': lambda config: None}, 'returned a NoneType from prepare')])
def test_malformed_parts(install, part, words):
  install(theirs=lambda: part)
  with pytest.raises(plugins.PluginError) as error:
    plugins.prepare(elements.Config(script='train'))
  assert words in str(error.value) and "'theirs'" in str(error.value)


def test_two_plugins_with_one_script(install):
  script = lambda config: {'mine': print}
  install(one=lambda: {'scripts': script}, two=lambda: {'scripts': script})
  with pytest.raises(plugins.PluginError, match="'one' and 'two' both have 'mine' among their scripts"):
    plugins.prepare(elements.Config(script='train'))


def test_two_packages_with_one_plugin(install):
  points = install(one=lambda: {})
  assert plugins.load() == {'one': {}}
  for value, refused in (('one:plugin', False), ('other:plugin', True)):
    plugins.load.cache_clear()
    points[1:] = [types.SimpleNamespace(name='one', value=value, load=lambda: dict)]
    if refused:
      with pytest.raises(plugins.PluginError, match="have a plugin 'one', one:plugin and other:plugin"):
        plugins.load()
    else:
      assert plugins.load() == {'one': {}}
