"""What keeps a teacher bundle from being whole, in words: each returns None where nothing does."""

import math

import numpy as np

from ..common.errors import UserError
from . import claims

LEARNED = {  # What manifest and behaviours tell of what they were learned from.
    'sources': list, 'act_sizes': list, 'act_width': int, 'image': list, 'env': dict, 'recordings': str}
FIELDS = {**LEARNED, 'agent': dict, 'updates': int}
UNTOLD = 'lack the settings, or an error and a success for each source'
CLASSES = 256  # As many as a byte of `memory` tells apart.
MEMORY = {  # dtype and what it is as wide as.
    'deter': (np.float16, 'deter'), 'stoch': (np.uint8, 'stoch'), 'action': (np.float32, 'act_width'),
    'source': (np.int32, None)}


def manifest(manifest):
  """Of a manifest alone."""
  fault = _learned(manifest, FIELDS)
  if fault:
    return fault
  if not 0 <= manifest['updates'] < 2 ** 63:
    return f"its updates are {manifest['updates']:.3g}"
  if manifest.get('kind', 'separate') != 'separate' or not all(
      type(manifest.get(x, True)) is bool for x in ('guide', 'actions')):
    return 'its kind, guide or actions are none of those that there are'
  if 'behaviours' in manifest and not _told(manifest['behaviours'], len(manifest['sources'])):
    return f'its behaviours {UNTOLD}'
  return _agents(manifest)


def behaviours(facts):
  """Of what is told of behaviours, wherever they lie."""
  return _learned(facts, LEARNED) or (None if _told(facts, len(facts['sources'])) else f'they {UNTOLD}')


def _learned(manifest, fields):
  for key, kind in fields.items():
    if type(manifest.get(key)) is not kind:
      return f"the field '{key}' of its manifest is missing or no {kind.__name__}"
  names, width = manifest['sources'], manifest['act_width']
  if not names or not all(isinstance(x, str) and x.isprintable() for x in names) or (
      len(set(names)) != len(names)):
    return 'its sources have no names of their own'
  if len(manifest['act_sizes']) != len(names) or not claims.sizes(
      width, *manifest['act_sizes']) or max(manifest['act_sizes']) > width:
    return 'its act_sizes are not one number up to act_width for each source'
  if len(manifest['image']) != 3 or not claims.sizes(*manifest['image']):
    return 'its image is not height, width and channels'


def _told(facts, sources):
  """Say whether facts of behaviours have what is shown of them."""
  share = lambda x: x is None or isinstance(x, list) and len(x) == 2 and all(
      type(y) in (int, float) and 0 <= y <= 1 for y in x)
  lists = [facts.get(x) for x in ('error', 'success')] if isinstance(facts, dict) else [None]
  return all(isinstance(x, list) and len(x) == sources for x in lists) and (
      isinstance(facts.get('settings'), dict)) and all(map(share, lists[1])) and all(
          x is None or type(x) in (int, float) and math.isfinite(x) for x in lists[0])


def classes(agent, what):
  """Raise a `UserError` if a memory could not tell the classes of the model `agent` apart, which `what` has."""
  found = agent['dyn']['rssm']['classes']
  if found > CLASSES:
    raise UserError(
        f'{what} has agent.dyn.rssm.classes = {found}, but a teacher keeps its states by at most {CLASSES}; '
        'give as many or fewer.')


def _agents(manifest):
  agents = [manifest['agent']]
  if 'kind' in manifest:
    agents = manifest.get('agents')
    if not isinstance(agents, list) or len(agents) != len(manifest['sources']) or (
        not all(isinstance(x, dict) for x in agents) or agents[0] != manifest['agent']):
      return 'its agents are not one for each source, the first of them its agent'
  for agent in agents:
    try:
      rssm = agent['dyn']['rssm']
      sizes = [rssm[x] for x in ('deter', 'stoch', 'classes')]
    except (KeyError, TypeError):
      sizes = [None]
    if not claims.sizes(*sizes) or sizes[2] > CLASSES:
      return f'its agent lacks deter, stoch or classes (up to {CLASSES}) of dyn.rssm'
    fault = claims.fault(agent)
    if fault:
      return f'its {fault}'


def content(params, memory, manifest):
  """Of arrays beside their manifest, whatever their model is."""
  source = memory.get('source', np.zeros(0))
  if source.dtype != np.int32 or source.ndim != 1 or any(
      x.shape[:1] != source.shape for x in memory.values()):
    return 'its memory lacks the sources of its states'
  if len(source) and not 0 <= source.min() <= source.max() < len(manifest['sources']):
    return 'its memory is of other sources than its manifest'
  for name, value in [*params.items(), *memory.items()]:
    if value.dtype.kind == 'f' and not np.isfinite(value).all():
      return f'{name!r:.80} has values that are not finite'


def memory(memory, manifest):
  """Of a memory that has to be of its manifest's model."""
  wide = {**manifest['agent']['dyn']['rssm'], 'act_width': manifest['act_width']}
  for key, (dtype, width) in MEMORY.items():
    have, axes = memory.get(key), 2 if width else 1
    if have is None or have.dtype != dtype or have.ndim != axes or not len(have) or (
        width and have.shape[1] != wide[width]):
      found = 'missing' if have is None else f'{have.dtype} of shape {list(have.shape)}'
      return f"'{key}' of its memory is {found}, which is not of its manifest's model"
  if len(np.unique(memory['source'])) != len(manifest['sources']):
    return 'its memory has no states of some of its sources'
  if memory['stoch'].max() >= wide['classes']:
    return f"its memory has states of more than {wide['classes']} classes"
