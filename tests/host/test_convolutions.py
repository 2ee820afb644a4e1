"""Image networks on a CPU, and the optimiser: the host's results by a shorter way."""

import functools

import elements
import embodied.jax
import embodied.jax.nets as nn
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import optax
import pytest
from dreamerv3 import rssm

from vid2act_plugin.host import convolutions as vision
from vid2act_plugin.host import optimizer as optim

rng = np.random.default_rng(0)
first = np.zeros((2, 1), bool)
CASES = [
    dict(res=64), dict(res=64, kernel=3), dict(res=64, kernel=7), dict(res=64, kernel=4),
    dict(res=32, mults=(2, 3, 4)), dict(res=64, outer=True), dict(res=64, strided=True),
    dict(res=64, strided=True, kernel=3), dict(res=64, strided=True, kernel=7),
    dict(res=64, strided=True, outer=True)]


@pytest.fixture(autouse=True)
def float32(monkeypatch):
  monkeypatch.setattr(nn, 'COMPUTE_DTYPE', jnp.float32)
  with jax.transfer_guard('allow'):  # An agent of another test has perhaps forbidden it.
    yield


def networks(lib, res, **kw):
  """Return a function of a module's networks: loss, tokens and images of fixed inputs."""
  spaces = {
      'image': elements.Space(np.uint8, (res, res, 3)), 'vec': elements.Space(np.float32, (5,))}
  kw = {**dict(depth=2, units=16, layers=1, kernel=5, mults=(2, 3, 4, 4)), **kw}
  make = [rssm.Encoder, rssm.Decoder] if lib is rssm else [
      functools.partial(x, True) for x in (vision.encoder, vision.decoder)]
  enc, dec = (f(spaces, **kw, name=name) for f, name in zip(make, ('enc', 'dec')))
  draw = np.random.default_rng(0)
  obs = {
      'image': draw.integers(0, 256, (2, 1, res, res, 3), np.uint8),
      'vec': draw.normal(size=(2, 1, 5)).astype(np.float32)}
  feat = {
      'deter': draw.normal(size=(2, 1, 16)).astype(np.float32),
      'stoch': draw.normal(size=(2, 1, 4, 4)).astype(np.float32)}

  def run():
    tokens, recons = enc({}, obs, first, True)[2], dec({}, feat, first, True)[2]
    image = recons['image'].pred()
    return jnp.sin(tokens).sum() + jnp.square(image).sum(), (tokens, image)

  return run, (enc, dec)


def _folded(module):
  return [x for x in module._submodules.values() if type(x).__module__ == vision.__name__]


@pytest.mark.parametrize('case', CASES, ids=str)
def test_networks_are_those_of_the_host(case):
  found = []
  for lib in (rssm, vision):
    run, modules = networks(lib, **case)
    params = nj.init(run)({}, seed=0)
    grad = jax.jit(jax.value_and_grad(lambda x, f=run: nj.pure(f)(x, seed=0)[1], has_aux=True))
    found.append((params, *grad(params)))
  (params, (loss, out), grads), (params2, (loss2, out2), grads2) = found
  jax.tree.map(np.testing.assert_array_equal, params, params2)
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * np.abs(a).max() + 1e-9)
  jax.tree.map(close, (loss, out, grads), (loss2, out2, grads2))
  folded = [len(_folded(m)) for m in modules]
  layers = len(case.get('mults', (2, 3, 4, 4)))
  assert folded == [layers, layers - case.get('outer', False)]


def test_other_platforms_keep_the_convolutions_of_the_host(monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  run, modules = networks(vision, 64)
  nj.init(run)({}, seed=0)
  assert [_folded(x) for x in modules] == [[], []]


def test_blocks_and_pixels_undo_each_other():
  x = rng.normal(size=(2, 6, 4, 3)).astype(np.float32)
  blocks = vision.blocks(x)
  assert blocks.shape == (2, 3, 2, 12)
  np.testing.assert_array_equal(blocks[0, 1, 1], x[0, 2:4, 2:4].reshape(12))
  np.testing.assert_array_equal(vision.pixels(blocks), x)


@pytest.mark.parametrize('width,n', [(16, 3), (20, 3), (16, 5), (16, 1), (8, 3)])
def test_gradients_of_convolution(width, n):
  x = rng.normal(size=(2, 12, width, 3)).astype(np.float32)
  kernel = rng.normal(size=(n, n, 3, 4)).astype(np.float32)
  weight = rng.normal(size=(2, 12, width, 4)).astype(np.float32)
  ours, plain = (
      jax.grad(lambda x, k, f=f: (weight * f(x, k)).sum(), (0, 1))(x, kernel)
      for f in (vision.convolve, vision._convolve))
  for a, b in zip(ours, plain):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_optimiser_is_created_and_steps_as_the_host_does():
  runs = []

  def build(make):
    modules = [nn.Linear(3, name='a'), nn.Linear(1, name='b')]
    opt = make(modules, optax.adam(1e-1), name='opt')
    slow = nj.Variable(jnp.zeros, (), name='slow')
    def loss(x):
      runs.append(make)
      slow.write(slow.read() + 1)
      noise = jax.random.normal(nj.seed(), x.shape)
      return jnp.square(modules[1](modules[0](x + noise))).mean(), {'seen': x.sum()}
    return lambda x: (*opt(loss, x, has_aux=True), jax.random.normal(nj.seed()))

  x, states = np.ones((4, 2), np.float32), []
  for make in (embodied.jax.Optimizer, optim.optimizer):
    train = build(make)
    state = nj.init(train)({}, x, seed=3)
    assert {v.item() for k, v in state.items() if k.startswith('slow')} == {0}  # Nothing was learned yet.
    runs.clear()
    states += [state, nj.pure(train)(dict(state), x, seed=4)]
    assert len(runs) == (2 if make is embodied.jax.Optimizer else 1)
  jax.tree.map(np.testing.assert_array_equal, states[:2], states[2:])
  assert any('opt/state' in x for x in states[0])
  assert np.abs(states[1][0]['a/kernel'] - states[0]['a/kernel']).max() > 0
