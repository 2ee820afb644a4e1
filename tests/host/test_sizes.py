"""Sizes that DreamerV3 cannot have, and that what we let pass it does have."""

import jax
import ninjax as nj
import numpy as np
import pytest

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.host import sizes

KEY = 'env.metaworld.size'


@pytest.mark.parametrize('size, changes, words', [
    ((8, 16), {}, r'env.metaworld.size is \[8, 16\].*agent.enc.*halves images 2 times.*multiples of '
     '4 from 12 to 64'),
    ((18, 16), {}, 'env.metaworld.size.*multiples of 4'),
    ((16, 68), {}, 'env.metaworld.size.*to 64'),
    ((16, 16), {'agent.dec.simple.mults': (1, 2, 2)}, 'agent.dec.*multiples of 8 from 24 to 128'),
    ((24, 24), {'agent.enc.simple.outer': True, 'agent.enc.simple.mults': (1, 2, 2, 2, 2)},
     'agent.enc.*halves images 4 times'),
    ((16, 16), {'agent.dyn.rssm.blocks': 3}, 'agent.dyn.rssm.blocks is 3.*deter is 16'),
    ((16, 16), {'agent.dec.simple.bspace': 3}, 'agent.dec.simple.bspace is 3.*deter is 16'),
    ((12, 12), {'agent.dec.simple.depth': 1, 'agent.dec.simple.mults': (1, 1)}, 'bspace is 8.*9 units'),
    (None, {'agent.dyn.rssm.blocks': 3}, 'agent.dyn.rssm.blocks')])
def test_what_cannot_be_built(configure, size, changes, words):
  with pytest.raises(UserError, match=words):
    sizes.check(configure('vid2act', **changes).agent, KEY, size)


@pytest.mark.parametrize('size', [(64,), (64, 64, 3)])
def test_what_is_no_height_and_width(configure, size):
  with pytest.raises(UserError, match=r'env.metaworld.size is \[64.*a height and a width.*--env.metaworld.size 64 64'):
    sizes.check(configure('vid2act').agent, KEY, size)


@pytest.mark.parametrize('size, changes', [
    ((12, 64), {}), ((16, 16), {}), ((24, 40), {r'.*\.mults': (1, 2, 2)}), (None, {}),
    ((16, 16), {r'.*\.outer': True, r'.*\.mults': (1, 2, 2)})])
def test_what_passes_can_be_built(configure, plain, size, changes):
  """The host's own encoder and decoder, traced at that size."""
  import elements
  from dreamerv3 import rssm
  agent = configure('vid2act', **changes).agent
  sizes.check(agent, KEY, size)
  if not size:
    return
  space = {'image': elements.Space(np.uint8, (*size, 3))}
  enc = rssm.Encoder(space, **agent.enc.simple, name='enc')
  dec = rssm.Decoder(space, **agent.dec.simple, name='dec')
  deter, stoch = agent.dyn.rssm.deter, (agent.dyn.rssm.stoch, agent.dyn.rssm.classes)

  @nj.init
  def both(image, deter, stoch):
    first = jax.numpy.zeros(image.shape[:2], bool)
    enc({}, {'image': image}, first, False)
    made.append(dec({}, {'deter': deter, 'stoch': stoch}, first, False)[2]['image'].pred().shape)
  made = []
  jax.eval_shape(
      both, {}, np.zeros((1, 1, *size, 3), np.uint8), np.zeros((1, 1, deter), np.float32),
      np.zeros((1, 1, *stoch), np.float32), seed=np.zeros(2, np.uint32))
  assert made[-1] == (1, 1, *size, 3)
