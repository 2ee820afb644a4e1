"""The overlays of an ablation's runs that are no names, as files that stay as they were when it began."""

import io
import os
import pathlib

from ruamel.yaml import YAML

from ..common import files, safe_yaml
from ..common.errors import UserError

COMMON = '.configs'  # Of the files of overlays that every run has; no variant is named so.
FROZEN = '.matrix.yaml'  # The ablation with these files in place of the user's, for a command that begins later.


def in_place(overlay):
  """Say whether an overlay is settings, and neither a name nor a file."""
  return type(overlay) is dict


def kept(overlay):
  """Say whether `write` writes an overlay; what is a file and what a name, the host decides in the same way."""
  return in_place(overlay) or (overlay.endswith(('.yaml', '.yml')) or os.sep in overlay) and os.path.isfile(
      os.path.expanduser(overlay))


def paths(name, overlays, folder, kept=kept):
  """Return a variant's overlays with the path in `folder` in place of each that is kept there."""
  return [str(folder / f'{name}-{i}.yaml') if kept(x) else x for i, x in enumerate(overlays)]


def write(plan, folder, owner='', kept=kept):
  """Write the overlays of a `Matrix` that are no names into `folder`, and `FROZEN`.

  owner: another process whose runs are begun with those that are there already, which are to be the same.
  """
  folder.mkdir(parents=True, exist_ok=True)
  every = {COMMON: plan.configs, **plan.variants}
  found = {
      pathlib.Path(path): overlay for name, overlays in every.items()
      for path, overlay in zip(paths(name, overlays, folder, kept), overlays) if path != overlay}
  frozen = dict(
      configs=paths(COMMON, plan.configs, folder, kept), tasks=plan.tasks, seeds=plan.seeds, against=plan.against,
      variants={k: paths(k, v, folder, kept) for k, v in plan.variants.items()},
      **({'metric': plan.metric} if plan.metric else {}))
  for path, overlay in {**found, folder / FROZEN: frozen}.items():
    content = _content(overlay)
    if not owner or not path.exists():
      # Whole at every moment: another process may be reading the same overlay.
      with files.atomic_write(path) as part:
        part.write_bytes(content)
    elif path.name != FROZEN and safe_yaml.load(path) != safe_yaml.loads(content.decode()):
      raise UserError(
          f'In {folder.parent} {owner} is at work with other settings than {plan.path} has now; wait for '
          'it, or name another folder (--out).')


def _content(overlay):
  if type(overlay) is str:
    return pathlib.Path(overlay).expanduser().read_bytes()
  YAML().dump(overlay, made := io.BytesIO())
  return made.getvalue()
