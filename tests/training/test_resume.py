"""A run that was stopped and continued is the run that was not."""

import os
import pickle
import signal
import threading
import time

import elements
import numpy as np
import pytest
from dreamerv3 import main as host

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.training import pretrain, resume
from vid2act_plugin.training import train as loop

NAMES = ['metaworld_door-close', 'metaworld_reach-wall']
FLAGS = 'is_first', 'is_last', 'is_terminal'


def args(config):
  keys = 'batch_size', 'batch_length', 'report_length', 'replay_context'
  return elements.Config(**config.run, logdir=config.logdir, **{k: config[k] for k in keys})


def parameters(logdir):
  cp = logdir / 'ckpt'
  return pickle.loads((cp / (cp / 'latest').read_text() / 'agent.pkl').read_bytes())


def same(one, two):
  assert one['counters']['updates'] == two['counters']['updates']
  assert set(one['params']) == set(two['params'])
  different = [k for k, v in one['params'].items() if v.tobytes() != two['params'][k].tobytes()]
  assert not different, different[:5]


def stopped(fn, file, lines, number=signal.SIGTERM):
  """Call `fn`, send a signal when the run has written so many lines; return its status."""
  def send():
    while not (file.exists() and len(file.read_text().splitlines()) >= lines):
      time.sleep(0.005)
    os.kill(os.getpid(), number)
  thread = threading.Thread(target=send, daemon=True)
  thread.start()
  with pytest.raises(SystemExit) as e:
    fn()
  thread.join()
  return e.value.code


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Recordings of two sources."""
  root, rng = tmp_path_factory.mktemp('sources'), np.random.default_rng(0)
  for name in NAMES:
    entries = []
    for i in range(3):
      flags = {k: np.zeros(12, bool) for k in FLAGS}
      flags['is_first'][0] = flags['is_last'][-1] = True
      action = rng.uniform(-1, 1, (12, 2)).astype(np.float32) * ~flags['is_last'][:, None]
      entries.append(recordings.write_episode(root / name, i, dict(
          image=rng.integers(0, 256, (12, 16, 16, 3), np.uint8), **flags, action=action,
          reward=rng.normal(size=12).astype(np.float32), success=np.zeros(12, np.float32))))
    recordings.write_manifest(root / name, dict(
        source=name, suite='metaworld', task=name.split('_')[1], behaviour={}, seed=0, env={},
        versions={}, act_size=2, episodes=entries))
  return root


def test_pretraining_stopped_by_a_signal(configure, folder, tmp_path, capsys):
  def run(name):
    config = configure('vid2act', **{
        'logdir': str(tmp_path / name), 'script': 'pretrain', 'logger.outputs': ['jsonl'],
        'vid2act.recordings': str(folder), 'vid2act.sources': NAMES, 'vid2act.pretrain': {
            'updates': 30, 'batch_size': 4, 'batch_length': 6, 'log_every': 1, 'memory': 8}})
    (tmp_path / name).mkdir(exist_ok=True)
    pretrain.run(config, args(config))
  run('whole')
  code = stopped(lambda: run('parts'), tmp_path / 'parts/metrics.jsonl', 3)
  assert code == 143 and 'repeat the command' in capsys.readouterr().out
  assert 3 <= parameters(tmp_path / 'parts')['counters']['updates'] < 30
  assert not (tmp_path / 'parts/teacher').exists()
  run('parts')
  same(*(parameters(tmp_path / x) for x in ('whole', 'parts')))
  for name in ('teacher.safetensors', 'memory.safetensors'):
    one, two = ((tmp_path / x / 'teacher' / name).read_bytes() for x in ('whole', 'parts'))
    assert one == two, name


def test_a_part_that_is_shorter_than_a_window_is_known_at_the_start(configure, folder, tmp_path, monkeypatch):
  """Held out is one episode of twelve steps; training alone would go on to its first log."""
  config = configure('vid2act', **{
      'logdir': str(tmp_path), 'script': 'pretrain', 'vid2act.recordings': str(folder),
      'vid2act.sources': NAMES, 'vid2act.pretrain': {'batch_length': 13, 'log_every': 1000}})
  monkeypatch.setattr(pretrain, 'build', None)
  with pytest.raises(UserError, match='13 steps long, but the source .* has 12 in its part holdout; .*batch_length'):
    pretrain.run(config, args(config))


def test_classes_that_no_bundle_could_hold_are_known_at_the_start(configure, tmp_path):
  config = configure('vid2act', **{'logdir': str(tmp_path), 'script': 'pretrain', 'agent.dyn.rssm.classes': 257})
  with pytest.raises(UserError, match='classes = 257, but .* at most 256'):
    pretrain.run(config, args(config))


class Tape:
  """A replay that gives recorded batches, `[B, T + context]`, in their order."""

  def __init__(self, batches, at=0):
    self.batches, self.at, self.updates, self.sampler = batches, {'train': at, 'report': 0}, 0, None

  def __len__(self):
    return 100

  def sample(self, batch, mode):
    self.at[mode] += 1
    return dict(self.batches[self.at[mode] - 1])

  def update(self, data):
    self.updates += 1


@pytest.fixture(scope='module')
def recorded(spaces):
  """Twelve batches as a replay gives them, with states of steps that it stored."""
  def fn(agent):
    rng, made = np.random.default_rng(0), []
    shape = agent.config.batch_size, agent.config.batch_length + agent.config.replay_context
    keys = {k: v for k, v in agent.spaces.items()
            if not k.startswith(('teacher/', 'memory/')) and k != 'consec'}
    for _ in range(12):
      data = {k: np.zeros((*shape, *v.shape), v.dtype) for k, v in keys.items()}
      data['image'] = rng.integers(0, 256, data['image'].shape, np.uint8)
      for key in ('reward', 'dyn/deter'):
        data[key] = rng.normal(size=data[key].shape).astype(data[key].dtype)
      data['action'] = rng.uniform(-1, 1, data['action'].shape).astype(np.float32)
      data['is_first'][:, 0] = True
      made.append(data)
    return made
  return fn


def test_training_on_a_recorded_stream(configure, bundle, make_agent, recorded, tmp_path):
  """With a report between updates, which takes seeds of the host's."""
  config = configure('vid2act', **{'vid2act.teacher': str(bundle), 'run.train_ratio': 24})
  config = elements.Config({**config, 'jax': {**config.jax, 'precompile': False}})
  agent, another = make_agent(config), make_agent(config)
  tape = recorded(agent)
  step, logger = elements.Counter(), elements.Logger(elements.Counter(), [print])

  def learn(agent, start, stop):
    replay = Tape(tape, start)
    learner = loop.Learner(config, args(config), agent, replay, step)
    for i in range(start, stop):
      learner.ratio._prev = int(step) - 1  # One update for each call.
      learner()
      if i == 1:
        learner.report(logger)
    assert replay.updates >= stop - start - 1 > 0  # New states are stored; those of an agent's first update come later.

  def checkpoint(agent):
    cp = elements.Checkpoint(tmp_path / 'ckpt')
    cp.agent, cp.step = agent, step
    return cp

  begin = pickle.loads(pickle.dumps(agent.save()))
  learn(agent, 0, 6)
  whole = pickle.loads(pickle.dumps(agent.save()))
  agent.load(begin)
  learn(agent, 0, 3)
  checkpoint(agent).save()
  checkpoint(another).load()
  learn(another, 3, 6)
  assert whole['counters']['updates'] == 6
  same(whole, another.save())


@pytest.fixture
def run(configure, tmp_path):
  """Return a function that trains for so many steps, with an agent that acts at random."""
  def fn(steps, **changes):
    config = configure('metaworld', **{
        'logdir': str(tmp_path), 'random_agent': True, 'logger.outputs': ['jsonl'],
        'run': {'debug': True, 'eval_every': 30, 'eval_eps': 1, 'log_every': 0, 'steps': steps},
        'replay.size': 1e5, 'env.metaworld': {
            'size': [16, 16], 'limit': 6, 'render': 'fast'}, **changes})
    loop.train_eval(config, args(config))
    return config
  return fn


def test_a_continued_run_begins_new_episodes(run, tmp_path, capsys):
  assert stopped(lambda: run(1e5), tmp_path / 'metrics.jsonl', 8) == 143
  assert 'repeat the command to continue' in capsys.readouterr().out
  latest = tmp_path / 'ckpt' / (tmp_path / 'ckpt/latest').read_text()
  step, place = (pickle.loads((latest / f'{x}.pkl').read_bytes()) for x in ('step', 'place'))
  assert place['begun'] == {0: -(-step // 7)} and place['prev'] > 0
  config = run(step + 20)
  chunks = [np.load(x) for x in sorted((tmp_path / 'replay').glob('*.npz'))]
  images, first = (np.concatenate([x[k] for x in chunks]) for k in ('image', 'is_first'))
  env, expected = host.make_env(config, 0), []
  for _ in range(first.sum()):
    expected.append(env.step({'action': np.zeros(4, np.float32), 'reset': True})['image'])
  env.close()
  np.testing.assert_array_equal(images[first], expected)


def test_what_the_host_lacks_comes_back():
  ratio, again = elements.when.Ratio(0.3), elements.when.Ratio(0.3)
  place = resume.Place(ratio, time.time() - 100, dict(collect=7.0, pretrain=0.0))
  other = resume.Place(again, time.time() - 10, dict(collect=0.0, pretrain=2.0))
  done = [ratio(step) for step in range(13)]
  place.evaluated = 4
  place.add({'is_first': np.bool_(True)}, 1)
  other.load(pickle.loads(pickle.dumps(place.save())))
  assert [ratio(x) for x in range(13, 40)] == [again(x) for x in range(13, 40)]
  assert sum(done) == 4 and other.evaluated == 4 and other.begun == {1: 1}
  spent = other.spent()  # Of both commands.
  assert (spent['collect'], spent['pretrain']) == (7, 2) and 109 <= spent['train'] < 170


def test_half_a_checkpoint_is_named(tmp_path):
  cp = elements.Checkpoint(tmp_path / 'ckpt')
  cp.agent = cp.step = cp.replay = cp.place = elements.Counter()
  resume.load_or_save(cp, elements.Path(tmp_path))
  name = (tmp_path / 'ckpt/latest').read_text()
  (tmp_path / 'ckpt' / name / 'place.pkl').unlink()
  assert not resume.load_or_save(cp, elements.Path(tmp_path))
  (tmp_path / 'ckpt' / name / 'done').unlink()
  with pytest.raises(UserError, match=name):
    resume.load_or_save(cp, elements.Path(tmp_path))
