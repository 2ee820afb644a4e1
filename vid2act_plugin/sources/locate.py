"""Where the recording of each source lies: given, in the cache, or imported into it."""

import dataclasses
import functools
import hashlib
import json
import math
import pathlib

from ..common.errors import UserError
from ..common.output import note
from ..envs import suites
from . import bodies, dataset, entries, importing, recording, shots
from .formats import places

CACHE = 1  # Raise it when recordings or teachers made before are no longer valid.
LABELS = 2  # Raise it when labels that were inferred before are.
EVEN = ('metaworld',)  # Suites whose episodes end at their limit alone.
APART = ('use_seed', 'proprio')  # Settings of an environment that change no recording.


@dataclasses.dataclass(frozen=True)
class Located:
  """A source of a run and the folder of its recording, which need not be there yet.

  episodes: how many the recording has to have; 0: as many as it has. teachers: of films without
  actions, what these are inferred from, as `vid2act label --from` has it, and model: where what is
  learned from them is kept, for all films.
  """

  entry: entries.Entry
  folder: pathlib.Path
  episodes: int = 0
  teachers: tuple = ()
  model: pathlib.Path | None = None

  @property
  def name(self):
    return self.entry.name

  @property
  def complete(self):
    """Say whether nothing is left to be collected or imported."""
    if self.entry.foreign:
      return importing.complete(self.folder)
    if not self.episodes:
      return (self.folder / recording.MANIFEST).exists()
    return recording.count(self.folder) >= self.episodes


def locate(config):
  """Return the `Located` sources that a run's whole configuration asks for, in their order."""
  suite = config.task.split('_')[0]
  names = list(config.vid2act.sources)
  if names == ['auto']:
    if suite not in suites.SUITES:
      raise UserError(
          f"The key vid2act.sources is [auto], but the suite '{suite}' has no published sources; "
          'name them, such as [metaworld_door-close].')
    names = suites.SUITES[suite].sources(config.task.partition('_')[2])
    if not names:
      raise UserError(
          f"The key vid2act.sources is [auto], but the task '{config.task}' has no usual sources; name "
          f'them, such as [{config.task}@MODULE:FUNCTION] or [./DATA].')
  found = entries.parse_all(names, config.task)[:config.vid2act.max_sources or None]
  known = {x.name: _located(config, x) for x in found if not x.film}
  return [known.get(x.name) or _film(config, x, [*known.values()]) for x in found]


def check(config, found):
  """Raise a `UserError` where the located sources do not fit each other or the run's images.

  It needs no recording; of data to import, the metadata are read. A note says where the run's own task is among them.
  """
  for source in found:
    (actions, image), entry = shape(config, source), source.entry
    missing = not (source.folder / recording.MANIFEST).exists()
    if missing and entry.film:
      shots.check(entry.path, float(dict(entry.keys).get('rate', 0)), '#rate', '=')
    elif missing and entry.foreign:
      importing.check(entry.path, entry.format, dict(entry.keys), entry.tasks)
    if actions > config.vid2act.act_width:
      raise UserError(
          f"The key vid2act.act_width is {config.vid2act.act_width}, but the source '{source.name}' "
          f'has {actions} actions; set it to {actions} or more.')
    if list(image) != size(config):
      raise UserError(
          f"The source '{source.name}' has images of {list(image)}, but the run of {size(config)}; "
          f'import or collect it at that size, or set env.SUITE.size.')
    # One that the run itself completes is none of these.
    if source.complete and not entry.foreign and recording.load_manifest(source.folder).get('complete') is False:
      note(f"Note: what made the recording {source.folder} was interrupted, so that it may lack episodes; that command, "
           'repeated, continues.')
    if suites.plain(task(source)) == suites.plain(config.task):
      note(f"Note: the run's own task is among its sources, as '{source.name}'.")


def task(source):
  """Return the task of a suite of ours that a source was recorded in, '' if there is none or nothing tells yet."""
  if source.entry.task or not (source.folder / recording.MANIFEST).exists():
    return source.entry.task
  manifest = recording.load_manifest(source.folder)
  return f"{manifest['suite']}_{manifest['task']}" if manifest['suite'] in suites.SUITES else ''


def shape(config, source):
  """Return how many actions a located source has, and height and width of its images.

  The first is 0 where only what is still to be imported will tell.
  """
  entry, image = source.entry, size(config)
  if (source.folder / recording.MANIFEST).exists():
    manifest = recording.load_manifest(source.folder)
    return manifest['act_size'], manifest['env'].get('size', image)
  native = entry.task and not entry.foreign
  return suites.actions(entry.task, settings(config, entry)['env']) if native else 0, image


def episodes(config, source, told=''):
  """Return the steps of each episode that a located source has or will have; empty where only what makes it will tell.

  told: only those of which the manifest says so.
  """
  if source.complete:
    return [x['steps'] for x in recording.load_manifest(source.folder)['episodes'] if not told or x.get(told)]
  if told or source.entry.foreign or source.entry.suite not in EVEN:
    return []
  env = settings(config, source.entry)['env']
  return source.episodes * [1 + math.ceil(env['limit'] / max(1, env['repeat']))]  # The environment says what it cannot have.


def check_windows(config, found, length, key, holdout=0):
  """Raise a `UserError` where a located source is known to have fewer than `length` steps, the value of `key`, in a part."""
  for source in found:
    known = episodes(config, source)
    train = len(known) - dataset.held_out(len(known), holdout)
    for split, part in zip(dataset.SPLITS, (known[:train], known[train:] or known)):
      if known and sum(part) < length:
        raise UserError(
            f"The key {key} is {length}, but the source '{source.name}' has {sum(part)} steps in its part {split}; "
            'lower it, or collect more or longer episodes.')


def task_act_size(config):
  """Return how many actions the run's task has; 0 in suites of the host's own."""
  return suites.actions(config.task, _env(config, config.task.split('_')[0]))


def settings(config, entry):
  """Return the settings that decide what is recorded, apart from the source itself."""
  collect = {k: v for k, v in config.vid2act.collect.items() if k != 'workers'}
  env = _env(config, entry.suite)
  # Whatever the suite, a teacher has images of one size: that of the run.
  env.update(size=size(config), limit=collect['limit'])
  found = dict(format=CACHE, collect=collect, env=env)
  if entry.behaviour:
    found['behaviour'] = entries.digest(entry.behaviour)
  if digest := suites.SUITES[entry.suite].digest(entry.task.partition('_')[2]):
    found['task'] = [entry.task, digest]
  return found


def _env(config, suite):
  return {k: v for k, v in config.env.get(suite, {}).items() if k not in APART}


def size(config):
  """Return height and width of the run's images."""
  suite = config.task.split('_')[0]
  if 'size' not in config.env.get(suite, {}):
    raise UserError(
        f'The task is {config.task}, but there is no key env.{suite}.size, by which recordings get '
        f"the size of its images; name a task of {' or '.join(suites.SUITES)}.")
  return list(config.env[suite]['size'])


def cache(config):
  """Return the cache's folder, an ordinary setting: the same everywhere, and named in messages."""
  return pathlib.Path(config.vid2act.cache).expanduser()


def key(content):
  """Return the name in the cache of what is made from `content`, a value of JSON."""
  text = json.dumps(content, sort_keys=True, default=list)
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def _located(config, entry):
  if entry.path and not entry.foreign:
    return Located(entry, entry.path)
  if entry.task and config.vid2act.recordings:
    root = pathlib.Path(config.vid2act.recordings).expanduser()
    return Located(entry, root / entry.name)
  if entry.task:
    root = cache(config) / 'recordings' / key(settings(config, entry))
    return Located(entry, root / entry.name, config.vid2act.collect.episodes)
  content = dict(format=CACHE, size=size(config), files=_files(entry.path))
  if entry.keys or entry.tasks:
    content['choice'] = [entry.keys, entry.tasks]
  if entry.format:
    content['as'] = entry.format
  return Located(entry, cache(config) / 'imports' / key(content) / entry.name)


def _film(config, entry, others):
  """Locate films without actions: labelled from the other sources, or from random play of the task.

  The first of these decides whose actions films show: of the task's body and, if there are none, of its suite.
  """
  own = _body(config.task)
  others = sorted(others, key=lambda x: ((found := _played(x)) != own, found['suite'] != own['suite']))
  teachers = tuple(str(x.folder) for x in others) or (f'random:{config.task}',)
  learned = dict(
      format=[CACHE, LABELS], size=size(config), seed=config.vid2act.collect.seed, label=dict(config.vid2act.label),
      teachers=teachers, contents=[_content(x) for x in others])
  if not others:
    learned['random'] = settings(config, entries.parse(config.task))
  content, root = {**learned, 'files': _files(entry.path), 'choice': entry.keys}, cache(config) / 'imports'
  return Located(
      entry, root / key(content) / entry.name, teachers=teachers, model=root / key(learned) / 'inverse')


def _body(task):
  """Return whose actions a task of a suite takes, as far as its name tells."""
  suite, _, name = suites.plain(task).partition('_')
  return bodies.body(dict(suite=suite, task=name, act_size=None))


def _played(source):
  """Return `_body` of what a source does."""
  if source.entry.task or not (source.folder / recording.MANIFEST).exists():
    return _body(source.entry.task)
  manifest = recording.load_manifest(source.folder)
  return _body(f"{manifest['suite']}_{manifest['task']}")


def _content(source):
  """Return what tells the content of a recording that the cache has not named by it; else ''."""
  there = not source.entry.foreign and not source.episodes and source.complete
  return recording.content_key([recording.load_manifest(source.folder)]) if there else ''


@functools.cache
def _files(path):
  """Return what decides what there is to import: names, sizes and times of the data's files."""
  files = sorted(places.files(path)) or [path]
  files += filter(None, [places.beside(path)])  # Of a film, or of a folder that is one episode.
  return [(str(x), x.stat().st_size, x.stat().st_mtime_ns) for x in files]
