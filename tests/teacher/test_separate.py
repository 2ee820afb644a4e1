"""Teachers made of separate DreamerV3 runs, and runs that cannot be one."""

import pickle
import re
import shutil

import elements
import embodied
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import pytest
from helpers.faults import FAULTS

from vid2act_plugin import cli
from vid2act_plugin.agent import build as taught
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.teacher import bundle as bundles
from vid2act_plugin.teacher import from_runs as teachers
from vid2act_plugin.teacher.model import pack

TASKS = 'metaworld_door-close', 'metaworld_faucet-open'
STEPS, LIMIT, CHUNK = 45, 12, 20
SETTINGS = {'agent.dyn.rssm.unimix': 0.0, 'env.metaworld.size': [16, 16]}


@pytest.fixture(scope='module')
def stock(configure, make_agent):
  """The host's own agent, whose states are not random: it never needs to be trained here."""
  return make_agent(lazy(configure(**SETTINGS)))


def lazy(config):
  """Let the host compile what is called and nothing else."""
  return elements.Config({**config, 'jax': {**config.jax, 'precompile': False}})


@pytest.fixture(scope='module')
def logdirs(stock, configure, tmp_path_factory):
  """Two folders as runs of the host leave them: one a checkout's, one of PyPI's scripts."""
  root, found = tmp_path_factory.mktemp('runs'), []
  for i, task in enumerate(TASKS):
    folder = root / f'run{i}'
    folder.mkdir()
    configure(**SETTINGS, task=task).save(folder / 'config.yaml')
    rng, data = np.random.default_rng(i), stock.save()
    data['counters']['updates'] = 7 + i
    for key, value in data['params'].items():
      if key.endswith('kernel') and key.startswith(('enc', 'dyn')):
        value = value + 0.1 * rng.normal(size=value.shape).astype(value.dtype)
        # One certain class per group: two passes over one sequence can be compared.
        data['params'][key] = 1e4 * value if 'obslogit' in key else value
    stock.load(data)
    checkpoint = elements.Checkpoint(folder / ('ckpt', 'checkpoint.pkl')[i])
    checkpoint.agent = stock
    checkpoint.save()
    write_replay(folder / 'replay', rng)
    found.append(folder)
  return found


def write_replay(folder, rng):
  """Write the replay of a driver whose policy samples beyond -1 and 1."""
  replay = embodied.replay.Replay(
      6, directory=elements.Path(folder), chunksize=CHUNK, save_wait=True)
  for t in range(STEPS):
    last = t % LIMIT == LIMIT - 1
    replay.add({
        'image': rng.integers(0, 256, (16, 16, 3), np.uint8), 'reward': np.float32(0),
        'is_first': t % LIMIT == 0, 'is_last': last, 'is_terminal': False, 'reset': last,
        'action': (not last) * rng.uniform(-2, 2, 3).astype(np.float32),
        'dyn/deter': np.zeros(16, np.float32), 'log/success': np.float32(0)})
  replay.save()


@pytest.fixture(scope='module')
def imported(logdirs, tmp_path_factory):
  """The bundle of both runs through the command, and what that printed."""
  out = tmp_path_factory.mktemp('imported') / 'teacher'
  cli.main(['teacher', 'import', *map(str, logdirs), '--out', str(out), '--memory', '20'])
  return out


def params_of(logdir):
  with next(logdir.glob('c*/*/agent.pkl')).open('rb') as f:
    return pickle.load(f)['params']


def host_states(stock, params, image, action, is_first):
  """Return the packed states `[B, T]` of the host's own modules, as its training computes them."""
  def fn():
    _, _, tokens = stock.model.enc({}, {'image': image}, is_first, False)
    before = jnp.concatenate([0 * action[:, :1], action[:, :-1]], 1)
    start = stock.model.dyn.initial(len(image))
    acts = {'action': before}
    return pack(stock.model.dyn.observe(start, tokens, acts, is_first, False)[2])
  with jax.transfer_guard('allow'):
    return jax.device_get(jax.jit(nj.pure(fn))(params, seed=jax.random.PRNGKey(0))[1])


def test_bundle(imported, logdirs):
  bundle = bundles.load(imported)
  have = bundle.manifest
  assert have['kind'] == 'separate' and have['sources'] == list(TASKS)
  assert have['act_sizes'] == [3, 3] and have['image'] == [16, 16, 3] and have['updates'] == 15
  assert 'use_seed' not in have['env'] and have['env']['camera'] == 'corner'
  for k, logdir in enumerate(logdirs):
    run = {f'{k}/{n}': v for n, v in params_of(logdir).items() if n.startswith(('enc/', 'dyn/'))}
    mine = {n: v for n, v in bundle.params.items() if n.startswith(f'{k}/')}
    assert mine.keys() == run.keys()
    for name, value in run.items():
      np.testing.assert_array_equal(mine[name], value, name)


@pytest.fixture(scope='module')
def sequence():
  rng = np.random.default_rng(5)
  first = np.zeros((2, 5), bool)
  first[:, 0] = first[1, 3] = True
  image = rng.integers(0, 256, (2, 5, 16, 16, 3), np.uint8)
  action = np.pad(rng.uniform(-1, 1, (2, 5, 3)), ((0, 0), (0, 0), (0, 13))).astype(np.float32)
  return image, action, first


def test_features_are_those_of_the_runs(imported, logdirs, stock, sequence):
  """Source k sees what run k's own encoder and RSSM see; more actions than it has change nothing."""
  image, action, first = sequence
  bundle = bundles.load(imported)
  model = bundle.model()
  more = action.copy()
  more[..., 3:] = 0.7
  with jax.transfer_guard('allow'):
    seed = jax.random.PRNGKey(1)
    _, found = jax.jit(nj.pure(model.features))(bundle.params, image, more, first, seed=seed)
    # All steps of the second sequence's source, and step by step as while acting.
    source = np.array([[0] * 5, [1] * 5], np.int32)
    data = dict(image=image, action=action, is_first=first, source=source)
    _, states = jax.jit(nj.pure(model.states))(bundle.params, data, seed=seed)
    step = jax.jit(nj.pure(model.step))
    carry, acted = jax.jit(nj.pure(lambda: model.initial(2)))({}, seed=seed)[1], []
    for t in range(5):
      prevact = action[:, t - 1] if t else 0 * action[:, 0]
      _, (carry, feat) = step(bundle.params, carry, image[:, t], prevact, first[:, t], seed=seed)
      acted.append(feat)
  found, states, acted = jax.device_get((found, states, acted))
  assert found['deter'].shape == (2, 5, 2, 16) and found['deter'].dtype == np.float32
  assert found['stoch'].shape == (2, 5, 2, 4) and found['stoch'].dtype == np.uint8
  for k, logdir in enumerate(logdirs):
    own = host_states(stock, params_of(logdir), image, action[..., :3], first)
    for key, value in own.items():
      np.testing.assert_allclose(found[key][:, :, k], value, atol=1e-5)
      np.testing.assert_allclose(states[key][k], value[k], atol=1e-5)
      np.testing.assert_allclose([x[key][:, k] for x in acted], value.swapaxes(0, 1), atol=1e-5)
  assert (np.abs(found['deter'][:, :, 0] - found['deter'][:, :, 1]) > 1e-3).any()


def test_memory_pairs_a_state_with_the_action_taken_there(imported, logdirs, stock):
  memory = bundles.load(imported).memory
  assert (memory['source'] == [0] * 20 + [1] * 20).all()
  assert not memory['action'][:, 3:].any() and np.abs(memory['action']).max() == 1
  for k, logdir in enumerate(logdirs):
    mine = {key: v[memory['source'] == k] for key, v in memory.items()}
    rows = []
    for path in (logdir / 'replay').glob('*.npz'):
      chunk = dict(np.load(path))
      T, action = len(chunk['action']), np.clip(chunk['action'], -1, 1)
      first = chunk['is_first'] | (np.arange(T) == 0)
      own = host_states(stock, params_of(logdir), chunk['image'][None], action[None], first[None])
      keep = ~chunk['is_last'] & (np.arange(T) >= T // 4)
      rows.append(np.concatenate([action, own['deter'][0], own['stoch'][0]], -1)[keep])
    mine = np.concatenate([mine['action'][:, :3], mine['deter'], mine['stoch']], -1)
    distance = np.abs(mine[:, None] - np.concatenate(rows)[None]).max(-1)
    assert (distance.min(1) < 2e-3).all() and len(set(distance.argmin(1))) == 20


def test_an_agent_learns_with_it(imported, configure, make_agent, batches):
  model = make_agent(lazy(configure('vid2act', **{'vid2act.teacher': str(imported)})))
  before = {k: np.array(v) for k, v in model.save()['params'].items()}
  frozen = jax.device_get(model.teacher.params)
  carry = model.init_train(model.config.batch_size)
  for batch in batches(model, 2):
    carry, _, metrics = model.train(carry, batch)
  weights = [float(metrics[f'relevance/{x}']) for x in TASKS]
  assert abs(sum(weights) - 1) < 1e-5 and all(np.isfinite(v).all() for v in metrics.values())
  after = model.save()['params']
  for part in ('enc', 'dyn', 'relevance', 'adapter', 'vae', 'amortised'):
    assert any((before[k] != after[k]).any() for k in before if k.startswith(f'{part}/')), part
  for key, value in jax.device_get(model.teacher.params).items():
    np.testing.assert_array_equal(value, frozen[key], key)


@pytest.mark.parametrize('fault', FAULTS)
def test_faults(fault, logdirs, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  shutil.copytree(logdirs[1], tmp_path / 'copy')
  edit, words = FAULTS[fault]
  edit(tmp_path / 'copy')
  with pytest.raises(UserError, match=words) as e:
    teachers.build([logdirs[0], tmp_path / 'copy'], tmp_path / 'out')
  assert '\n' not in str(e.value)
  assert sorted(x.name for x in tmp_path.iterdir()) == ['copy']


def test_report_names_every_tensor_that_does_not_fit(logdirs, tmp_path, capsys):
  shutil.copytree(logdirs[1], tmp_path / 'copy')
  FAULTS['missing'][0](tmp_path / 'copy')
  FAULTS['shape'][0](tmp_path / 'copy')
  with pytest.raises(UserError):
    teachers.build([logdirs[0], tmp_path / 'copy'], tmp_path / 'out')
  first, second = capsys.readouterr().out.split(TASKS[1])
  assert '7 updates: 33 matched\n' in first and len(first.splitlines()) == 3
  assert all(x in second for x in ('31 matched', '1 shape differs', '1 missing'))
  assert re.search(r'dyn/obs0/kernel +missing', second)
  assert re.search(r'enc/cnn0/bias +shape differs +\[3\] there, \[4\] here', second)


@pytest.mark.parametrize('options, words', [
    ({'names': ['one']}, '--name for 2 runs'), ({'names': ['a', 'b/c']}, "--name is 'b/c'"),
    ({'memory': 0}, '--memory'),
    ({'act_width': 2}, '3 actions.*--act-width is 2')])
def test_bad_options(options, words, logdirs, tmp_path):
  with pytest.raises(UserError, match=words):
    teachers.build(logdirs, tmp_path / 'out', **options)
  assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_kept(logdirs, tmp_path):
  (tmp_path / 'file').write_text('mine')
  with pytest.raises(UserError, match='--out'):
    teachers.build(logdirs, tmp_path)
  assert (tmp_path / 'file').read_text() == 'mine'


def test_without_replay_for_distillation_alone(logdirs, tmp_path, configure, spaces):
  """One run twice, as two sources; the guide is refused, distillation alone is not."""
  shutil.copytree(logdirs[0], tmp_path / 'copy')
  shutil.rmtree(tmp_path / 'copy' / 'replay')
  teachers.build(2 * [tmp_path / 'copy'], tmp_path / 'out', guide=False)
  bundle = bundles.load(tmp_path / 'out')
  assert bundle.manifest['sources'] == [TASKS[0], f'{TASKS[0]}-2']
  config = configure('vid2act', **{'vid2act.teacher': str(tmp_path / 'out')})
  with pytest.raises(UserError, match='--no-guide.*guide is True.*set that to False'):
    taught.check(bundle, config, *spaces)
  taught.check(bundle, config.update({'agent.vid2act.guide': False}), *spaces)
