"""Infer the actions of films, or of recordings, from recordings of the same body that have them.

A few networks learn which action leads from one image to the next, as the images around it show,
from the recordings of --from, and then label every step of PATH. Where these have enough random
episodes, only they are learned from: what experts do can be told by where they are, and that
differs in another task. The result is an ordinary recording, whose manifest says `labels:
inferred` and from what, with a `confidence` per step: the share of the actions' variance that the
networks predict there. PATH is a recording, whose own actions are not looked at, or a folder of
films: shots are split where the picture changes at once, and still ones left out. Printed is how
well actions of held-out episodes are inferred, R2 per action: 1 is every action as it was, 0 no
better than their mean.
"""

import contextlib
import json
import pathlib

import numpy as np

from ..common import files, lock
from ..common.errors import UserError, reading
from ..common.output import count, note, say, table
from ..envs import suites
from ..sources import bodies, collect, dataset, importing, labelling, locate, recording, shots
from ..sources.formats import places
from ..teacher import inverse, inverting
from ..training import invert, partial, resume

RANDOM, EPISODES = 'random:', 50


def add_parser(sub):
  """Add the command `label` to the subparsers `sub`."""
  parser = sub.add_parser('label', help='infer the actions of films from recordings that have them', description=__doc__)
  add = parser.add_argument
  add('path', metavar='PATH', help='a recording, a folder of films, or one film')
  add('--from', dest='sources', nargs='+', required=True, metavar='DIR',
      help='recordings with actions of the same body, or folders of these; random:TASK collects '
      'random actions in a task, such as random:metaworld_reach')
  add('--out', required=True, metavar='DIR', help='gets a folder NAME')
  add('--name', default='', help='of the source; default: that of PATH')
  add('--rate', type=float, metavar='R',
      help='images per second to take of films, 0: all; default: as many as the recordings have, where both tell')
  add('--repeat', type=int, default=1, metavar='N', help='take every N-th of these; default: %(default)s')
  add('--resize', type=int, nargs='+', metavar='N',
      help='pixels of what is written, one number or height and width; default: of what is learned from')
  add('--episodes', type=int, default=EPISODES, help='of random:TASK; default: %(default)s')
  add('--env', default='{}', metavar='JSON',
      help="settings of random:TASK's environment; default: those of the recordings beside it")
  add('--updates', type=int, default=invert.SETTINGS['updates'], help='default: %(default)s')
  add('--model', default='', metavar='DIR',
      help='where what was learned is kept, and found again, and random:TASK beside it; default: with the recording')
  add('--workers', type=int, default=0, help='processes that collect; 0: one per core')
  add('--seed', type=int, default=0, help='of what is learned and collected; default: %(default)s')
  parser.set_defaults(run=main)


def main(args):
  """Run the command line `vid2act label`."""
  for key, least in (('rate', 0), ('repeat', 1), ('updates', 1), ('episodes', 2), ('seed', 0)):
    if getattr(args, key) is not None and not getattr(args, key) >= least:
      raise UserError(f'The option --{key} is {getattr(args, key)}; give {least} or more.')
  if (args.env, args.episodes, args.workers) != ('{}', EPISODES, 0) and not any(x.startswith(RANDOM) for x in args.sources):
    raise UserError('The options --env, --episodes and --workers are of random:TASK, and --from names none; leave them out.')
  args.resize = importing.squared(args.resize)
  path = files.resolved(args.path)
  try:
    run(path, pathlib.Path(args.out).expanduser() / importing.named(path, args.name), args)
  except KeyboardInterrupt:
    say('Interrupted: what is labelled is kept, the same command continues.')
    raise SystemExit(130) from None


def run(path, folder, args):
  """Label what is in `path` as the recording `folder`, as the options `args` say; see `add_parser`."""
  original = _original(path, args)
  importing.apart(path, files.resolved(folder))
  labelling.check(folder)
  sources, facts = _sources(args, folder, original)
  with resume.Stop() as stop:
    try:
      model = _model(args, folder, sources, facts, stop.check)
      stop.check()
      _show(facts := model.facts)
      rate = 0 if original else _rate(facts) if args.rate is None else args.rate
      with lock.locked(folder):
        material = labelling.of_recording(path, original) if original else (
            labelling.of_films(path, facts['image'][:2], rate, args.repeat, args.rate is not None))
        head = _head(folder, path, original, model, rate, args)
        labels = labelling.Labels(folder, head, model, facts['image'], args.resize)
        labels.head.update(_fps(rate, args, head, material, labels.material))
        manifest = labels.run(material, stop.check)
    except resume.Stopped:
      say('Interrupted: what is learned and labelled is kept, the same command continues.')
      raise SystemExit(128 + stop.signal) from None
  entries = manifest['episodes']
  say(f"{folder}: {count(len(entries), 'episode')}, {count(sum(x['steps'] for x in entries), 'step')}, "
      f"confidence {np.mean([x.get('confidence', 1) for x in entries]):.2f}, {len(labels.skipped)} skipped")
  found = original and labelling.truth(folder, path, original, inverting.explained)
  if found:
    reached = inverse.overall(found)
    say('R2 against the true actions, which it did not see: ' + ', '.join(map(_number, found)))
    if reached is None:
      note('Note: its own actions never change, so that they tell nothing of what was inferred.')
    elif reached < inverse.WORTH:
      note(f'Note: these labels are worth nothing: of what they are to be, R2 is {_number(reached)}, below {inverse.WORTH}.')


def _rate(facts):
  """Return how many images/s the recordings that were learned from have, 0 where that is not known."""
  if facts['pace']:
    say(f"Films are taken at {facts['pace']:.4g} images/s, as the recordings are, where they have as many; "
        '--rate is for another one.')
  else:
    say('The recordings do not tell how many steps/s they have, so that every image of a film is a step; if films '
        'are faster, give --rate or --repeat.')
  return facts['pace']


def _fps(rate, args, head, material, earlier):
  """Return `{'fps': ...}` of films, empty where it is not that of all that are there, or of those `earlier`."""
  def own(x):
    with contextlib.suppress(Exception):  # One that cannot be read is skipped.
      return shots.pace(x.path, rate)[0] != rate
  if not rate or args.rate is None and (earlier.keys() - {x.name for x in material} or any(map(own, material))):
    return {}
  share = bodies.pace({'env': head['env'], 'fps': 1})  # A step is as many of them as in the recordings' view.
  return {'fps': rate / args.repeat / share} if share else {}


def _original(path, args):
  """Return the manifest of the recording to be labelled, None of films; checks that there is either."""
  if not path.exists():
    raise UserError(f'There is no {path}; name a recording or a folder of films.')
  if importing.ours(path) or (path / recording.MANIFEST).is_file() and not places.films(path):
    if args.rate or args.repeat != 1:
      raise UserError(f'The options --rate and --repeat are for films, and {path} is a recording; leave them out.')
    return recording.load_manifest(path)
  shots.check(path, args.rate or 0)  # Before anything is collected or learned.
  return None


def _sources(args, folder, original):
  """Return `{folder: manifest}` of the recordings to learn from, and their `bodies.facts`; what does not fit is listed."""
  path = files.resolved(args.path)
  given = [x for text in args.sources if not text.startswith(RANDOM) for x in bodies.recordings(text)]
  if path in given:
    say(f'Left out: {path} is what is to be labelled, and nothing is learned from it.')
    given = [x for x in given if x != path]
  found, faults = bodies.readable([*dict.fromkeys(given)])
  known = original or bodies.first([*found.values()])
  for text in args.sources:
    if text.startswith(RANDOM):
      played = _random(text.removeprefix(RANDOM), known, folder, args)
      found[played] = recording.load_manifest(played)
  say(*(f'Left out: {x}' for x in faults))
  kept, facts, faults = bodies.fitting([*found.values()], original)
  say(*(f'Left out: {x}' for x in faults))
  return dict([*found.items()][i] for i in kept), facts


def _random(task, known, folder, args):
  """Collect random actions in a task as the recording `known` was made, and return the folder."""
  suites.check(task, '--from random:')
  suite = task.split('_')[0]
  alike = known['env'] if known and known['suite'] == suite else {}
  env = {k: v for k, v in alike.items() if k in suites.SUITES[suite].settings}
  with reading(f"The option --env, '{args.env}',", 'give settings as {"size": [32, 32]}'):
    given = dict(files.loads(args.env))
  out = (files.resolved(args.model) if args.model else folder).parent / 'random'
  # Otherwise made, it lies beside: what was learned from the other is not to change.
  out /= locate.key([env, given, args.episodes, args.seed])
  return collect.collect([task], out, {**env, **given}, args.episodes, (0.0,), 1.0, args.seed, args.workers)[0]


def _model(args, folder, sources, told, check):
  """Return what was learned from the recordings `sources`, `{folder: manifest}`, which is kept."""
  place, manifests = files.resolved(args.model) if args.model else folder / 'inverse', [*sources.values()]
  key, settings = recording.content_key(manifests), {**invert.SETTINGS, 'updates': args.updates}
  def check_kept(facts, what):
    if (facts.get('recordings'), facts.get('settings'), facts.get('seed')) != (key, settings, args.seed):
      raise UserError(
          f'{what} was learned from other recordings, with other settings or by another version; go back to '
          'these, or name another folder for both (--out, and --model if you give it).')
  if (folder / recording.MANIFEST).exists():
    check_kept(recording.load_manifest(folder)['inferred'], f'What labelled {folder}')
  files.replaceable(place, inverse.NAMES)
  with lock.locked(place.parent):
    if inverse.exists(place):
      made = inverse.read(place)
      check_kept(made.facts, f'The inverse dynamics model in {place}')
      say(f'Inverse dynamics: reused {place}')
      return made
    data = dataset.Sources([*sources], invert.HOLDOUT, manifests[0]['act_size'], args.seed)
    facts = dict(seed=args.seed, view=told['view'], scaled=told['scale'], pace=told['pace'],
                 imported=manifests[0]['suite'] == 'import', files=[*map(bodies.hashes, manifests)])
    unfinished = place.with_name(f'{place.name}.partial')
    made = invert.learn(data, settings, facts, unfinished, check)
    made.write(place)
    partial.discard(unfinished)
  return made


def _show(facts):
  """Print how well held-out actions are inferred, and whether that is worth anything."""
  size, random = facts['act_size'], facts['random']
  what = 'of random episodes' if random else 'of episodes'
  new = 'of experts' if facts['experts'] else what
  kinds = f'{what} held out', f'{new}, as a task not learned from', f'{new}, by the mean action'
  rows = [[name, kind, *map(_number, r2), _number(inverse.overall(r2))] for name, *each in zip(
      facts['sources'], facts['r2'], facts['r2_unseen'], facts['r2_mean']) for kind, r2 in zip(kinds, each) if r2]
  table('Share of the variance of actions that is inferred (R2)', [
      'source', 'how', *[f'action {i}' for i in range(size)], 'all'], rows)
  if not random:
    cure = '' if facts['imported'] else (
        ': record more of it (`vid2act collect --random-share 1`, into another folder), or add random:TASK to --from')
    note(f'Note: the recordings have fewer than {inverting.ENOUGH} steps of random actions, so all steps were learned '
         f'from. Experts act by what they see, which differs in another task{cure}.')
  if not any(facts['r2_unseen']) and inverse.worth(facts):
    note(f'Note: R2 is {what} in the tasks learned from; in others, and of who acts otherwise, such as experts, '
         'actions may be inferred worse.')
  if inverse.reached(facts) is None:
    note('Note: nothing was held out, as of a single episode, so that it is not known what these labels are worth; learn '
         'from two episodes or more.')
  elif not inverse.worth(facts):
    note(f'Note: these labels are worth nothing: R2 is {_number(inverse.reached(facts))}, and below {inverse.WORTH} what '
         'is inferred is hardly better than the mean action; learn from more episodes, from tasks that '
         'are more alike, or from larger images.')


def _number(value):
  return '-' if value is None else f'{value:.2f}'


def _head(folder, path, original, model, rate, args):
  """Return the manifest of the labelled recording, without its episodes."""
  facts = model.facts
  inferred = dict(
      path=str(path), model=model.digest(), worth=inverse.worth(facts), rate=rate, repeat=args.repeat,
      **{k: facts[k] for k in ('recordings', 'sources', 'files', 'settings', 'seed', 'random', 'r2', 'r2_unseen')})
  kept = {k: v for k, v in (original or {}).items()
          if k not in ('format', 'convention', 'episodes', 'inferred', 'labels', 'material', *bodies.SCALE)}
  film = dict(suite='import', task=folder.name, seed=0, versions={}, behaviour=dict(policy='film'),
              env=facts['view'], act_size=facts['act_size'], reward=False, success=False)
  head = dict(kept or film, **facts['scaled'], source=folder.name, labels=bodies.INFERRED, inferred=inferred)
  if args.resize:
    inferred['resize'] = args.resize
    head['env'] = {**head['env'], 'size': args.resize}
  return json.loads(json.dumps(head))
