"""The runs of an ablation: variants x tasks x seeds, read from one YAML file."""

import dataclasses
import json
import os
import pathlib
import re
import reprlib
import sys
import tempfile

from ..common import safe_yaml
from ..common.errors import UserError, reason
from ..envs import suites
from ..training import scores
from . import comparable, overlays

NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]*')
TASK = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.:/-]*')  # Those of Gymnasium have colons and slashes.
MOST = 10_000  # Runs.
OF_A_RUN = 'task', 'seed', 'method', 'logdir'
KEYS = {
    'configs': 'a list of overlays that every run has',
    'variants': 'a mapping from a name to a list of overlays',
    'tasks': 'a list of tasks such as metaworld_door-lock',
    'seeds': 'a list of whole numbers',
    'against': 'the variant that the others are compared with',
    'metric': f"what table, picture and report show first, one of {', '.join(scores.METRICS)}"}


@dataclasses.dataclass(frozen=True)
class Run:
  """One run of the matrix; its logdir is METHOD/TASK/SEED."""

  method: str
  task: str
  seed: int

  @property
  def name(self):
    return f'{self.method}/{suites.filename(self.task)}/{self.seed}'


class Matrix:
  """What an ablation file asks for.

  An overlay is a name, the path of a YAML file, or settings written in place, a
  mapping; `write` makes files of the latter, and copies of the former, which may be
  edited while runs wait for their turn. Every run has those of `configs` first, then those of its variant. Seeds are paired: a seed means the same for
  every variant. `metric` is None where the file names none. Raises a `UserError` that names file,
  key, value and cure.
  """

  def __init__(self, path):
    self.path = pathlib.Path(os.path.expanduser(path))
    self.text, content = self._read()
    self.configs = self._overlays('configs', content['configs'])
    self.variants = {
        k: self._overlays(f'variants.{k}', v) for k, v in content['variants'].items()}
    self.tasks, self.seeds, self.against = content['tasks'], content['seeds'], content['against']
    self.metric = content.get('metric')

  @property
  def files(self):
    """Paths of the overlays that are files of the user's."""
    found = [x for overlaid in (self.configs, *self.variants.values()) for x in overlaid]
    return [x for x in found if overlays.kept(x) and not overlays.in_place(x)]

  @property
  def runs(self):
    """Every run, so ordered that the first ones already compare all variants."""
    return [Run(m, t, s) for s in self.seeds for t in self.tasks for m in self.variants]

  def write(self, folder, owner=''):
    """Write the overlays that are no names into `folder`, see `overlays.write`."""
    overlays.write(self, folder, owner)

  def names(self, method, folder, kept=overlays.kept):
    """Return the overlays of a method's runs; all but names are files in `folder`, or those that are `kept` there."""
    both = (overlays.COMMON, self.configs), (method, self.variants[method])
    return [x for name, found in both for x in overlays.paths(name, found, folder, kept)]

  def command(self, run, folder, logdir, *more):
    """Return the ordinary command of a run, whose last overlays are `more`."""
    return [
        sys.executable, '-m', 'dreamerv3', '--configs', *self.names(run.method, folder), *more, '--task', run.task,
        '--seed', str(run.seed), '--method', run.method, '--logdir', str(logdir)]

  def configurations(self, folder, methods=None, kept=overlays.kept):
    """Return `{(method, task): config}`, the host's, as the commands of all seeds resolve it.

    methods: only these; kept: see `names`.
    """
    import elements
    known, found = _known(), {}
    for method in self.variants if methods is None else methods:
      config = elements.Config(known['defaults'])
      for name in self.names(method, folder, kept):
        config = config.update(known[name])
      for task in self.tasks:
        found[method, task] = config.update(task=task, method=method)
    return found

  def settings(self, configs):
    """Return `{method: {setting: value}}` of `configurations`, without what differs from run to run."""
    found = {}
    for (method, _), config in configs.items():
      found.setdefault(method, {k: v for k, v in config.flat.items() if k not in OF_A_RUN})
    return _plain(found)

  def changed(self, before, now, methods, apart=()):
    """Return the key of the file by which runs of `methods` were made with other settings, and which; None if none.

    before: `(matrix, settings)` that these runs were made with; settings: those of `settings`, or None
    where they were not kept, so that they are worked out anew. now: the present ones. Runs that do not
    know a setting did what its default is now, and one that is gone is no difference. apart: the methods
    whose teachers are compared otherwise.
    """
    matrix, known = before
    try:
      known = known or matrix.settings(matrix.resolved(methods))
    except (ValueError, KeyError) as e:  # An overlay is gone, or what it sets.
      return f'configs or variants, which cannot be read any more ({reason(e)}),'
    for method in sorted(methods):
      compared = {k: v for k, v in now[method].items() if not (k == 'vid2act.teacher' and method in apart)}
      if found := difference(known[method], compared):
        place = 'configs' if matrix.variants[method] == self.variants[method] else f'variants.{method}'
        return f'{place} ({found})'
    return None

  def of_ours(self, method):
    """Return the settings that a variant gives and our agent alone knows, also where it gives what the default is.

    An overlay by name, or a file, that has other settings as well, such as sizes, is of use without that agent.
    """
    known, found = _known(), []
    for overlay in self.variants[method]:
      keys = [x for x in _keys(overlay if overlays.in_place(overlay) else known[overlay]) if x != 'method']
      ours = [x for x in keys if x.startswith(('agent.vid2act.', 'vid2act.'))]
      found += ours * (overlays.in_place(overlay) or ours == keys)
    return found

  def resolved(self, methods=None):
    """Return `configurations`, without leaving files; what is wrong with one of the user's is told by its own name."""
    with tempfile.TemporaryDirectory() as folder:
      overlays.write(self, pathlib.Path(folder), kept=overlays.in_place)
      return self.configurations(pathlib.Path(folder), methods, overlays.in_place)

  def _read(self):
    try:
      text = safe_yaml.text(self.path)
      content = safe_yaml.loads(text)
    except OSError as e:
      raise UserError(
          f'The ablation {self.path} cannot be read ({e.strerror}); name a YAML file such as '
          'configs/ablations/cpu.yaml.') from e
    except ValueError as e:
      raise UserError(
          f'The ablation {self.path} is not valid YAML ({reason(e)}); mend it, or begin with a copy '
          'of configs/ablations/cpu.yaml.') from e
    if not isinstance(content, dict):
      raise UserError(f"The ablation {self.path} is no mapping; give it {', '.join(KEYS)}.")
    for key in content.keys() - KEYS.keys():
      raise UserError(
          f"The ablation {self.path} has the unknown key '{key}'; there are {', '.join(KEYS)}.")
    variants = content.get('variants')
    good = {
        'configs': isinstance(content.setdefault('configs', []), list),
        'variants': isinstance(variants, dict) and bool(variants) and all(map(_name, variants)),
        'tasks': _unique(content.get('tasks'), lambda x: _name(x, TASK)),
        'seeds': _unique(content.get('seeds'), lambda x: type(x) is int and 0 <= x < 2 ** 32),
        'against': isinstance(variants, dict) and content.get('against') in [*variants],
        'metric': content.get('metric') in [None, *scores.METRICS]}
    for key, right in good.items():
      if not right:
        raise UserError(
            f"The key {key} of the ablation {self.path} is "
            f'{reprlib.repr(content.get(key))}; give it {KEYS[key]}, each once.')
    count = len(variants) * len(content['tasks']) * len(content['seeds'])
    if count > MOST:
      raise UserError(
          f'The ablation {self.path} asks for {count:,} runs; give it at most {MOST:,}.')
    if found := comparable.beyond(len(variants), len(content['tasks']), len(content['seeds'])):
      what, count, most = found
      raise UserError(
          f'The ablation {self.path} asks for {count:,} {what}; give it at most {most:,}, as one comparison shows no more.')
    return text, content

  def _overlays(self, key, overlays):
    overlays = overlays or []
    if not isinstance(overlays, list) or not all(isinstance(x, (str, dict)) for x in overlays):
      raise UserError(
          f'The key {key} of the ablation {self.path} is {reprlib.repr(overlays)}; give it a list '
          'of overlays, names or mappings of settings.')
    return overlays


def difference(there, now):
  """Return in words the first of the settings `now` in which a run had another value; None if there is none.

  there: what the run knew, `{setting: value}`; of others it did what their default is now. Both as JSON has them.
  """
  import elements
  if now.keys() - there.keys():
    there = {**_plain(elements.Config(_known()['defaults']).flat), **there}
  return next((f'{k} {reprlib.repr(there[k])} there, {reprlib.repr(v)} now'
               for k, v in now.items() if there.get(k, v) != v), None)


def _known():
  """Return the host's configs and ours by name."""
  import dreamerv3
  from dreamerv3 import plugins
  return plugins.configs(pathlib.Path(dreamerv3.__path__[0]) / 'configs.yaml')


def _keys(settings, start=''):
  """Yield the keys of an overlay as they are in a command, patterns as they are."""
  for key, value in settings.items():
    yield from _keys(value, f'{start}{key}.') if isinstance(value, dict) else [start + key]


def _plain(settings):
  return json.loads(json.dumps(settings))  # With lists for tuples, as they are once they are written.


def _name(text, pattern=NAME):
  return isinstance(text, str) and bool(pattern.fullmatch(text))


def _unique(values, good):
  return isinstance(values, list) and bool(values) and all(map(good, values)) and (
      len({*values}) == len(values))
