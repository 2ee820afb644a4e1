"""What commit 660db1a left on disk is read today, and its run is continued."""

import json
import pathlib
import pickle
import shutil

import elements
import jax
import ninjax as nj
import numpy as np
import pytest
from helpers.commands import command

from vid2act_plugin.host import checkpoints
from vid2act_plugin.sources import recording
from vid2act_plugin.teacher import bundle
from vid2act_plugin.teacher.pretraining import Pretrain
from vid2act_plugin.training import clone, pretrain, scores

GONE = {'vid2act_noguide', 'vid2act_best', 'vid2act_noprior'}  # Of the guide, which `vid2act` has no more.
DATA = pathlib.Path(__file__).parents[1] / 'data' / '660db1a'
SOURCES = ['metaworld_door-close', 'metaworld_faucet-open']
STEPS, MORE = 60, 80


def checkpoint(logdir, name):
  folder = logdir / 'ckpt' / (logdir / 'ckpt' / 'latest').read_text().strip()
  return pickle.loads((folder / f'{name}.pkl').read_bytes())


def read(path):
  return json.loads(path.read_text())


def rows(logdir):
  return [json.loads(x) for x in (logdir / 'metrics.jsonl').read_text().splitlines()]


def shapes(params):
  return {k: (v.shape, v.dtype) for k, v in params.items()}


@pytest.fixture(scope='module')
def copy(tmp_path_factory):
  """A copy of the data, in a place where it was not made."""
  return shutil.copytree(DATA, tmp_path_factory.mktemp('earlier') / 'run')


@pytest.fixture(scope='module')
def teacher(copy):
  return next((copy / 'cache' / 'teachers').glob('*'))


@pytest.fixture(scope='module')
def folders(copy):
  return [next((copy / 'cache' / 'recordings').glob(f'*/{x}')) for x in SOURCES]


@pytest.fixture(scope='module')
def continued(copy):
  """The output of the command that made the run, with more steps; it may make nothing anew."""
  status, output = command(
      '--configs', 'vid2act', 'metaworld', 'quickstart', copy / 'tiny.yaml', '--logdir',
      copy / 'logdir', '--vid2act.cache', copy / 'cache', '--vid2act.auto', 'False',
      # As they were in `vid2act` then, and as the refusal names them.
      '--agent.vid2act.guide', 'True', '--agent.vid2act.share', 0.5,
      '--run.steps', MORE)
  assert status == 0, output[-3000:]
  return output


def test_recordings(folders):
  for name, folder in zip(SOURCES, folders):
    manifest, episodes = recording.load(folder)  # It compares every file with its hash.
    assert manifest['source'] == name and len(episodes) == 2
    assert all(x['image'].shape == (13, 16, 16, 3) for x in episodes)


def test_bundle(teacher, folders):
  made = bundle.load(teacher / 'teacher')
  assert made.hash == read(DATA / 'logdir' / 'teacher.json')['hash']
  assert made.manifest['sources'] == SOURCES and made.manifest['updates'] == 4
  assert made.manifest['recordings'] == recording.content_key(map(recording.load_manifest, folders))
  assert np.bincount(made.memory['source']).tolist() == [16, 16]


def test_checkpoint_of_pretraining(overlays, teacher, folders, plain, monkeypatch):
  """It holds what today's pretraining agent keeps, optimiser included; nothing is compiled."""
  config = elements.Config(overlays['defaults'])
  for name in ('vid2act', 'metaworld', 'quickstart', str(DATA / 'tiny.yaml')):
    config = config.update(overlays[name])
  config = config.update({'vid2act.recordings': str(folders[0].parent)})
  data, agent = clone.recordings(config), object.__new__(Pretrain)
  monkeypatch.setattr(pretrain, 'Pretrain', agent.__init__)  # Without the host's compiling.
  pretrain.build(config, data)
  batch = data.sample(0, config.batch_size, config.batch_length)
  fresh = jax.eval_shape(lambda seed: nj.pure(agent.train)(
      {}, agent.init_train(config.batch_size), batch, seed=seed, create=True, modify=True,
      ignore=True)[0], np.zeros(2, np.uint32))
  before = checkpoints.last(teacher)
  assert shapes(fresh) == shapes(before['params'])
  assert before['counters']['updates'] == checkpoint(teacher, 'step') == 4


def test_caches_are_found_again(continued, copy):
  assert 'Recordings: reused 2 sources' in continued and 'Teacher: reused' in continued
  assert [len(list((copy / 'cache' / x).glob('*'))) for x in ('recordings', 'teachers')] == [1, 1]


def test_run_is_continued(continued, copy):
  assert 'Loaded checkpoint' in continued
  assert (checkpoint(DATA / 'logdir', 'step'), checkpoint(copy / 'logdir', 'step')) == (STEPS, MORE)
  before, now = (checkpoint(x / 'logdir', 'agent') for x in (DATA, copy))
  assert now['counters']['updates'] > before['counters']['updates'] > 0
  assert shapes(now['params']) == shapes(before['params'])
  replay = (copy / 'logdir' / 'replay').glob('*.npz')
  assert sum(len(np.load(x)['reward']) for x in replay) == MORE


def test_summary(continued, copy):
  before, now = (read(x / 'logdir' / 'summary.json') for x in (DATA, copy))
  assert set(before) <= set(now) and set(before['stages']) <= set(now['stages'])
  assert now['env_steps'] == MORE and now['sources'] == before['sources'] == SOURCES
  assert now['stages']['collect'] == now['stages']['pretrain'] == 0


def test_metrics_keep_their_names(continued, copy):
  before, after = rows(DATA / 'logdir'), rows(copy / 'logdir')
  assert after[:len(before)] == before
  new = after[len(before):]
  assert min(x['step'] for x in new) > STEPS
  lost = {k for x in before for k in x} - {k for x in new for k in x}
  assert not lost, lost


def test_scores_go_on(continued, copy):
  for metric, before in scores.read([DATA / 'logdir']).items():
    now = scores.read([copy / 'logdir'])[metric]
    assert len(now) == 1 and now[0]['xs'][:len(before[0]['xs'])] == before[0]['xs']
    assert now[0]['xs'][-1] > STEPS


def kind(value):
  """Return the type of a key's values, with that of the elements of a list."""
  return [kind(x) for x in value[:1]] if isinstance(value, (list, tuple)) else type(value)


def test_every_key_is_there_with_its_type(overlays):
  now = elements.Config(overlays['defaults']).flat
  wrong = {
      k: (v, now.get(k, 'gone')) for k, v in read(DATA / 'keys.json').items()
      if k not in now or kind(now[k]) != kind(v)}
  assert not wrong, wrong


@pytest.mark.parametrize('name', sorted({*read(DATA / 'overlays.json')} - GONE))
def test_every_overlay_is_there(overlays, name):
  elements.Config(overlays['defaults']).update(overlays[name])
