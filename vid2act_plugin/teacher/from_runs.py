"""The command `vid2act teacher import`: a teacher from finished DreamerV3 runs, one per source."""

import hashlib
import itertools
import pathlib
import re

import elements
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np

from ..common import progress
from ..common.errors import UserError, reading
from ..common.output import say
from ..envs import suites
from ..host import internals, loading, tree
from . import claims, faults, runs, separate
from .bundle import MODEL, Bundle
from .memory import join, pick, usable

SIZES = ('deter', 'stoch', 'classes')
BATCH, LENGTH = 16, 64  # Windows of replay that are encoded at once.
MADE = ('use_seed', 'seed', 'use_logdir', 'logdir')  # Settings of one run's environments alone.


def add_parser(sub):
  """Add the command to the parsers of `vid2act`."""
  parser = sub.add_parser('teacher', help='make teacher bundles', description=__doc__)
  actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
  parser = actions.add_parser(
      'import', help='one bundle from several DreamerV3 runs', description=(
          'Write a teacher bundle whose source k is the world model of the k-th run. Nothing of a '
          "checkpoint is executed. The action VAE's states come from the runs' newest replay."))
  parser.add_argument('logdirs', nargs='+', metavar='LOGDIR', help='a run: its --logdir')
  parser.add_argument('--out', required=True, metavar='DIR', help='the bundle; must not exist')
  parser.add_argument(
      '--name', nargs='+', default=[], metavar='NAME', help="sources' names; default: the tasks")
  parser.add_argument(
      '--memory', type=int, default=4096, metavar='N',
      help='states per source kept for the action VAE (default: %(default)s)')
  parser.add_argument(
      '--act-width', type=int, default=16, metavar='N',
      help='actions that the teacher is fed, the rest being zero (default: %(default)s)')
  parser.add_argument(
      '--no-guide', action='store_true',
      help='do without replays; such a teacher serves all but the guide')
  parser.set_defaults(run=main)


def main(args):
  """Run `vid2act teacher import` for parsed arguments and print the outcome."""
  bundle = build(
      args.logdirs, args.out, args.name, args.memory, args.act_width, not args.no_guide)
  say(f"Teacher bundle: {args.out} of {', '.join(bundle.manifest['sources'])} "
        '(use it with --vid2act.teacher)')


def build(logdirs, out, names=(), memory=4096, act_width=16, guide=True):
  """Write and return the bundle of several runs.

  Raises a `UserError` and writes nothing where a run cannot be read, is of
  another size than the first, lacks tensors, or has no replay while `guide`.
  """
  out = pathlib.Path(out).expanduser()
  if out.exists():
    raise UserError(f'The folder {out} of --out exists; choose another or delete it.')
  if memory < 1:
    raise UserError(f'The value of --memory is {memory}; give at least 1 state per source.')
  found = [runs.read(x) for x in logdirs]
  names = _names(found, list(names))
  _check_sizes(found, act_width)
  _report(found, names)
  if guide:
    _check_replays(found)
  internals.compute_in(jnp.float32)
  with progress.bar('encoding replays', len(found), 'runs') as bar:
    states = []
    for k, run in enumerate(found):
      states.append(_memory(run, k, memory, act_width) if guide else _blank(run, act_width))
      bar.advance()
  bundle = Bundle(
      {f'{k}/{name}': v for k, run in enumerate(found) for name, v in run.params.items()},
      join(states),
      _manifest(found, names, act_width, guide))
  bundle.save(out)
  return bundle


def _report(found, names):
  """Print what of each checkpoint fits its configuration; anything else is a `UserError`."""
  wrong = []
  for name, run in zip(names, found):
    title = f'{name} from {run.checkpoint}, {run.updates} updates'
    fresh = {k: np.zeros(v, np.float32) for k, v in _shapes(run).items()}
    _, report = loading.match(fresh, run.params, title)
    say(*report.lines())
    if any(status != 'matched' for _, status, _ in report.rows):
      wrong.append(run.checkpoint / 'agent.pkl')
  if wrong:
    raise UserError(
        f"Not every tensor of {', '.join(map(str, wrong))} is what the run's config.yaml says (see "
        'the report above); import a run whose config.yaml and checkpoint belong together and '
        f'which was made with the installed host, {tree.title()}.')


def _shapes(run):
  with reading(
      f'The encoder or RSSM of {run.folder / "config.yaml"}', 'import runs that were made with it',
      f'cannot be built for images of {list(run.image)} by the installed host, {tree.title()},'):
    return separate.shapes(run.config.agent, run.image, run.act_size)


def _names(found, names):
  """Return a name per run, its task by default; a number tells equal ones apart."""
  if names and len(names) != len(found):
    raise UserError(
        f'There are {len(names)} values of --name for {len(found)} runs; give one for each, in '
        'the same order.')
  unique = []
  for name, run in zip(names or [suites.filename(x.config.task) for x in found], found):
    if not re.fullmatch(r'[\w.-]+', name):
      what = 'value of --name' if names else f"task of {run.folder / 'config.yaml'}"
      raise UserError(
          f"The {what} is '{name}' and a part of metrics' names; name the source with --name, with "
          'letters, digits, dots, hyphens and underscores alone.')
    numbered = (f'{name}-{i}' for i in itertools.count(2))
    unique.append(next(x for x in itertools.chain([name], numbered) if x not in unique))
  return unique


def _check_sizes(found, act_width):
  for run in found:
    if not claims.sizes(*[run.config.agent.dyn.rssm.get(k) for k in SIZES]):
      raise UserError(
          f"The file {run.folder / 'config.yaml'} lacks a size in agent.dyn.rssm, one of "
          f"{', '.join(SIZES)}; name the folder of a DreamerV3 run.")
    faults.classes(run.config.agent, f'The run {run.folder}')
  sizes = [
      {**{k: x.config.agent.dyn.rssm[k] for k in SIZES}, 'image': list(x.image)} for x in found]
  if any(x != sizes[0] for x in sizes):
    rows = [
        f'{run.folder}: ' + ', '.join(f'{k} {v}' for k, v in size.items())
        for run, size in zip(found, sizes)]
    raise UserError(
        f"The runs' features or images differ in size ({'; '.join(rows)}); import runs that agree "
        'in agent.dyn.rssm.deter, stoch, classes and in the size of images.')
  for run in found:
    if run.act_size > act_width:
      raise UserError(
          f'The run {run.folder} has {run.act_size} actions, but --act-width is {act_width}; set '
          f'it to {run.act_size} or more.')


def _check_replays(found):
  for run in found:
    if not run.chunks:
      raise UserError(
          f"There is no replay in {run.folder / 'replay'}, but the guide needs states with the "
          "actions taken there; copy the run's replay folder as well, or import with --no-guide.")


def _memory(run, index, count, act_width):
  """Return at most `count` states of the newest replay with the action taken there."""
  sequences = runs.windows(run, LENGTH, 4 * count)
  order = np.random.default_rng(0).permutation(len(sequences))
  model = separate.SeparateModels(
      [run.config.agent], elements.Space(np.uint8, run.image), [run.act_size])
  encode = jax.jit(nj.pure(model.features))
  params = jax.device_put({f'0/{k}': v for k, v in run.params.items()})
  found, have = [], 0
  for start in range(0, len(order), BATCH):
    part = [sequences[i] for i in order[start: start + BATCH]]
    seed = jax.device_put(np.array([index, start], np.uint32))
    _, feat = encode(params, *jax.device_put(_stack(part)), seed=seed)
    feat = jax.device_get(feat)
    for i, seq in enumerate(part):
      keep = np.flatnonzero(usable(seq['is_last']))
      T = len(seq['is_last'])
      action = np.pad(seq['action'], ((0, 0), (0, act_width - run.act_size)))
      states = {k: v[i, :T, 0] for k, v in feat.items()}
      found.append(pick(states, action, np.full(T, index, np.int32), keep))
      have += len(keep)
    if have >= count:
      break
  if not have:
    raise UserError(
        f"The replay {run.folder / 'replay'} holds no step with an action; copy a longer one, or "
        'import with --no-guide.')
  return join(found, count)


def _stack(part):
  """Return image, action, is_first of sequences as `[BATCH, LENGTH, ...]`, zeros behind each."""
  out = []
  for key in ('image', 'action', 'is_first'):
    first = part[0][key]
    out.append(np.zeros((BATCH, LENGTH, *first.shape[1:]), first.dtype))
    for row, seq in zip(out[-1], part):
      row[:len(seq[key])] = seq[key]
  return out


def _blank(run, act_width):
  """Return one empty state: batches keep their shapes, and `agent.build.check` refuses the guide."""
  rssm = run.config.agent.dyn.rssm
  return dict(
      deter=np.zeros((1, rssm.deter), np.float16), stoch=np.zeros((1, rssm.stoch), np.uint8),
      action=np.zeros((1, act_width), np.float32), source=np.zeros(1, np.int32))


def _manifest(found, names, act_width, guide):
  first = found[0]
  agents = [{k: x.config.agent[k] for k in MODEL if k in x.config.agent} for x in found]
  settings = runs.found(first.config, f'env.{first.suite}')
  settings = settings if isinstance(settings, dict) else {}
  digest = hashlib.sha256(''.join(x.digest for x in found).encode()).hexdigest()
  return dict(
      kind='separate', sources=names, act_sizes=[x.act_size for x in found], act_width=act_width,
      image=list(first.image), agent=agents[0], agents=agents, guide=guide,
      env={k: v for k, v in settings.items() if k not in MADE}, recordings=digest,
      updates=sum(x.updates for x in found), host=tree.title(), jax=jax.__version__)
