"""Whose actions recordings hold and how they see them: only what is alike can be learned from.

Two recordings are of one body, seen alike, of one pace and of one scale of actions, where what both
of them tell is equal, or nearly.
"""

import re

import numpy as np

from ..common import files, progress
from ..common.errors import UserError
from . import recording

INFERRED = 'inferred'  # What a manifest says of its `labels`.
VIEW = 'size', 'camera', 'image', 'orientation', 'repeat'  # Settings of an environment.
WORD = re.compile('[A-Z]?[^A-Z_-]*')  # The first of a name.
SCALE = 'action_low', 'action_high'
ALIKE = 0.1  # By which share of the range of actions, and of the pace, two recordings of one kind may differ.


def inferred(manifest):
  """Say whether the actions of a recording were inferred."""
  return manifest.get('labels') == INFERRED


def body(manifest):
  """Return what tells the meaning of the actions of a recording."""
  found = {'act_size': manifest['act_size'], 'suite': manifest['suite']}
  if manifest['suite'] == 'dmcontrol':  # Walker and cheetah have as many actions, and others.
    found['body'] = manifest['task'].partition('_')[0]
  if manifest['suite'] == 'gymnasium':  # So have HalfCheetah and Walker2d; FetchPush and FetchReach are one.
    found['body'] = WORD.search(re.split('[/:]', manifest['task'])[-1])[0]
  columns = manifest.get('columns')
  for x in columns if type(columns) is list else ():
    taken = x.get('taken') if type(x) is dict else None
    if type(taken) is dict and taken.get('action'):
      found.setdefault('actions', taken['action'])
  return found


def view(manifest):
  """Return how the images of a recording were made."""
  return {k: manifest['env'][k] for k in VIEW if k in manifest['env']}


def scale(manifest):
  """Return the range of actions that became -1 to 1, where it is told: low and high, each `[A]`."""
  return {k: manifest[k] for k in SCALE if manifest.get(k) is not None}


def pace(manifest):
  """Return how many steps a second has in a recording; 0 where that is not told."""
  fps, repeat = manifest.get('fps'), manifest['env'].get('repeat', 1)
  told = all(type(x) in (int, float) and 0 < x < np.inf for x in (fps, repeat))
  return fps / repeat if told else 0.0


def difference(one, other):
  """Return the first key in which what both tell differs, with both values; None if there is none."""
  return next(((k, v, other[k]) for k, v in one.items() if k in other and other[k] != v), None)


def fault(manifest, known):
  """Return a sentence about why a recording cannot be learned from, or None if it can; known: see `facts`."""
  name = f"The recording '{manifest['source']}'"
  if inferred(manifest):
    return (f'{name} has inferred actions itself, which teach '
            'nothing new; name the recordings that they were inferred from.')
  if odd := difference(body(manifest), known['body']):
    key, mine, theirs = odd
    return f'{name} is of another body, its {key} is {mine} and not {theirs}; name recordings of the same body.'
  mine, theirs = pace(manifest), known['pace']
  told = mine and theirs
  if told and abs(mine / theirs - 1) > ALIKE:
    return (f'{name} has {mine:.4g} steps/s and not {theirs:.4g}; import it with --repeat, or the others, so that '
            'they have as many.')
  views = [{k: v for k, v in x.items() if not (told and k == 'repeat')} for x in (view(manifest), known['view'])]
  if odd := difference(*views):
    key, mine, theirs = odd
    return f'{name} has other images, its {key} is {mine} and not {theirs}; record or import it as the others are.'
  if far := _far(scale(manifest), known['scale']):
    return (f'{name} has actions of another scale, its {far[0]} is {far[1]} and not {far[2]}; learn from the '
            'others alone, or from this one.')
  return None


def facts(manifest):
  """Return what a recording tells of whose actions it holds, how they were seen, their pace and their scale."""
  return dict(body=body(manifest), view=view(manifest), pace=pace(manifest), scale=scale(manifest))


def _far(one, other):
  """Return the first bound of actions in which two ranges differ much, with both values; or None."""
  if one.keys() != other.keys() or not one:
    return None
  try:
    span = np.subtract(*(np.asarray(other[k], float) for k in reversed(SCALE)))
    return next(((k, one[k], other[k]) for k in SCALE if (
        np.abs(np.subtract(one[k], other[k])) > ALIKE * np.maximum(span, 1e-6)).any()), None)
  except (TypeError, ValueError):  # What a manifest says may be anything.
    return None


def recordings(text):
  """Return the recording that a text of --from names, or those in the folder."""
  path = files.resolved(text)
  if (path / recording.MANIFEST).is_file():
    return [path]
  found = sorted(x.parent for x in path.glob(f'*/{recording.MANIFEST}'))
  if not found:
    raise UserError(
        f'There is no recording in {path}, which --from names; name recordings with actions, or random:TASK.')
  return found


def first(manifests):
  """Return the first manifest whose actions are true, or of all, or None if there is none."""
  return next((x for x in manifests if not inferred(x)), next(iter(manifests), None))


def fitting(manifests, wanted=None):
  """Return the places of the recordings that can be learned from, their `facts`, and a sentence about each other.

  wanted: the manifest of what is to be labelled; None: the first recording decides whose actions are
  true. What that does not tell, the next one does. Raises a `UserError` where none is left.
  """
  teacher, kept, faults = first(manifests), [], []
  known = {**facts(wanted or teacher), 'scale': scale(teacher)} if manifests else {}
  for i, x in enumerate(manifests):
    if sentence := fault(x, known):
      faults.append(sentence)
    else:
      kept.append(i)
      mine = facts(x)
      known = {k: {**mine[k], **v} if k in ('body', 'view') else v or mine[k] for k, v in known.items()}
  if not kept:
    raise UserError(
        'There are no labelled recordings of that body, seen in that way, to learn from; name some '
        'with --from, or random:TASK.', faults)
  return kept, known, faults


def readable(folders):
  """Return `{folder: manifest}` of the recordings that can be read to their end, and a sentence about each other."""
  found, faults = {}, []
  with progress.bar('checking recordings', len(folders), 'recordings') as bar:
    for folder in folders:
      try:
        manifest, episodes = recording.load_manifest(folder), []
        for entry in manifest['episodes']:
          episodes = [*episodes[:1], recording.read_episode(folder, entry)]
          recording.same_spaces(episodes[0], episodes[-1], manifest, folder / entry['file'])
        same = [k for k, x in found.items() if hashes(x) == hashes(manifest) and facts(x) == facts(manifest)]
        if same or not episodes:
          raise UserError(f'The recording {folder} ' + (f'is that in {same[0]}.' if same else 'has no episode.'))
        found[folder] = manifest
      except UserError as e:
        faults.append(str(e))
      bar.advance()
  return found, faults


def hashes(manifest):
  """Return the hashes of the episodes of a recording."""
  return [x['sha256'] for x in manifest['episodes']]
