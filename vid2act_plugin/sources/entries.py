"""The entries of `vid2act.sources`: a task, a behaviour of the user's, a folder, data to import."""

import dataclasses
import difflib
import fnmatch
import functools
import hashlib
import os
import pathlib
import re
import sys

from ..common import files, resources
from ..common.errors import UserError, reason
from ..envs import suites
from . import recording
from .formats import CURE, FORMATS, KEYS, understood

FILM, RATES = 'film', {'rate': r'[0-9]+(\.[0-9]+)?', 'repeat': '[1-9][0-9]*'}
NAME = 80  # Characters of a name made of what is chosen.
FUNCTION = re.compile(r'[\w.]+:\w+')
LIST = re.compile(r'#(?:(action|bounds)=|(?!\w+=))[^#]*$')  # One may go on, and so may a task in plain language.
RANGE = re.compile(r'[-+.\de]+:[-+.\de]+(#|$)')  # Part of bounds, and no MODULE:FUNCTION.
PATTERN = re.compile(r'[a-z]+_[\w*?-]*[*?][\w*?-]*')


@dataclasses.dataclass(frozen=True)
class Entry:
  """One entry of `vid2act.sources`, understood.

  name: of the source in a teacher and of its recording's folder. task: what is
  recorded, such as metaworld_door-close. behaviour: `module:function`; '' is
  the suite's own expert. path: a recording or, if `foreign`, data to import,
  of the format `format` ('': to be found out), with `keys` ((ours, theirs), ...)
  and `tasks` as the command `import` has them. A format `FILM` is of films without
  actions, which are inferred.
  """

  name: str
  task: str = ''
  behaviour: str = ''
  path: pathlib.Path | None = None
  foreign: bool = False
  format: str = ''
  keys: tuple = ()
  tasks: tuple = ()

  @property
  def film(self):
    return self.format == FILM

  @property
  def suite(self):
    return self.task.split('_')[0]


def parse(text, task=''):
  """Return the `Entry` that `text` names; `task` is that of a behaviour that names none.

  text is SUITE_TASK, SUITE_TASK@MODULE:FUNCTION, MODULE:FUNCTION, a path with a
  slash in it, FORMAT:PATH, or film:PATH. Behind the path of data to import, #TASK and
  #OURS=THEIRS choose what `vid2act import` is told by --task and --key, and behind films
  #rate=R and #repeat=N what `vid2act label` is. Raises a `UserError` if it is none of these.
  """
  suite, named, _ = text.partition('_')
  if named and suite in suites.SUITES and suites.SUITES[suite].find:  # Slashes and colons are its own.
    return _recorded(text, task)
  format_, colon, rest = text.partition(':')
  if colon and format_ in (FILM, *FORMATS):
    return _path(rest, format_)
  if os.sep in text or text.startswith(('~', '.')):
    return _path(text)
  return _recorded(text, task)


def parse_all(texts, task=''):
  """Return the entries of all sources; two of one name are a `UserError`.

  A pattern such as metaworld_door-* is the tasks that match it and are not
  named besides, without `task`, that of the run. What the host has torn at a comma is one entry.
  """
  names, texts = [], _whole(texts)
  for text in texts:
    names += _matching(text, {*texts, *names, task}) if PATTERN.fullmatch(text) else [text]
  found = [parse(x, task) for x in names]
  for text, entry in zip(names, found):
    same = [x for x in found if x.name == entry.name]
    if len(same) > 1:
      raise UserError(
          f"The source '{entry.name}' is named twice, here by '{text}' of the key vid2act.sources; {_apart(same)}.")
  return found


def _whole(texts):
  """Return texts with the lists in them whole: the host splits a word that is alone on its command line."""
  found = []
  for text in texts:
    begun = found and LIST.search(found[-1])
    spoken = text.startswith(' ')  # As behind a comma in plain language.
    if begun and (RANGE.match(text) if begun[1] == 'bounds' else (begun[1] or spoken) and not _begins(text.strip())):
      found[-1] += f',{text}'
    else:
      found.append(text)
  return found


def _begins(text):
  """Say whether a text looks like an entry of its own, if a mistaken one."""
  place = text.split('#')[0]
  return bool(
      place.startswith(('.', '~', os.sep)) or os.sep in text and any(os.path.exists(files.resolved(x)) for x in (place, text))
      or place.partition(':')[0] in (FILM, *FORMATS) or place.partition('_')[0] in suites.SUITES
      or '@' in place or FUNCTION.fullmatch(place))


def behaviour(text):
  """Return the function `(env, obs, rng) -> action [A]` that `module:function` names."""
  module, name = text.split(':')
  try:
    function = getattr(resources.module(module), name)
  except (ImportError, AttributeError) as e:
    raise UserError(
        f"The behaviour '{text}' cannot be imported ({reason(e)}); run the command in "
        "the folder of its module, or install the module's package.") from e
  if not callable(function):
    raise UserError(f"The behaviour '{text}' is no function but {function!r}; name a function.")
  return function


def digest(text):
  """Return a hash of the modules of a behaviour: that which is named, and that which it is from.

  So a changed one is recorded anew.
  """
  function, named = behaviour(text), resources.module(text.split(':')[0])
  while isinstance(function, functools.partial):
    function = function.func
  modules = dict.fromkeys((sys.modules[function.__module__], named))
  return hashlib.sha256(b''.join(pathlib.Path(x.__file__).read_bytes() for x in modules)).hexdigest()[:12]


def _check(task):
  """Raise a `UserError` unless a suite of ours, which can be recorded, has the task."""
  if task.split('_')[0] in suites.SUITES:
    return suites.check(task, 'vid2act.sources')
  known = {x: f'{k}_{x}' for k, v in suites.present().items() for x in v.tasks()}
  bare = task.partition('_')[2] if task.startswith(('dmc_', 'dm_', 'mw_')) else task
  near = difflib.get_close_matches(bare, known, 2, 0.6) or difflib.get_close_matches(
      bare.replace('_', '-'), known, 2, 0.6)
  cure = f"did you mean {' or '.join(known[x] for x in near)}?" if near else (
      'an example is metaworld_door-close.')
  if os.path.exists(task):
    cure = f"for what lies here, write './{task}'."
  raise UserError(
      f"The key vid2act.sources names '{task}', but sources are tasks of "
      f"{' or '.join(suites.SUITES)}, which their names begin with, or paths; {cure}")


def _apart(same):
  """Return what gives entries of one name two: a recording has that of its manifest, other data that of its folder."""
  if len({(x.path, x.task, x.behaviour) for x in same}) == 1:
    return 'name it once'
  path, foreign = max(((x.path, x.foreign) for x in same if x.path), key=lambda x: not x[1])
  return f'rename {path}' if foreign else (
      f'leave one out, or write another name as "source" in {path / recording.MANIFEST}')


def _matching(pattern, without):
  name = pattern.split('_')[0]
  suite = suites.SUITES.get(name)
  tasks = [f'{name}_{x}' for x in suite.tasks()] if suite else []
  without = {x.removesuffix(suite.version) for x in without} if suite else without
  found = [x for x in fnmatch.filter(tasks, pattern) if x not in without]
  if not found:
    raise UserError(
        f"The source '{pattern}' matches no task of {' or '.join(suites.SUITES)} that is not named "
        "besides; 'metaworld_*' is all of Meta-World's but the run's own.")
  return found


def _path(text, format_=''):
  path, parts = files.resolved(text), []  # Which may be longer than a name can be.
  if not os.path.exists(path):  # A sign in the name of a folder is part of its name.
    place, *parts = text.split('#')
    path = files.resolved(place)
  if not os.path.exists(path):
    raise UserError(
        f"The key vid2act.sources names '{text}', but there is no {path}; name a recording, or "
        f"data of another project (one of {', '.join(FORMATS)}).")
  if not format_ and (path / recording.MANIFEST).is_file():
    if parts:
      raise UserError(
          f"The key vid2act.sources names '{text}', but {path} is a recording, of which nothing is "
          "to be chosen; leave '#' and what follows out.")
    return Entry(recording.load_manifest(path)['source'], path=path)
  keys, tasks = _rate(text, parts) if format_ == FILM else _chosen(text, parts)
  name = re.sub(r'[^\w.-]+', '-', '-'.join([path.name, *parts])).lstrip('-') or 'data'  # No command takes it for an option.
  if len(name) > NAME:  # Tasks may be sentences, and folders are named so.
    name = f'{name[:NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}'
  return Entry(name, path=path, foreign=True, format=format_, keys=keys, tasks=tasks)


def _rate(text, parts):
  """Return as `_chosen` what is said of films: rate=R and repeat=N, as `vid2act label` has them."""
  pairs = tuple(tuple(x.partition('=')[::2]) for x in parts)
  if len(dict(pairs)) < len(pairs) or not all(k in RATES and re.fullmatch(RATES[k], v) for k, v in pairs):
    raise UserError(
        f"The key vid2act.sources names '{text}'; behind a '#', films have rate=R, images per second, or "
        'repeat=N, a whole number, each once.')
  return pairs, ()


def _chosen(text, parts):
  """Return keys and tasks of the parts TASK, task=TASK and OURS=THEIRS of an entry."""
  pairs = [x.partition('=') for x in parts]
  tasks = tuple(value if name == 'task' and sign else ''.join(pair) for pair in pairs
                for name, sign, value in [pair] if not sign or name not in KEYS)
  keys = tuple((name, value) for name, sign, value in pairs if sign and name in KEYS)
  if '' in tasks or not understood(dict(keys)) or len(dict(keys)) < len(keys):
    raise UserError(f"The key vid2act.sources names '{text}'; behind a '#', give a task, or {CURE[5:]}, each once.")
  return keys, tasks


def _recorded(text, task):
  """Return the entry of a task, with a behaviour or without; `task` is the run's."""
  name, at, function = text.partition('@')
  suite = suites.SUITES.get(text.partition('_')[0])
  if not at and (':' not in text or suite and suite.find):
    _check(text)
    return Entry(suites.filename(text), task=text)
  task, function = (name, function) if at else (task, text)
  if not FUNCTION.fullmatch(function) or not task:
    raise UserError(
        f"The source '{text}' is not understood; name a task (metaworld_door-close), a task and a "
        'behaviour (metaworld_door-close@MODULE:FUNCTION), a folder (./DIR), or a format and a '
        f"folder ({FORMATS[0]}:DIR).")
  _check(task)
  name = suites.filename(f'{task}@') + function.replace(':', '.')
  return Entry(name, task=task, behaviour=function)
