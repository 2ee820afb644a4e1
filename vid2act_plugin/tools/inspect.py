"""The command `vid2act inspect`: what recordings, teacher bundles and behaviours hold."""

import collections
import itertools
import pathlib

import numpy as np

from ..common import files, progress
from ..common.errors import UserError
from ..common.output import document
from ..envs import suites
from ..sources import recording
from ..teacher import bundle
from . import preview, tables

FILES = recording.MANIFEST, bundle.FACTS  # By which a folder is known.


def add_parser(sub):
  """Add the command `inspect` to the subparsers `sub`."""
  parser = sub.add_parser(
      'inspect', help='show what recordings, teacher bundles and behaviours hold', description=(
          'Check every hash and show what recordings, teacher bundles and behaviours hold. The status is 1 '
          'if anything is damaged.'))
  parser.add_argument(
      'paths', nargs='+', metavar='PATH',
      help='a recording, a teacher bundle, behaviours that the script clone has written, or a folder of any of them')
  parser.add_argument(
      '--out', default='.', metavar='DIR',
      help='gets NAME-episodes.png and NAME-episodes.mp4 of each PATH with recordings; '
      'default: the current folder')
  parser.add_argument('--no-pictures', action='store_true', help='tables alone')
  parser.add_argument('--json', action='store_true', help='one JSON object instead of tables')
  parser.set_defaults(run=main)


def main(args):
  """Run the command line `vid2act inspect`; ends with status 1 if anything is damaged."""
  stems = _stems(args.paths, pathlib.Path(args.out).expanduser())
  reports = []
  for path, folders, stem in zip(args.paths, [find(x) for x in args.paths], stems):
    found, entries = inspect(folders)
    reports.append({'path': str(path), 'found': found, 'pictures': []})
    if not args.json:
      tables.show(found)
    if any(entries) and not args.no_pictures:
      reports[-1]['pictures'] = preview.draw(_shown(found, entries), stem)
  if args.json:
    document({'paths': reports})
  if any(x['damaged'] for report in reports for x in report['found']):
    raise SystemExit(1)


def find(path):
  """Return the folders of recordings, bundles and behaviours: `path` itself, or those directly in it."""
  path = pathlib.Path(path).expanduser()
  if any((path / x).is_file() for x in FILES):
    return [path]
  found = sorted({x.parent for name in FILES for x in path.glob(f'*/{name}')})
  found = [x for x in found if not x.name.startswith('.')]  # A bundle that is being written.
  if not found:
    raise UserError(
        f'There is neither a recording nor a teacher bundle nor behaviours in {path} or in the folders '
        'directly in it; name a folder that `vid2act collect`, pretraining or the script clone has made.')
  return found


def inspect(folders):
  """Return what each folder holds, and of each recording the entries of its intact episodes.

  What cannot be read is reported under `damaged`, one sentence each, and costs nothing else.
  """
  found, entries = [], []
  with progress.bar('checking', sum(map(_files, folders)), 'files') as bar:
    for folder in folders:
      bar.text(folder.name)
      try:
        report, intact = _reader(folder)(folder, bar)
      except UserError as e:
        report, intact = dict(kind='unreadable', path=str(folder), damaged=[str(e)]), []
      found.append(report)
      entries.append(intact)
    bar.text(f"{sum(len(x['damaged']) for x in found)} damaged")
  return found, entries


def _recording(folder, bar):
  manifest = recording.load_manifest(folder)
  intact, facts, damaged, first = [], [], [], None
  for entry in manifest['episodes']:
    try:
      episode = recording.read_episode(folder, entry)
      start = {k: episode[k][:1] for k in ('image', 'action')}
      recording.same_spaces(first or start, start, manifest, folder / entry['file'])
    except UserError as e:
      damaged.append(str(e))
    else:
      first = first or start
      facts.append(_facts(episode, entry))
      intact.append({**entry, 'return': facts[-1]['return']})
    bar.advance()
  experts = [x for x in facts if x['expert']]
  # Zeros stand for what an import's data or a suite does not tell.
  suite = suites.SUITES.get(manifest['suite'])
  won = _won if manifest.get('success', suite.success if suite else True) else lambda _: None
  scores = [x['return'] for x in facts if manifest.get('reward', True)]
  paths = [folder / x['file'] for x in manifest['episodes']]
  return dict(
      kind='recording', path=str(folder), **{k: manifest[k] for k in ('source', 'suite', 'task')},
      episodes=len(facts), steps=sum(x['steps'] for x in facts),
      **{'return': {k: float(fn(scores)) if scores else None for k, fn in (
          ('mean', np.mean), ('min', min), ('max', max))}},
      success=dict(experts=won(experts), all=won(facts)),
      behaviours=dict(sorted(collections.Counter(x['behaviour'] for x in facts).items())),
      act_size=manifest['act_size'], inferred=_inferred(facts),
      actions={k: fn([x[k] for x in facts], 0).tolist() if facts else [] for k, fn in (
          ('low', np.min), ('high', np.max))},
      image=list(first['image'].shape[1:]) if first else [],
      **{k: manifest[k] for k in ('seed', 'env', 'versions')},
      renderer=manifest.get('renderer', ''), imported=manifest.get('imported', {}),
      skipped=_list(manifest.get('skipped', [])),
      bytes=sum(x.stat().st_size for x in paths if x.exists()), damaged=damaged), intact


def _facts(episode, entry):
  actions = episode['action'][:-1]  # None is taken at is_last.
  return {
      'steps': len(actions) + 1, 'return': float(episode['reward'].sum(dtype=np.float64)),
      'any': bool(episode['success'].any()), 'last': bool(episode['success'][-1] > 0),
      'behaviour': _behaviour(entry), 'expert': _behaviour(entry).split(',')[0] != 'random',
      'low': actions.min(0), 'high': actions.max(0),
      'confidence': episode['confidence'][:-1].mean() if 'confidence' in episode else None}


def _inferred(facts):
  """Return the mean confidence of inferred actions, None where all are true ones."""
  found = [x['confidence'] for x in facts if x['confidence'] is not None]
  return round(float(np.mean(found)), 4) if found else None


def _won(facts):
  return dict(episodes=len(facts), **{k: sum(x[k] for x in facts) for k in ('any', 'last')})


def _list(value):
  return value if isinstance(value, list) else [value]


def _behaviour(entry):
  """Return an episode's behaviour in words, such as 'expert, noise 0.1'."""
  behaviour = dict(entry.get('behaviour', {}))
  policy = behaviour.pop('policy', 'unknown')
  return f'{policy}, {tables.text(behaviour)}' if behaviour else str(policy)


def _teacher(folder, bar):
  loaded = bundle.load(folder, 'The argument PATH')
  manifest, memory = loaded.manifest, loaded.memory['source']
  bar.advance(len(bundle.FILES))
  rssm, guide = manifest['agent']['dyn']['rssm'], manifest.get('guide', True)
  rows = [int((memory == k).sum()) if guide else 0 for k in range(loaded.sources)]
  known = manifest.get('behaviours', dict.fromkeys(('error', 'success'), [None] * loaded.sources))
  return dict(
      kind='teacher', path=str(folder), sources=_sources(manifest, known, memory=rows),
      model='separate models' if manifest.get('kind') == 'separate' else 'one model',
      act_width=loaded.act_width, image=manifest['image'],
      **{k: rssm[k] for k in ('deter', 'stoch', 'classes')},
      parameters=sum(x.size for x in loaded.params.values()), updates=manifest['updates'],
      actions_seen=manifest.get('actions', True), env=manifest['env'],
      recordings=manifest['recordings'], host=manifest.get('host', ''),
      jax=manifest.get('jax', ''), hash=loaded.hash, damaged=[]), []


def _behaviours(folder, bar):
  from ..teacher import behaviours  # It imports JAX, which nothing else here needs.
  made = behaviours.read(folder)
  bar.advance(2)
  told = 'act_width', 'image', 'settings', 'env', 'recordings', 'seed', 'holdout'
  return dict(
      kind='behaviours', path=str(folder), sources=_sources(made.facts, made.facts),
      parameters=sum(x.size for x in made.params.values()),
      **{k: made.facts[k] for k in told if k in made.facts}, damaged=[]), []


def _sources(facts, learned, **more):
  """Return of each source of `facts` its actions, `more`, and what is known of its behaviour."""
  columns = dict(source=facts['sources'], act_size=facts['act_sizes'], **more,
                 behaviour_error=learned['error'], behaviour_success=learned['success'])
  return [dict(zip(columns, row)) for row in zip(*columns.values())]


def _reader(folder):
  if not (folder / recording.MANIFEST).is_file():
    return _behaviours
  return _teacher if _is_bundle(folder) else _recording


def _is_bundle(folder):
  try:
    return 'sources' in files.parse(folder, recording.MANIFEST, links=True)
  except (OSError, ValueError, TypeError):
    return False


def _files(folder):
  try:
    if _reader(folder) is not _recording:
      return 2  # Tensors, and memory or facts.
    return len(recording.load_manifest(folder)['episodes'])
  except UserError:  # Reported where the folder is read.
    return 0


def _shown(found, entries):
  """Return (folder, entry, lines of text) of the episodes to draw, evenly spaced in each source."""
  count = max(1, preview.PAGE // sum(map(bool, entries)))
  shown = []
  for report, intact in zip(found, entries):
    for i in np.linspace(0, len(intact) - 1, min(count, len(intact))).round().astype(int):
      entry = intact[i]
      score = 'no reward' if report['return']['mean'] is None else f"return {entry['return']:.1f}"
      lines = report['source'], _behaviour(entry), score
      shown.append((pathlib.Path(report['path']), entry, lines))
  return shown


def _stems(paths, out):
  """Return a path in `out` for each of `paths`, named after it; a number tells equal ones apart."""
  stems = []
  for path in paths:
    name = pathlib.Path(path).expanduser().resolve().name or 'root'
    numbered = (f'{name}-{i}' for i in itertools.count(2))
    stems.append(next(out / x for x in itertools.chain([name], numbered) if out / x not in stems))
  return stems
