"""Whose actions recordings hold and how they see them: only what is alike can be learned from.

Two recordings are of one body, seen alike, of one pace and of one scale of actions, where what both
of them tell is equal, or nearly.
"""

import re

import numpy as np

from ..common import files
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
  names = [x.get('taken', {}).get('action') for x in manifest.get('columns', ()) if type(x) is dict]
  if names and names[0]:
    found['actions'] = names[0]
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


def fault(manifest, wanted, teacher):
  """Return a sentence about why a recording cannot be learned from, or None if it can.

  wanted: the manifest of what is to be labelled, or of the recording that decides. teacher: that of
  the recording whose scale of actions is learned.
  """
  name = f"The recording '{manifest['source']}'"
  if inferred(manifest):
    return (f'{name} has inferred actions itself, which teach '
            'nothing new; name the recordings that they were inferred from.')
  if odd := difference(body(manifest), body(wanted)):
    key, mine, theirs = odd
    return f'{name} is of another body, its {key} is {mine} and not {theirs}; name recordings of the same body.'
  mine, theirs = pace(manifest), pace(wanted)
  told = mine and theirs
  if told and abs(mine / theirs - 1) > ALIKE:
    return (f'{name} has {mine:.4g} steps/s and not {theirs:.4g}; import it with --repeat, or the others, so that '
            'they have as many.')
  views = [{k: v for k, v in view(x).items() if not (told and k == 'repeat')} for x in (manifest, wanted)]
  if odd := difference(*views):
    key, mine, theirs = odd
    return f'{name} has other images, its {key} is {mine} and not {theirs}; record or import it as the others are.'
  if far := _far(scale(manifest), scale(teacher)):
    return (f'{name} has actions of another scale, its {far[0]} is {far[1]} and not {far[2]}; learn from the '
            'others alone, or from this one.')
  return None


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
  """Return the places of the recordings that can be learned from, and a sentence about each other.

  wanted: as of `fault`; None: the first recording decides whose actions are true. Raises a
  `UserError` where none is left.
  """
  teacher = first(manifests)
  faults = [fault(x, wanted or teacher, teacher) for x in manifests]
  kept = [i for i, x in enumerate(faults) if not x]
  if not kept:
    raise UserError(
        'There are no labelled recordings of that body, seen in that way, to learn from; name some '
        'with --from, or random:TASK.', [x for x in faults if x])
  return kept, [x for x in faults if x]
