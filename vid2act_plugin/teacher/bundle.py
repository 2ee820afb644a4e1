"""Teacher bundles: a folder of safetensors and JSON, nothing that executes."""

import dataclasses
import hashlib
import json
import pathlib

import numpy as np
from safetensors.numpy import load_file

from ..common import files
from ..common.errors import UserError, reading, reason
from . import faults, stored

FORMAT = 1
MANIFEST = 'manifest.json'
MODEL = ('enc', 'dyn', 'dec', 'rewhead', 'conhead')  # What of config.agent shapes the model.
# Losses that DreamerV3 has and a teacher has not, with the scales that are usual: no others make another teacher.
UNUSED = {'policy': 1.0, 'value': 1.0, 'repval': 0.3}
FILES = ('teacher.safetensors', 'memory.safetensors')
CLONES, FACTS = 'behaviours.safetensors', 'behaviours.json'  # The second where they lie outside of a bundle.


def decisive(agent):
  """Return what of config.agent decides which teacher pretraining makes."""
  return {**{k: agent[k] for k in (*MODEL, 'opt')}, 'loss_scales': {**agent.loss_scales, **UNUSED}}


@dataclasses.dataclass
class Bundle:
  """A frozen source model and what finetuning needs of its sources.

  params: `{path: array}` of the source model.
  memory: states of the sources' recordings with the action taken there: deter
    `[M, D]` float16, stoch `[M, S]` uint8, action `[M, A]` float32, source `[M]`
    int32. Empty until pretraining has ended.
  manifest: sources in order, `act_sizes`, `act_width`, `actions` (absent or
    True: it saw them), `image` shape, `agent`
    (the model's configuration), `env`, `recordings`, `updates`, `host`, `jax`.
    Of a teacher of separate models also `kind: separate`, `agents` (the
    configuration of each; `agent` is the first), `guide`: whether memory was
    made, and `updates` is the sum.
  clones: `{path: array}` of the sources' behaviours, described by the manifest's
  `behaviours`; both are absent from bundles of earlier versions. Where such a one got
  them, `before` is the hash that it had without.
  folder: where it was read from. compared: whether `params` are known to be of
  the model.
  """

  params: dict
  memory: dict
  manifest: dict
  clones: dict = dataclasses.field(default_factory=dict)
  folder: str = ''
  compared: bool = False

  @property
  def config(self):
    import elements
    return elements.Config(self.manifest['agent'])

  @property
  def sources(self):
    return len(self.manifest['sources'])

  @property
  def act_width(self):
    return self.manifest['act_width']

  @property
  def hash(self):
    return self.manifest['hash']

  def check(self):
    """Raise a `UserError` unless memory and manifest are of one model; needs neither JAX nor host."""
    fault = faults.memory(self.memory, self.manifest)
    if fault:
      raise UserError(f'The teacher bundle {self.folder} is not whole: {fault}; pretrain again.')

  def model(self, folded=True):
    """Return the network as a `TeacherModel`; folded: see `host.convolutions`.

    Raises a `UserError` unless it is the one that `params` are of.
    """
    import elements
    with reading(f'The model of the teacher bundle {self.folder}', 'pretrain it again'):
      image = elements.Space(np.uint8, tuple(self.manifest['image']))
      if self.manifest.get('kind') == 'separate':
        from .separate import SeparateModels
        agents = [elements.Config(x) for x in self.manifest['agents']]
        model = SeparateModels(agents, image, self.manifest['act_sizes'], folded)
      else:
        from .model import SourceModel
        model = SourceModel(
            self.config, image, self.act_width, self.manifest['act_sizes'], folded)
      if self.params and not self.compared:  # Some are still to be made.
        self._compare(model)
        self.compared = True
    return model

  def _compare(self, model):
    from .model import shapes
    for name, shape in shapes(model, self.manifest['image'], self.act_width).items():
      have = self.params.get(name)
      if have is None or have.shape != shape or have.dtype.kind != 'f':
        is_ = 'is missing' if have is None else f'is {have.dtype} of shape {list(have.shape)}'
        raise ValueError(f'its tensor {name} {is_} instead of floats of shape {list(shape)}')

  def save(self, folder):
    """Write the bundle at once: `folder` is either absent or complete."""
    folder = pathlib.Path(folder)
    with files.atomic_folder(folder, (*FILES, CLONES, MANIFEST)) as made:
      for name, arrays in zip(_names(self.manifest), (self.params, self.memory, self.clones)):
        (made / name).write_bytes(stored.content(arrays))
      hashes = {x.name: files.sha256(x) for x in sorted(made.iterdir())}
      self.manifest = {'format': FORMAT, **self.manifest, 'files': hashes}
      self.manifest['hash'] = _digest(self.manifest)
      (made / MANIFEST).write_text(json.dumps(self.manifest, indent=1), encoding='utf-8')


def verify(folder, named='The key vid2act.teacher'):
  """Return the manifest of a bundle whose files have their hashes, without loading these.

  Anything amiss is a `UserError` that names the file, and says what `named` the folder.
  """
  folder = pathlib.Path(folder).expanduser()
  manifest = folder / MANIFEST
  try:
    content = files.parse(folder, MANIFEST, links=True)
    hashes, digest = dict(content['files']), content['hash']
  except (OSError, ValueError, KeyError, TypeError) as e:
    raise UserError(
        f"{named} is '{folder}', but {manifest} is not a readable bundle "
        f'manifest ({reason(e)}); make a bundle with '
        '`python -m dreamerv3 --configs vid2act metaworld --script pretrain`.') from e
  if content.get('format') != FORMAT:
    raise UserError(
        f"{manifest} has the format {content.get('format')!r:.40}, but this version reads "
        f'{FORMAT}; pretrain the teacher again.')
  bad = digest != _digest(content) and manifest
  for name in _names(content):
    if not bad and hashes.get(name) != _found(folder, name):
      bad = folder / name
  if bad:
    raise UserError(
        f'The teacher bundle is damaged: {bad} is missing or does not have the hash that it '
        'was written with; copy it again or pretrain again.')
  fault = faults.manifest(content)
  if fault:
    raise UserError(f'The teacher bundle {folder} is not whole: {fault}; pretrain again.')
  return content


def load(folder, named='The key vid2act.teacher'):
  """Read a bundle; it is checked, and anything amiss told, as by `verify`."""
  folder, content = pathlib.Path(folder).expanduser(), verify(folder, named)
  names = _names(content)
  try:
    params, memory, clones = [
        load_file(folder / x) for x in (*FILES, CLONES) if x in names] + [{}] * (CLONES not in names)
  except Exception as e:  # Safetensors, and NumPy where it lacks a type, raise errors of their own.
    raise UserError(
        f'{folder} holds an unreadable safetensors file ({reason(e)}); pretrain again.') from e
  fault = faults.content({**params, **clones}, memory, content)
  if fault:
    raise UserError(f'The teacher bundle {folder} is not whole: {fault}; pretrain again.')
  return Bundle(params, memory, content, clones, str(folder))


def _names(manifest):
  return (*FILES, CLONES) if 'behaviours' in manifest else FILES


def exists(folder):
  return (pathlib.Path(folder).expanduser() / MANIFEST).is_file()


def _found(folder, name):
  """Return the hash of a file, None where there is no regular one."""
  try:
    return files.sha256(folder / name)
  except OSError:
    return None


def _digest(manifest):
  content = {k: v for k, v in manifest.items() if k != 'hash'}
  return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
