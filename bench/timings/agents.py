"""Agents, teachers and batches of one size for the timings."""

import os
import pathlib
import tempfile

os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import dreamerv3.agent  # noqa: E402
import elements  # noqa: E402
import embodied  # noqa: E402
import embodied.jax.nets  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import ninjax as nj  # noqa: E402
import numpy as np  # noqa: E402
from dreamerv3 import plugins  # noqa: E402

from vid2act_plugin.host import convolutions, platform  # noqa: E402
from vid2act_plugin.teacher import behaviours  # noqa: E402
from vid2act_plugin.teacher.bundle import MODEL, Bundle  # noqa: E402

ACTIONS, IMAGE = 4, (64, 64, 3)
SIZE = {'batch_size': 8, 'batch_length': 32, 'report_length': 32, 'jax.profiler': False,
        'jax.platform': 'auto', 'jax.prealloc': False}


def configure(*overlays, size='size1m', ours=True, **changes):
  """Return the host's config with overlays, a size preset, batches of 8 x 32, and changes.

  ours: with our compiler flags and compilation cache.
  """
  known = plugins.configs(pathlib.Path(dreamerv3.__path__[0]) / 'configs.yaml')
  config = elements.Config(known['defaults'])
  for name in (*overlays, size):
    config = config.update(known[name])
  config = config.update(SIZE).update(changes)
  if not ours:
    return config.update({'jax.platform': 'cpu', 'jax.compute_dtype': 'float32'})
  return platform.resolve(config)


def teacher(config, sources, memory=512):
  """Write a bundle of that many sources with untrained weights and return its folder."""
  rng, width = np.random.default_rng(0), config.vid2act.act_width
  made = Bundle({}, {}, dict(
      sources=[f'source_{i}' for i in range(sources)], act_sizes=[ACTIONS] * sources,
      act_width=width, image=list(IMAGE), agent={k: config.agent[k] for k in MODEL}, env={},
      recordings='none', updates=0))
  rssm = config.agent.dyn.rssm
  embodied.jax.nets.COMPUTE_DTYPE = jnp.float32
  with jax.transfer_guard('allow'):
    made.params = jax.device_get(jax.jit(nj.init(made.model().features))(
        {}, np.zeros((1, 2, *IMAGE), np.uint8), np.zeros((1, 2, width), np.float32),
        np.ones((1, 2), bool), seed=np.zeros(2, np.uint32)))
  count = memory * sources
  made.memory = dict(
      deter=rng.uniform(-1, 1, (count, rssm.deter)).astype(np.float16),
      stoch=rng.integers(0, rssm.classes, (count, rssm.stoch)).astype(np.uint8),
      action=rng.uniform(-1, 1, (count, width)).astype(np.float32),
      source=(np.arange(count) % sources).astype(np.int32))
  facts = made.manifest['behaviours'] = dict(
      {k: made.manifest[k] for k in ('sources', 'act_sizes', 'act_width', 'image', 'env', 'recordings')},
      settings=dict(config.vid2act.behaviours), error=[0.0] * sources, success=[None] * sources)
  made.clones = {
      k: rng.normal(size=v).astype(np.float32) for k, v in behaviours.shapes(facts).items()}
  folder = pathlib.Path(tempfile.mkdtemp()) / 'teacher'
  made.save(folder)
  return folder


def metaworld():
  """Return observations and actions as Meta-World has them."""
  flag = elements.Space(bool)
  obs = {
      'image': elements.Space(np.uint8, IMAGE), 'reward': elements.Space(np.float32),
      'is_first': flag, 'is_last': flag, 'is_terminal': flag}
  return obs, {'action': elements.Space(np.float32, ACTIONS, -1, 1)}


def build(config, spaces=None, logdir=None, folded=False, report=True):
  """Build the agent as the host's `make_agent` does; `spaces` default to those of Meta-World.

  folded: stock with our convolutions instead. report: off compiles no report, and the update
  when it is first used.
  """
  keys = ('seed', 'jax', 'batch_size', 'batch_length', 'replay_context', 'report_length',
          'replica', 'replicas')
  make = convolutions.folding(dreamerv3.agent.Agent) if folded else plugins.agent(config)
  settings = {k: config[k] for k in keys}
  if not report:
    settings['jax'] = {**config.jax, 'precompile': False}
  return make(*(spaces or metaworld()), elements.Config(
      **config.agent, **settings, logdir=str(logdir or tempfile.mkdtemp())))


def batches(agent, count, seed=0, episodes=1):
  """Return random batches as the host's stream would give them, of steps of so many episodes."""
  rng = np.random.default_rng(seed)
  shape = agent.config.batch_size, agent.config.batch_length + agent.config.replay_context
  def sample():
    data = {k: np.zeros((*shape, *v.shape), v.dtype) for k, v in agent.spaces.items()
            if not k.startswith(('teacher/', 'memory/'))}
    data['image'] = rng.integers(0, 256, data['image'].shape, np.uint8)
    data['reward'] = rng.normal(size=shape).astype(np.float32)
    data['action'] = rng.uniform(-1, 1, data['action'].shape).astype(np.float32)
    data['is_first'][:, 0] = True
    if 'episode' in data:
      data['episode'] = rng.integers(0, episodes, shape, np.int32)
    return data
  stream = iter(agent.stream(embodied.streams.Stateless(sample)))
  return [next(stream) for _ in range(count)]


def updater(agent):
  """Return a function that updates the agent once, on random batches, and waits for it."""
  given = batches(agent, 4)
  state = dict(carry=agent.init_train(agent.config.batch_size), count=0)
  def update():
    batch = dict(given[state['count'] % len(given)])
    state['carry'], _, _ = agent.train(state['carry'], batch)
    state['count'] += 1
    jax.block_until_ready(agent.params)
  return update
