"""What work has left in a folder: what is whole, what is torn, and what is wrong."""

import contextlib
import hashlib
import json
import pathlib
import zipfile

from vid2act_plugin.common import files, lock
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.host import checkpoints
from vid2act_plugin.sources import recording
from vid2act_plugin.teacher import bundle


def durable(folder, verify=True):
  """Return what is whole in a folder and has to stay: `{name: hash, or step of a checkpoint}`.

  verify: compare the files with the hashes in their manifests.
  """
  found = {}
  for path in manifests(folder):
    with contextlib.suppress(UserError, OSError):  # A bundle is just being replaced.
      if path.parent.name == 'teacher':
        found[str(path)] = bundle.load(path.parent).hash if verify else json.loads(
            path.read_text())['hash']
        continue
      for entry in recording.load_manifest(path.parent)['episodes']:
        file = path.with_name(entry['file'])
        if not verify or files.sha256(file) == entry['sha256']:
          found[str(file)] = entry['sha256']
  for path in folder.rglob('replay/*.npz'):
    if zipfile.is_zipfile(path):
      found[str(path)] = files.sha256(path)
  for path in folder.rglob('ckpt/*/done'):
    with contextlib.suppress(UserError, OSError):  # A newer one has just replaced it.
      name = str(path.parent.parent)
      found[name] = max(found.get(name, -1), checkpoints.step(path.parent))
  for path in _shown(folder, 'info.json'):
    found[str(path.parent.parent)] = _digest(path.parent.parent)
  return {str(pathlib.Path(k).relative_to(folder)): v for k, v in found.items()}


def manifests(folder):
  """Return the manifests in a folder apart from those still hidden."""
  return _shown(folder, recording.MANIFEST)


def result(folder):
  """Return what has to be the same whether or not there was a kill."""
  same = {k: v for k, v in durable(folder).items() if not ('ckpt' in k or 'replay/' in k)}
  for path in folder.glob('summary.json'):
    summary = json.loads(path.read_text())
    same.update({k: summary[k] for k in ('env_steps', 'pretrain_updates', 'sources')})
  for path in folder.glob('results/runs.json'):
    # A run that was stopped goes on in steps of the driver from where it was.
    same['runs'] = sorted(
        (x['method'], x['seed'], x['env_steps'] // 10) for x in json.loads(path.read_text()))
    same['compared'] = (folder / 'comparison.md').exists()
  return same


def lost(before, after):
  """Return the names of what was there before; a checkpoint may be followed by a newer one."""
  newer = lambda k, v: k.endswith('ckpt') and after.get(k, -1) >= v
  return {k for k, v in before.items() if after.get(k) != v and not newer(k, v)}


def leftovers(folder):
  """Return the paths of what was not written to its end, or what no manifest names."""
  found, whole = [], durable(folder)
  for path in sorted(folder.rglob('*')):
    name = str(path.relative_to(folder))
    hidden = path.name.startswith('.') and path.name != lock.FILE and path.parent.name != 'overlays'
    unnamed = path.match('episode-*.npz') or path.match('replay/*.npz')
    torn = path.parent.name == 'ckpt' and path.is_dir() and not (path / 'done').exists()
    if hidden or path.suffix == '.part' or unnamed and name not in whole or torn:
      found.append(name)
  return found


def wrong(folder):
  """Return what is wrong with the manifests in a folder."""
  found = []
  for path in manifests(folder):
    try:
      (bundle if path.parent.name == 'teacher' else recording).load(path.parent)
    except UserError as e:
      found.append(str(e))
  return found


def _shown(folder, name):
  return [x for x in sorted(folder.rglob(name))
          if not any(y.startswith('.') for y in x.relative_to(folder).parts)]


def _digest(folder):
  content = [(str(x.relative_to(folder)), files.sha256(x)) for x in sorted(folder.rglob('*')) if x.is_file()]
  return hashlib.sha256(json.dumps(content).encode()).hexdigest()
