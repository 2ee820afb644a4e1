"""What a LeRobot data set says of itself: version, columns, episodes, tasks and files."""

import collections
import fnmatch
import math
import pathlib
import re

from ...common import files
from ...common.errors import UserError, printable, reading
from . import tables

CURE = 'download or write the data set again'
# What a template of a path may ask for: a width of many digits would fill the memory.
FIELDS = re.compile(r'([^{}]|\{(episode_chunk|episode_index|chunk_index|file_index|video_key)'
                    r'(:0?[0-9]{1,2}d?)?\})*')
SHOWN, WIDE = 20, 60  # Tasks in a sentence, and characters of one.


def metadata(path):
  """Return `(info, entries)` of a data set.

  info: fps, data_path, video_path, chunks_size, version and features, `{column: type}`. entries:
  function of a camera's name that returns the episodes as dicts: episode_index, length, tasks,
  start and end in their video, and places, what the templates of data and video are filled
  with; or episode_index and fault, a `UserError`.
  """
  file = path / 'meta' / 'info.json'
  with read_file(file):
    info = files.loads(files.read(file))
    version = str(info['codebase_version'])
    info = dict(
        fps=float(info['fps']), data_path=info['data_path'], video_path=info.get('video_path'),
        chunks_size=int(info.get('chunks_size', 1000)), version=version, features={
            k: 'depth' if _depth(v) else v['dtype'] for k, v in info['features'].items()})
    if not 0 < info['fps'] < math.inf or not info['chunks_size'] > 0:
      raise ValueError('fps and chunks_size have to be positive')
  if version not in ('v2.0', 'v2.1', 'v3.0'):
    raise UserError(
        f'The file {file} is of the version {version}, and 2.0, 2.1 and 3.0 are read; convert the '
        "data set with LeRobot's own scripts.")
  read = _episodes3 if version == 'v3.0' else _episodes2
  return info, lambda image: _once(read(path, info, image), path)


def _once(entries, path):
  """Return the entries, of an episode that is listed several times one with a fault."""
  counts = collections.Counter(x['episode_index'] for x in entries)
  first = {x['episode_index']: x for x in reversed(entries)}
  return [
      x if counts[k] == 1 or 'fault' in x else dict(episode_index=k, fault=UserError(
          f'The folder {path / "meta"} lists episode {k} {counts[k]} times; {CURE}.'))
      for k, x in reversed(first.items())]


def chosen(path, entries, task):
  """Return the set of the tasks that are asked for, or None where there is no choice.

  task: names, numbers or patterns of names. Raises a `UserError` if none is given and there are
  several tasks, or if one matches none.
  """
  numbers = _numbered(path, entries)
  listed = [f"{i} '{printable(k)[:WIDE]}'" for k, i in sorted(numbers.items(), key=lambda x: x[1])]
  known = ', '.join(listed[:SHOWN]) + f' and {len(listed) - SHOWN} more' * (len(listed) > SHOWN)
  if '*' in (task or ()) or not task and len(numbers) < 2:
    return None
  if not task:
    raise UserError(
        f'The data set {path} has {len(numbers)} tasks, each of which is a source of its own: '
        f"{known}; choose one with --task NUMBER (in vid2act.sources: PATH#NUMBER), or all "
        "as one source with --task '*'.")
  found = set()
  for name in task:
    mine = {k for k, i in numbers.items() if name in (k, str(i))} or {
        k for k in numbers if fnmatch.fnmatchcase(k, name)}
    if not mine:
      raise UserError(
          f"The data set {path} has no task '{name}', only {known or 'none with a name'}; name one "
          'of these by its number with --task NUMBER (in vid2act.sources: PATH#NUMBER).')
    found |= mine
  return found


def parquets(folder):
  """Return the Parquet files in the folders of `folder`, in order, without hidden ones.

  Systems and archives put such files beside others: ._file-000.parquet.
  """
  return [x for x in sorted(folder.glob('*/*.parquet'))
          if not x.name.startswith('.') and not x.parent.name.startswith('.')]


def places(path, info, image, data, video):
  """Return `{data: path, video: path}` of an episode, as its metadata has them."""
  found = {}
  for key, names in (('data', data), ('video', video)):
    if key == 'video' and info['features'][image] != 'video':
      continue
    template = info[f'{key}_path']
    with read_file(path / 'meta' / 'info.json'):
      if not FIELDS.fullmatch(template):
        raise ValueError(f"{key}_path is '{template:.80}'")
      name = pathlib.PurePath(template.format(**names))
      if name.is_absolute() or '..' in name.parts:
        raise ValueError(f"{key}_path is '{template}' and leaves the folder")
    found[key] = path / name
  return found


def read_file(path):
  """Return a context in which errors name the file `path`."""
  return reading(f'The file {path}', CURE)


def _depth(feature):
  notes = {**(feature.get('info') or {}), **(feature.get('video_info') or {})}
  return notes.get('is_depth_map') or notes.get('video.is_depth_map')


def _episodes2(path, info, image):
  file, found = path / 'meta' / 'episodes.jsonl', []
  with read_file(file):
    lines = [(i, x) for i, x in enumerate(files.lines(file), 1) if x.strip()]
  for number, line in lines:
    try:
      with read_file(f'{file}, line {number},'):
        entry = files.loads(line)
        index, length = (int(entry[k]) for k in ('episode_index', 'length'))
        tasks = _texts(entry.get('tasks'))
    except UserError as e:
      found.append(dict(episode_index=f'of line {number}', fault=e))
      continue
    names = dict(
        episode_index=index, episode_chunk=index // info['chunks_size'], video_key=image)
    found.append(dict(
        episode_index=index, length=length, tasks=tasks, start=0.0, end=None,
        places=(names, names)))
  return found


def _episodes3(path, info, image):
  folder, found = path / 'meta' / 'episodes', []
  video = info['features'][image] == 'video'
  keys = ('data', f'videos/{image}') if video else ('data',)
  columns = ['episode_index', 'length', *[f'{x}/{y}_index' for x in keys for y in ('chunk', 'file')]]
  columns += [f'videos/{image}/from_timestamp'] * video
  for file in parquets(folder):
    try:
      with read_file(file):
        have = set(tables.schema(file, 'parquet').names)
        more = [x for x in ('tasks', f'videos/{image}/to_timestamp') if x in have]
        found += [dict(
            {k: x[k] for k in ('episode_index', 'length')}, tasks=_texts(x.get('tasks')),
            start=x[f'videos/{image}/from_timestamp'] if video else 0.0,
            end=x.get(f'videos/{image}/to_timestamp'), places=[
                dict(chunk_index=x[f'{k}/chunk_index'], file_index=x[f'{k}/file_index'],
                     video_key=image) for k in (keys[0], keys[-1])])
            for x in tables.parquet(file, [*columns, *more]).to_pylist()]
    except UserError as e:
      found.append(dict(episode_index=f'of {file.name}', fault=e))
  if not found:
    raise UserError(f'There is no parquet file with episodes in {folder}; {CURE}.')
  return found


def _texts(tasks):
  return [x for x in ([tasks] if isinstance(tasks, str) else tasks or ()) if isinstance(x, str)]


def _numbered(path, entries):
  """Return `{task: number}` of the tasks of all episodes, with the numbers that LeRobot has.

  Those without one get the next, in the order of the episodes.
  """
  numbers = {}
  try:
    numbers = dict(_tasks(path / 'meta'))
  except Exception:  # Optional: the episodes have the names, and the next numbers will do.
    pass
  found = {}
  for task in dict.fromkeys(x for entry in entries for x in entry.get('tasks', ())):
    free = max((*numbers.values(), *found.values(), -1)) + 1
    found[task] = numbers.get(task, free)
  return found


def _tasks(meta):
  if (meta / 'tasks.jsonl').is_file():
    for row in map(files.loads, files.lines(meta / 'tasks.jsonl')):
      yield row['task'], int(row['task_index'])
  elif (meta / 'tasks.parquet').is_file():
    for row in tables.parquet(meta / 'tasks.parquet').to_pylist():
      yield next(v for v in row.values() if isinstance(v, str)), int(row['task_index'])
