"""A new agent starts from its teacher's weights.

Axes: A the task's actions, D deter, H hidden, N sources, S tokens of the
teacher's source index, V tokens of vector observations, X tokens of the image.
"""

import json
import re

import elements
import jax
import ninjax as nj
import numpy as np

from ..common.errors import UserError, differences
from ..common.output import note
from ..host import checkpoints, internals, loading, processes
from ..host.loading import match, shapes
from ..teacher import model as models

# Of the model's settings, those that change only how it begins or is trained, or what becomes of vectors.
ALIKE = re.compile(r'.*\.(winit|outscale|unimix|free_nats)|.*\.(enc|dec)\.simple\.(layers|units|symlog)')
MODEL = re.compile(r'dyn/(?!obs0/)|enc/cnn')  # What has to be the teacher's; vectors of the task's own change obs0.
HEADS = {'rew': 'rewhead', 'con': 'conhead'}  # Modules that a task may have otherwise, and their settings.


def fit(params, teacher, bundle, source, actions):
  """Return what a stock agent becomes from a teacher told that it is in some source.

  params: `{name: array}` of the agent, whose RSSM knows `actions` actions, as
  initialised. teacher: that of the bundle. source: index, or None: halfway
  between all of them (of separate models, the first). Returns the new
  parameters and a `Report`; given a state, the agent's world model then
  continues it as the teacher's does in that source, as long as it takes no
  action that the source does not have, and except at a reset. There the host
  masks the whole action, the one-hot of the source too, and so the teacher
  lacks the row that is folded into a bias here.
  """
  names, separate = bundle.manifest['sources'], bundle.manifest.get('kind') == 'separate'
  each = range(len(names)) if source is None and not separate else [source or 0]
  named = names[each[0]] if len(each) == 1 else 'the mean of its sources'
  title = f'Initialised from the teacher as {named}'
  known = min(actions, max(bundle.manifest['act_sizes'][k] for k in each))
  if separate:
    prefix = f'{each[0]}/'
    given = {k.removeprefix(prefix): v for k, v in teacher.items() if k.startswith(prefix)}
    return match(params, given, title, {
        **_actions(params, given, known), **_images(params, given, bundle, each[0]), **aligned(params)})
  known *= bundle.manifest.get('actions', True)
  special = _actions(params, teacher, known)
  kernel, bias = (teacher[f'{internals.ACTIONS}/{x}'] for x in ('kernel', 'bias'))
  if special:
    row = kernel[[bundle.act_width + k for k in each]].mean(0)
    special[f'{internals.ACTIONS}/bias'] = (bias + row, 'folded', f'with the row of {named}')
  special |= {**_tokens(params, teacher, bundle, each), **aligned(params)}
  return match(params, teacher, title, special)


def check(config, names):
  """Raise a `UserError` unless `agent.vid2act.init_source` is one of the sources, or ''."""
  source = config.agent.vid2act.init_source
  if source and source not in names:
    raise UserError(
        f"The key agent.vid2act.init_source is '{source}', but the sources of the teacher are "
        f"{', '.join(names)}; name one of these.")


def check_sizes(config, bundle):
  """Raise a `UserError` where a new agent's world model would have other shapes than the teacher's; nothing is computed."""
  if checkpoints.latest(processes.home(config)):
    return  # See `initialise`.
  manifest, given, kernel = bundle.manifest, bundle.params, f'{internals.ACTIONS}/kernel'
  check_alike(config, manifest)
  image = elements.Space(np.uint8, tuple(manifest['image']))
  # Not folded: that depends on the device, and to ask for it starts JAX before the host has set it up.
  model = models.SourceModel(config.agent, image, bundle.act_width, manifest['act_sizes'], folded=False)
  made = models.shapes(model, manifest['image'], bundle.act_width)
  if manifest.get('kind') == 'separate':
    names, source = manifest['sources'], config.agent.vid2act.init_source
    prefix = f'{names.index(source) if source else 0}/'
    given = {k.removeprefix(prefix): v for k, v in given.items() if k.startswith(prefix)}
    made.pop(kernel)  # It knows neither other sources nor actions that it lacks.
  _refuse(config, {
      k: shapes(given[k], jax.ShapeDtypeStruct(v, np.float32)) for k, v in made.items()
      if k in given and given[k].shape != v})


def check_alike(config, manifest):
  """Raise a `UserError` where a new agent's world model has other settings than the teacher's that it begins with.

  The weights may fit all the same, and mean something else. So if it is to begin as a source that there is not.
  """
  check(config, manifest['sources'])
  if not config.agent.vid2act.init or checkpoints.latest(processes.home(config)):
    return  # See `initialise`.
  names, source = manifest['sources'], config.agent.vid2act.init_source
  separate = manifest.get('kind') == 'separate'
  taught = manifest['agents'][names.index(source) if source else 0] if separate else manifest['agent']
  other, ours, theirs = _other(config, taught, ('enc', 'dyn') if separate else ('enc', 'dyn', 'dec'))
  if other:
    raise UserError(
        f'The key agent.vid2act.init is True, but the teacher {config.vid2act.teacher} was made with other settings of the world '
        f"model, {differences(other, ours, 'there', theirs)}, with which its weights mean something else; give those, "
        'as its manifest.json has them, pretrain another teacher, or set that key to False.')


def _other(config, taught, parts):
  """Return which settings of these parts make weights mean something else, and the agent's and the teacher's settings."""
  flat = lambda agent: json.loads(json.dumps(elements.Config({'agent': {k: dict(agent[k]) for k in parts}}).flat))
  ours, theirs = flat(config.agent), flat(taught)
  other = [k for k in ours if ours[k] != theirs.get(k, ours[k]) and not ALIKE.fullmatch(k)]
  return other, ours, theirs


def _meant(config, bundle):
  """Return the teacher's tensors without those of heads that the agent has with other settings, which begin anew."""
  found = bundle.params
  for name, part in HEADS.items() if bundle.manifest.get('kind') != 'separate' else ():
    other, ours, theirs = _other(config, bundle.manifest['agent'], [part])
    if other:
      note(f"Note: {name} begins anew, as the teacher {config.vid2act.teacher} was made with other settings, "
           f"{differences(other, ours, 'there', theirs)}.")
      found = {k: v for k, v in found.items() if not k.startswith(f'{name}/')}
  return found


def _refuse(config, differ, report=()):
  """Raise a `UserError` if any tensors `{name: in words}` that `differ` from the teacher's are of the world model."""
  if other := [(k, v) for k, v in differ.items() if MODEL.match(k)]:
    name, shape = other[0]
    raise UserError(
        f'The key agent.vid2act.init is True, but of the teacher {config.vid2act.teacher} {len(other)} tensors of the world '
        f"model have another shape than the agent's, such as {name}, {shape}; give the sizes that it was made with, as in the "
        'overlay size12m, pretrain another teacher, or set that key to False.', report)


def initialise(agent, bundle, config):
  """Give a new agent the teacher's weights, as the source `agent.vid2act.init_source`.

  Counters and optimiser start at 0. A run that has a checkpoint is left alone:
  it continues from that. Raises a `UserError` for an unknown source.
  """
  names, source = bundle.manifest['sources'], config.agent.vid2act.init_source
  check(config, names)
  if checkpoints.latest(processes.home(agent.config)):
    note('Not initialised from the teacher: the run continues from its own checkpoint.')
    return
  params, report = fit(
      loading.parameters(agent), _meant(config, bundle), bundle, names.index(source) if source else None,
      agent.act_space['action'].shape[0])
  _refuse(config, {name: shape for name, status, shape in report.rows if status == 'shape differs'}, report.lines())
  agent.load({'params': params, 'counters': loading.FRESH})
  note(*report.lines())


def aligned(params):
  """Return, as `loading.match` takes it, the adapter's kernel of a student that begins in its teacher's feature space."""
  name = 'adapter/map/kernel'
  kernel = params.get(name)
  if kernel is None or kernel.shape[0] != kernel.shape[1]:
    return {}
  return {name: (np.eye(len(kernel)), 'set', "the identity: the student begins in its teacher's feature space")}


def _actions(params, given, known):
  """Return the kernel of the actions `[A, H]` with the `known` first rows of the given one."""
  name = f'{internals.ACTIONS}/kernel'
  old, kernel = params[name], given[name]
  if kernel.shape[1] != old.shape[1] or kernel.shape == old.shape and known == len(old):
    return {}
  if not known:
    return {name: (old, 'missing', 'the teacher saw no actions: as initialised')}
  left = f', {len(old) - known} as initialised' if known < len(old) else ''
  value = np.concatenate([kernel[:known], old[known:]])
  return {name: (value, 'sliced', f'{known} of {len(kernel)} rows: the actions{left}')}


def _images(params, given, bundle, source):
  """Return the kernel of `dyn/obs0` of a separate teacher, who sees no vectors, for a task that has V of them."""
  name = f'{internals.TOKENS}/kernel'
  old, kernel = params.get(name), given.get(name)
  more = _vectors(params)
  if not more or old is None or kernel is None or old.shape != (len(kernel) + more, kernel.shape[1]):
    return {}
  rssm = bundle.manifest['agents'][source]['dyn']['rssm']
  deter = 0 if rssm['absolute'] else rssm['deter']
  value = np.concatenate([kernel[:deter], old[deter: deter + more], kernel[deter:]])
  return {name: (value, 'sliced', f'{more} of vectors as initialised')}


def _vectors(params):
  """Return V, how many tokens an agent's encoder makes of vectors."""
  return sum([v.shape[1] for k, v in params.items() if re.fullmatch(internals.VECTORS, k)][-1:])


def _tokens(params, teacher, bundle, each):
  """Return kernel and bias of `dyn/obs0` without the inputs that tell the source.

  The teacher's kernel has D, S and X rows, the agent's D, V and X. The S tokens
  of one source are constant, so that their share, the mean over the sources in
  `each`, belongs to the bias.
  """
  key, rssm = internals.TOKENS, bundle.config.dyn.rssm
  kernel, old = teacher[f'{key}/kernel'], params[f'{key}/kernel']
  tokens = _constant(bundle, teacher)[list(each)].mean(0)
  deter = 0 if rssm.absolute else rssm.deter
  head, middle, image = np.split(kernel, [deter, deter + len(tokens)])
  vectors = _vectors(params)
  if old.shape != (deter + vectors + len(image), kernel.shape[1]):
    return {f'{key}/kernel': (old, 'shape differs', shapes(kernel, old))}
  value = np.concatenate([head, old[deter: deter + vectors], image])
  note = f'without {len(tokens)} rows that tell the source'
  note += f', {vectors} of vectors as initialised' if vectors else ''
  share = teacher[f'{key}/bias'] + tokens @ middle
  return {
      f'{key}/kernel': (value, 'sliced', note),
      f'{key}/bias': (share, 'folded', 'with the share of these rows')}


def _constant(bundle, teacher):
  """Return the tokens `[N, S]` float32 that the teacher makes of its sources' indices."""
  model, index = bundle.model(), np.arange(len(bundle.manifest['sources']), dtype=np.int32)[:, None]
  encode = lambda index: model.src({}, {'source': index}, np.zeros(index.shape, bool), False)[2]
  params = {k: v for k, v in teacher.items() if k.startswith('src/')}
  with jax.transfer_guard('allow'):
    _, tokens = jax.jit(nj.pure(encode))(params, index)
    return np.float32(jax.device_get(tokens))[:, 0]
