"""Bundles and runs of others: what they claim of their model is that of their tensors, or refused."""

import json
import shutil

import numpy as np
import pytest
from helpers.special import in_time

from bench.robustness import makers
from vid2act_plugin import cli, prepare
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.teacher import bundle as bundles
from vid2act_plugin.teacher import claims


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """A bundle and a run of a model as small as there is, not trained."""
  root = tmp_path_factory.mktemp('made')
  for make in (makers.teacher, makers.run):
    (root / make.__name__).mkdir()
    make(root / make.__name__)
  return root


def test_a_whole_bundle(made):
  loaded = bundles.load(made / 'teacher')
  loaded.check()
  assert loaded.model().sources == 2


def changed(key, **change):
  """Return a function that changes an item of a dictionary to what functions make of it."""
  (what, fn), = change.items()
  return lambda x: getattr(x, what).update({key: fn(getattr(x, what)[key])})


def manifest(**change):
  return lambda x: x.manifest.update(change)


def size(key, value):
  return lambda x: x.manifest['agent']['dyn']['rssm'].update({key: value})


MEMORY = {  # Seen by `check`, before anything is built.
    'deter': (changed('deter', memory=lambda x: x[:, :-1]), "'deter' of its memory"),
    'stoch': (lambda x: x.memory.pop('stoch'), "'stoch' of its memory is missing"),
    'action': (changed('action', memory=lambda x: x.astype(np.float64)), "'action' of its memory is float64"),
    'source': (changed('source', memory=lambda x: 0 * x), 'no states of some of its sources'),
    'classes': (changed('stoch', memory=lambda x: x + 4), 'more than 4 classes'),
    'a size': (size('deter', 60_000), "'deter' of its memory"),
    'a width': (manifest(act_width=9), "'action' of its memory"),
    'nothing': (lambda x: x.memory.update({k: v[:0] for k, v in x.memory.items()}), 'of its memory')}


@pytest.mark.parametrize('fault', MEMORY)
def test_memory_of_another_model(made, tmp_path, overlays, fault):
  spoil, words = MEMORY[fault]
  loaded = bundles.load(made / 'teacher')
  spoil(loaded)
  loaded.save(tmp_path / 'bad')
  config = makers.tiny().update(overlays['vid2act']).update({
      'vid2act.teacher': str(tmp_path / 'bad'), 'logdir': str(tmp_path / 'run')})
  with pytest.raises(UserError, match=f'{tmp_path / "bad"} is not whole: .*{words}'):
    prepare.prepare(config)
  assert not (tmp_path / 'run').exists()


PARAMS = {  # Seen by `model`, which has to be built.
    'missing': (lambda x: x.params.pop('dyn/obs0/kernel'), 'dyn/obs0/kernel is missing'),
    'shape': (changed('enc/cnn0/bias', params=lambda x: x[:-1]), r'enc/cnn0/bias is float32 of shape'),
    'type': (changed('dyn/obs0/bias', params=lambda x: x.astype(np.int32)), 'dyn/obs0/bias is int32'),
    'layers': (size('obslayers', 9), 'dyn/obs1/.* is missing'),
    'blocks': (size('blocks', 7), 'AssertionError'), 'name': (size('act', 'nowhere'), 'nowhere'),
    'part': (lambda x: x.manifest['agent'].pop('dec'), 'dec'),
    'image': (manifest(image=[64, 64, 3]), 'dyn/obs0/kernel')}


@pytest.mark.parametrize('fault', PARAMS)
def test_parameters_of_another_model(made, fault):
  spoil, words = PARAMS[fault]
  loaded = bundles.load(made / 'teacher')
  spoil(loaded)
  with in_time(), pytest.raises(UserError, match=f'The model of the teacher bundle {made}.*{words}') as error:
    loaded.model()
  assert '\n' not in str(error.value)


MANIFESTS = {
    'layers': (size('obslayers', 1e8), 'obslayers is 100000000.0'), 'many': (size('obslayers', 65), 'obslayers'),
    'infinite': (size('unimix', float('inf')), 'unimix is inf'), 'size': (size('hidden', 2 ** 30), 'hidden'),
    'list': (size('act', ['x'] * 1000), 'act is'), 'none': (size('act', None), 'act is None'),
    'classes': (size('classes', 257), 'classes'), 'twice': (manifest(sources=['a', 'a']), 'names of their own'),
    'kind': (manifest(kind='many'), 'kind'), 'agents': (manifest(kind='separate', agents=[{}]), 'agents'),
    'no agents': (manifest(kind='separate'), 'agents'), 'guide': (manifest(guide='yes'), 'guide'),
    'updates': (manifest(updates=-1), 'updates are -1')}


@pytest.mark.parametrize('fault', MANIFESTS)
def test_manifests_of_no_model(made, tmp_path, fault):
  spoil, words = MANIFESTS[fault]
  loaded = bundles.load(made / 'teacher')
  spoil(loaded)
  loaded.save(tmp_path / 'bad')
  with pytest.raises(UserError, match=f'bad is not whole: .*{words}'):
    bundles.load(tmp_path / 'bad')


def test_claims():
  assert claims.fault(makers.agent()) is None
  assert claims.fault({'a': {'layers': 64, 'b': [1, 2], 'c': 'x'}}) is None
  for value, words in (({'layers': 65}, 'agent.layers is 65'), ([], 'agent is'), ({1: 2}, 'the key 1'),
                       ({'a': object()}, 'agent.a'), ({'a': 2 ** 17}, 'agent.a'), ({'a.b': 1}, 'the key')):
    assert words in claims.fault(value)


CONFIGS = {  # In place of `obslayers: 1` in the configuration of a run.
    'layers': ('obslayers: 1e8', 'obslayers is 100000000.0'), 'size': ('obslayers: 1, more: 2147483648', 'more is'),
    'aliases': ('x: &x0 [1, 1]\n' + '\n'.join(
        f'x{i}: &x{i} [{", ".join([f"*x{i - 1}"] * 9)}]' for i in range(1, 9)), 'items'),
    'deep': ('x: ' + '[' * 99, 'nested more than 20'), 'word': ('obslayers: many', 'cannot be built')}


@pytest.mark.parametrize('fault', CONFIGS)
def test_configurations_of_runs(made, tmp_path, fault):
  change, words = CONFIGS[fault]
  run = shutil.copytree(made / 'run', tmp_path / 'run')
  text = (run / 'config.yaml').read_text()
  assert 'obslayers: 1' in text
  more = f'{text}\n{change}' if change.startswith('x: ') else text.replace('obslayers: 1', change)
  (run / 'config.yaml').write_text(more)
  with in_time(), pytest.raises(UserError, match=f'config.yaml.*{words}'):
    cli.main(['teacher', 'import', str(run), '--out', str(tmp_path / 'out'), '--no-guide'])
  assert not (tmp_path / 'out').exists()


def test_a_run_as_it_should_be(made, tmp_path):
  cli.main(['teacher', 'import', str(made / 'run'), '--out', str(tmp_path / 'out'), '--no-guide'])
  loaded = bundles.load(tmp_path / 'out')
  loaded.check()
  loaded.model()
  assert json.loads((tmp_path / 'out' / 'manifest.json').read_text())['act_sizes'] == [2]
