"""Sizes that DreamerV3's networks cannot have, which it tells by an assertion once it builds them."""

from ..common.errors import UserError

LEAST, MOST = 3, 16  # Height and width of what the image networks halve an image to.


def check(agent, key, size):
  """Raise a `UserError` if the networks of the settings `agent` cannot be built.

  size: height and width of the images, which the setting `key` gives; None if not known.
  """
  rssm = agent.dyn.rssm
  for name, parts in (('dyn.rssm.blocks', rssm.blocks), ('dec.simple.bspace', agent.dec.simple.bspace)):
    if parts and rssm.deter % parts:
      raise UserError(
          f'The key agent.{name} is {parts}, but agent.dyn.rssm.deter is {rssm.deter}, which cannot be '
          'divided into so many equal parts; change one of them.')
  if not size:
    return
  if len(size) != 2:
    raise UserError(
        f'The key {key} is {list(size)}; give a height and a width in pixels, --{key} 64 64, or [64, 64] in an '
        'overlay.')
  for name in ('enc', 'dec'):
    simple = agent[name].simple
    times = len(simple.mults) - bool(simple.outer)
    factor = 2 ** times
    if not all(LEAST <= x // factor <= MOST and x % factor == 0 for x in size):
      raise UserError(
          f'The key {key} is {list(size)}, but agent.{name}.simple.mults, {list(simple.mults)}, halves '
          f'images {times} times, to {LEAST} to {MOST} pixels; give multiples of {factor} from '
          f'{LEAST * factor} to {MOST * factor}, or a list of another length (`.*\\.mults: '
          '[1, 2, 2]` in an overlay).')
  # The decoder's, which came last.
  units = size[0] // factor * (size[1] // factor) * simple.depth * simple.mults[-1]
  if simple.bspace and units % simple.bspace:
    raise UserError(
        f'The key agent.dec.simple.bspace is {simple.bspace}, but the image decoder begins with '
        f'{units} units, which cannot be divided into so many equal parts; change it or '
        'agent.dec.simple.depth.')
