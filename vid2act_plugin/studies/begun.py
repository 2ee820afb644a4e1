"""Whether what an ablation finds in its folder was begun with the settings that it has now."""

import json
import re

from ..common.errors import UserError
from ..training import summary
from . import elsewhere, matrix, overlays

SIGNS = 'ckpt/latest', summary.FILE  # Of a run that is continued, or counts as finished.
# What a run sets by itself: for its machine, and from the stages before it.
OWN = re.compile(r'jax\.(platform|compute_dtype|prealloc)|replica|vid2act\.seconds\..*')
MADE = 'vid2act.teacher', 'vid2act.cloned'  # Where none is named, it names what it made.


def check(ablation):
  """Raise a `UserError` where runs of an `Ablation` were begun with other settings than they have now.

  Those of a variant that the matrix of the results there does not know, or knows no more, tell it themselves.
  """
  plan, out, path = ablation.plan, ablation.out, ablation.results / elsewhere.MATRIX
  folders = sorted({out.joinpath(*x.relative_to(out).parts[:3]) for sign in SIGNS for x in out.glob(f'*/*/*/{sign}')})
  methods = {x.parts[-3] for x in folders} & plan.variants.keys()
  known = set()
  if path.exists():
    before = elsewhere.made_with(ablation.results)
    known = methods & before[0].variants.keys()
    if changed := plan.changed(before, ablation.settings, known):
      raise UserError(
          f'The runs in {out} were begun with another {changed} than {plan.path} has; '
          f'name another folder (--out), or go back to {path}' + f', and the overlays as they were, in {ablation.overlays}'
          * bool(before[0].files and (ablation.overlays / overlays.FROZEN).exists()) + '.')
  for folder in folders:
    method = folder.parts[-3]
    if method in methods - known and (changed := _difference(folder, ablation.settings[method])):
      raise UserError(
          f'The run {folder} was begun with another setting ({changed}) than {plan.path} has; '
          'name another folder (--out), or go back to what its config.yaml says.')


def _difference(folder, now):
  """Return in words how the settings of the run in `folder` differ from `now`, None if they do not."""
  from ..training import start
  try:
    there = json.loads(json.dumps(start.begun(folder)))
  except UserError as e:
    fault = str(e).rpartition('; ')[0]
    raise UserError(f'{fault}; delete it if that run had the present settings, or name another folder (--out).') from e
  if not there:  # No file, as where that sentence was followed: nothing else tells.
    return None
  there.update({k: '' for k in MADE if not now.get(k) and start.MADE.fullmatch(str(there.get(k)))})
  return matrix.difference(there, {k: v for k, v in now.items() if not OWN.fullmatch(k)})
