"""Whose actions recordings hold and how they see them: only what is alike can be learned from.

`body` and `view` of a manifest are dicts; two recordings are of one body, or seen alike, where
what both of them tell is equal.
"""

from ..common.errors import UserError

INFERRED = 'inferred'  # What a manifest says of its `labels`.
VIEW = 'size', 'camera', 'orientation', 'repeat'  # Settings of an environment.


def inferred(manifest):
  """Say whether the actions of a recording were inferred."""
  return manifest.get('labels') == INFERRED


def body(manifest):
  """Return what tells the meaning of the actions of a recording."""
  found = {'act_size': manifest['act_size'], 'suite': manifest['suite']}
  if manifest['suite'] == 'dmcontrol':  # Walker and cheetah have as many actions, and others.
    found['body'] = manifest['task'].partition('_')[0]
  names = [x.get('taken', {}).get('action') for x in manifest.get('columns', ()) if type(x) is dict]
  if names and names[0]:
    found['actions'] = names[0]
  return found


def view(manifest):
  """Return how the images of a recording were made."""
  return {k: manifest['env'][k] for k in VIEW if k in manifest['env']}


def difference(one, other):
  """Return the first key in which what both tell differs, with both values; None if there is none."""
  return next(((k, v, other[k]) for k, v in one.items() if k in other and other[k] != v), None)


def fault(manifest, wanted):
  """Return a sentence about why a recording cannot be learned from, or None if it can.

  wanted: `(body, view)` of what is to be labelled, or of the recording that decides.
  """
  if inferred(manifest):
    return (f"The recording '{manifest['source']}' has inferred actions itself, which teach "
            'nothing new; name the recordings that they were inferred from.')
  for what, found, asked, cure in (
      ('body', body(manifest), wanted[0], 'name recordings of the same body'),
      ('images', view(manifest), wanted[1], 'record or import it as the others are')):
    if odd := difference(found, asked):
      key, mine, theirs = odd
      return (f"The recording '{manifest['source']}' is of another {what}, its {key} is {mine} and "
              f'not {theirs}; {cure}.' if what == 'body' else
              f"The recording '{manifest['source']}' has other {what}, its {key} is {mine} and not "
              f'{theirs}; {cure}.')
  return None


def fitting(manifests, wanted=None):
  """Return the places of the recordings that can be learned from, and a sentence about each other.

  wanted: as of `fault`; None: the first recording decides. Raises a `UserError` where none is left.
  """
  wanted = wanted or (body(manifests[0]), view(manifests[0]))
  faults = [fault(x, wanted) for x in manifests]
  kept = [i for i, x in enumerate(faults) if not x]
  if not kept:
    raise UserError(
        'There are no labelled recordings of that body, seen in that way, to learn from; name some '
        'with --from, or random:TASK.', [x for x in faults if x])
  return kept, [x for x in faults if x]
