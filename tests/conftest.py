"""Small agents, built once per session: compiling one takes most of the time of a test."""

import contextlib
import os
import pathlib
import pickle
import sys

import pytest
from helpers import frugal, outputs
from helpers.commands import command
from helpers.payloads import owned  # noqa: F401

frugal.begin()
os.environ.setdefault('WANDB_MODE', 'offline')


def pytest_collection_modifyitems(items):
  """Begin with what takes longest, so that no core waits for another at the end."""
  items.sort(key=lambda x: x.path.parent.name not in ('end_to_end', 'robustness'))


def pytest_sessionfinish(session):
  if not hasattr(session.config, 'workerinput'):
    frugal.tidy()


SMALL = {
    'task': 'metaworld_door-lock', 'batch_size': 4, 'batch_length': 6, 'report_length': 6,
    'jax': {'platform': 'cpu', 'compute_dtype': 'float32', 'prealloc': False},
    r'.*\.rssm': {'deter': 16, 'hidden': 8, 'classes': 4, 'stoch': 4},
    r'.*\.mults': [1, 2], r'.*\.depth': 4, r'.*\.units': 16, r'.*\.layers': 1, r'.*\.bins': 15,
    'agent.imag_length': 4, 'agent.imag_last': 3, 'agent.opt.warmup': 0, 'agent.opt.lr': 1e-3}
OURS = {
    'jax.profiler': False, 'agent.vid2act.vae': {'code': 8, 'batch': 48}, 'vid2act.behaviours': {
        'updates': 4, 'batch_size': 8, 'channels': 4, 'hidden': 8, 'episodes': 0},
    # Sources that act have tests of their own; these teachers have no behaviours.
    'agent.vid2act.execute': {'start': 0.0, 'end': 0.0, 'evaluate': 'policy'}, 'agent.vid2act.imitate': 0.0}


# With the shapes of tests/data/660db1a/tiny.yaml, so that what one run compiles serves all.
TINY = r"""
batch_size: 4
batch_length: 8
report_length: 8
vid2act: {cache: CACHE, max_sources: 2, collect: {episodes: 2, limit: 12}}
vid2act.pretrain: {updates: 4, batch_size: 4, batch_length: 8, log_every: 2, memory: 16}
vid2act.behaviours: {updates: 4, batch_size: 8, channels: 4, hidden: 8, episodes: 1}
agent.vid2act.vae: {code: 8, batch: 16}
agent: {imag_length: 4, imag_last: 3}
run: {steps: 80, eval_every: 40, eval_eps: 2, train_ratio: 8}
logger.outputs: OUTPUTS
env.metaworld: {size: [16, 16], limit: 15, repeat: 1}
.*\.mults: [1, 2]
.*\.rssm: {deter: 16, hidden: 8, classes: 4, stoch: 4}
.*\.depth: 2
.*\.bspace: 4
.*\.units: 8
.*\.layers: 1
.*\.bins: 15
"""


@pytest.fixture(scope='session')
def tiny(tmp_path_factory):
  folder = tmp_path_factory.mktemp('chain')
  text = TINY.replace('CACHE', str(folder / 'cache'))
  (folder / 'tiny.yaml').write_text(text.replace('OUTPUTS', f'[{", ".join(outputs.INSTALLED)}]'))
  return folder / 'tiny.yaml'


@pytest.fixture(scope='session')
def first(tiny):
  """The whole chain from nothing."""
  logdir = tiny.parent / 'first'
  status, output = command(
      '--configs', 'vid2act', 'metaworld', 'quickstart', tiny, '--logdir', logdir)
  assert status == 0, output[-3000:]
  return logdir, output


@pytest.fixture
def closing():
  """Return a function that keeps an environment until the test ends, and closes it then."""
  with contextlib.ExitStack() as stack:
    yield lambda env: stack.enter_context(contextlib.closing(env))


@pytest.fixture
def without(monkeypatch):
  """Return a function that makes packages as if they were not installed, until the test ends."""
  from vid2act_plugin.common import images
  def fn(*names):
    for name in names:
      monkeypatch.setitem(sys.modules, name, None)
    images.drawing.cache_clear()
  yield fn
  images.drawing.cache_clear()


@pytest.fixture
def plain(monkeypatch):
  """Lift the limits that an agent of the host's sets for the whole process."""
  import embodied.jax.nets
  import jax
  import jax.numpy as jnp
  monkeypatch.setattr(embodied.jax.nets, 'COMPUTE_DTYPE', jnp.float32)
  with jax.transfer_guard('allow'):
    yield


@pytest.fixture(scope='session')
def overlays():
  import dreamerv3
  from dreamerv3 import plugins
  return plugins.configs(pathlib.Path(dreamerv3.__path__[0]) / 'configs.yaml')


@pytest.fixture(scope='session')
def configure(overlays):
  """Return a function (names of overlays, changes) -> config at the size of these tests.

  With `defaults`, the config has no key of ours.
  """
  import elements

  def fn(*names, defaults=None, **changes):
    config = elements.Config(defaults or overlays['defaults'])
    if not defaults:  # All parts at once, where a variant does not switch them off.
      config = config.update({'agent.vid2act.guide': True})
    for name in names:
      config = config.update(overlays[name])
    return config.update(SMALL).update({} if defaults else OURS).update(changes)
  return fn


@pytest.fixture(scope='session')
def spaces():
  import elements
  import numpy as np
  flag = elements.Space(bool)
  obs = {
      'image': elements.Space(np.uint8, (16, 16, 3)), 'reward': elements.Space(np.float32),
      'is_first': flag, 'is_last': flag, 'is_terminal': flag}
  return obs, {'action': elements.Space(np.float32, 3, -1, 1)}


@pytest.fixture(scope='session')
def batches():
  """Return a function (agent, count) -> batches as the host's stream would give them."""
  from bench.timings import agents
  return agents.batches


@pytest.fixture(scope='session')
def bundle(configure, tmp_path_factory):
  """A real bundle of three sources with untrained weights."""
  import embodied.jax.nets
  import jax
  import jax.numpy as jnp
  import ninjax as nj
  import numpy as np

  from vid2act_plugin.teacher.bundle import MODEL, Bundle
  config, rng, M, A = configure(), np.random.default_rng(0), 60, 16
  manifest = dict(
      sources=['one', 'two', 'three'], act_sizes=[3, 2, 3], act_width=A, image=[16, 16, 3],
      agent={k: config.agent[k] for k in MODEL}, env={}, recordings='none', updates=0)
  made = Bundle({}, {}, manifest)
  embodied.jax.nets.COMPUTE_DTYPE = jnp.float32
  image, action = np.zeros((1, 2, 16, 16, 3), np.uint8), np.zeros((1, 2, A), np.float32)
  with jax.transfer_guard('allow'):  # The host forbids implicit transfers in the whole process.
    made.params = jax.device_get(nj.init(made.model().features)(
        {}, image, action, np.ones((1, 2), bool), seed=0))
  made.memory = dict(
      deter=rng.uniform(-1, 1, (M, 16)).astype(np.float16),
      stoch=rng.integers(0, 4, (M, 4)).astype(np.uint8),
      action=rng.uniform(-1, 1, (M, A)).astype(np.float32),
      source=(np.arange(M) % 3).astype(np.int32))
  folder = tmp_path_factory.mktemp('bundle') / 'teacher'
  made.save(folder)
  return folder


@pytest.fixture(scope='session')
def make_agent(spaces, tmp_path_factory):
  """Return a function config -> agent, as the host's `make_agent` builds it.

  It compiles what is called, when it is called.
  """
  from bench.timings import agents
  return lambda config: agents.build(
      config, spaces, tmp_path_factory.mktemp('agent'), report=False)


@pytest.fixture(scope='session')
def finetune(configure, bundle):
  return configure('vid2act', 'finetune', **{
      'vid2act.teacher': str(bundle), 'agent.vid2act.init_source': 'two'})


@pytest.fixture(scope='session')
def student(finetune, make_agent):
  """An agent of the host's that begins with the teacher's world model."""
  return make_agent(finetune)


@pytest.fixture(scope='session')
def begun(student):
  """What the student held when it was made."""
  import numpy as np
  policy = {k: np.array(v) for k, v in student.policy_params.items()}
  return {**pickle.loads(pickle.dumps(student.save())), 'policy': policy}


@pytest.fixture(scope='session')
def start(begun):
  return begun['params']


@pytest.fixture
def fresh(student, start):
  """The student as it was made."""
  from vid2act_plugin.host import loading
  student.load({'params': start, 'counters': loading.FRESH})
  return student
