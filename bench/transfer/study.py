"""What the studies beside the control study share: settings, target data, jobs, results."""

import argparse
import hashlib
import json
import pathlib
import sys

from ruamel.yaml import YAML, YAMLError

ROOT = pathlib.Path(__file__).resolve().parents[2]
MATRIX = ROOT / 'configs' / 'ablations' / 'cpu.yaml'
# These studies replay recordings: nothing acts in them.
LIKENESS = ['vid2act', 'vid2act_likeness']
ALONE = [*LIKENESS, {'agent.vid2act.guide': False}]
VARIANTS = {
    'stock': [], 'vid2act': LIKENESS, 'vid2act_noguide': ALONE,
    'vid2act_uniform': [*LIKENESS, {'agent.vid2act.weights': 'uniform'}],
    'finetune': ['vid2act', 'finetune'], 'scratch_noguide': [*ALONE, 'vid2act_scratch']}
RESULTS = ROOT / 'bench' / 'transfer' / 'results'


def arguments(doc, methods, name, updates, more=False, keeps=True):
  """Return the options of a study, which all have the same ones.

  methods: what it compares by default; more: whether any other variant will do as well;
  keeps: whether it keeps the results of runs, so that it can report them without a run.
  """
  parser = argparse.ArgumentParser(
      description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
  add = parser.add_argument
  add('--matrix', default=str(MATRIX), help='ablation file whose settings and first task are used')
  add('--out', default=str(RESULTS / name), help='default: bench/transfer/results/NAME')
  add('--methods', nargs='*' if keeps else '+', default=list(methods), metavar='NAME',
      help=f"default: {' '.join(methods)}{'; or other variants of the matrix' * more}"
      f"{'; without a name: only report what DIR holds' * keeps}")
  add('--seeds', type=int, nargs='+', default=[0, 1, 2, 3, 4])
  add('--jobs', type=int, default=0, help='at once; 0: one per core')
  add('--set', nargs='*', type=setting, default=[], metavar='KEY=VALUE', help='further settings')
  add('--updates', type=int, nargs='+', default=updates, help='after how many to measure')
  add('--one', help='METHOD/TASK/SEED: only this one, in this process')
  args = parser.parse_args()
  if min(args.updates) < 1:
    parser.error(f'argument --updates: {min(args.updates)} is below 1')
  if args.set and pathlib.Path(args.out).resolve() == (RESULTS / name).resolve():
    parser.error(f'argument --set: in {args.out} are the results without it; name another --out')
  if not args.methods and not any((pathlib.Path(args.out) / 'scores').glob('*.gz')):
    parser.error(
        f'argument --methods: without a name, {args.out}/scores is reported, but it does not exist '
        'or is empty')
  from vid2act_plugin.studies.matrix import Matrix
  known = {**VARIANTS, **Matrix(args.matrix).variants} if more else methods
  for method in args.methods:
    if method not in known:
      parser.error(f"argument --methods: '{method}' is none of {', '.join(known)}")
  return args


def setting(text):
  """Return key and value of a setting KEY=VALUE, the value as YAML has it."""
  key, sign, value = text.partition('=')
  if not (key and sign):
    raise argparse.ArgumentTypeError(f"'{text}' is not of the form KEY=VALUE")
  try:
    return key, YAML(typ='safe').load(value)
  except YAMLError as e:
    raise argparse.ArgumentTypeError(f"the value of '{text}' is not valid YAML") from e


def configured(args, run, **changes):
  """Return the config of a run with its recordings and teacher made, and the platform chosen."""
  from vid2act_plugin import prepare
  from vid2act_plugin.studies.matrix import Matrix
  matrix, folder = Matrix(args.matrix), work(args) / run.method
  # Tasks and settings are those of the matrix.
  matrix.variants = {run.method: [*{**VARIANTS, **matrix.variants}[run.method], dict(args.set)]}
  matrix.write(folder)
  config = matrix.configurations(folder)[run.method, run.task].update(changes)
  # The teacher is the same for every seed, that of the default one.
  return prepare.prepare(config.update(seed=0, logdir=str(folder))).update(seed=run.seed)


def work(args):
  """Return the folder for what a study needs while it runs."""
  return pathlib.Path(args.out).resolve() / 'work'


def target(config, episodes):
  """Return the target task's recording, made if need be: half noisy experts, half random."""
  from vid2act_plugin.envs.suites import SUITES
  from vid2act_plugin.sources import locate
  from vid2act_plugin.sources.collect import collect
  suite = config.task.split('_')[0]
  env = {k: config.env[suite][k] for k in SUITES[suite].settings}
  kind = dict(noise=[0.1, 0.3, 0.5, 1.0], random_share=0.5, seed=1)
  root = locate.cache(config) / 'targets' / locate.key(dict(env=env, **kind))
  return collect([config.task], root, env, episodes, **kind)[0]


def run(study, args, prepare):
  """Run every run of a study that has no result yet in a process, and return all results.

  study: the module's name in this package. `prepare(args, run)` makes what the runs
  of a method need: here, once, and not in every process at the same time.
  """
  from vid2act_plugin.common import parallel, progress
  from vid2act_plugin.studies.matrix import Matrix, Run
  task = Matrix(args.matrix).tasks[0]
  for method in args.methods:
    prepare(args, Run(method, task, 0))
  names = [Run(m, task, s).name for s in args.seeds for m in args.methods]
  shared = [
      '--matrix', args.matrix, '--out', args.out, '--updates', *map(str, args.updates),
      '--set', *(f'{k}={json.dumps(v)}' for k, v in args.set)]
  todo = [x for x in names if not _made(args, x)]
  program = [sys.executable, '-m', f'bench.transfer.{study}']
  commands = {x: [*program, '--one', x, *shared] for x in todo}
  failed = []
  with progress.bar('runs', len(names), 'runs') as bar:
    bar.set(len(names) - len(todo))
    for name, status in parallel.run_commands(
        commands, args.jobs, lambda x: result(args, x).with_suffix('.log')):
      failed += [name] * bool(status)
      bar.advance()
      bar.text(name)
  if failed:
    raise SystemExit(f"Failed: {', '.join(failed)}; see the logs in {work(args)}.")
  found = [json.loads(result(args, x).read_text()) for x in names]
  return [{k: v for k, v in x.items() if k != 'asked'} for x in found]


def _made(args, name):
  """Say whether a run has its result; one with other settings than are asked for now ends the study."""
  path = result(args, name)
  if not path.exists():
    return False
  before, now = json.loads(path.read_text()).get('asked'), asked(args, name)
  if before and before != now:  # Earlier ones do not tell.
    raise SystemExit(f'{path} was made with {before}, not {now}; name another --out, or delete {path.parent}.')
  return True


def asked(args, name):
  """Return what decides a run's result besides its name, as JSON has it."""
  from vid2act_plugin.studies.matrix import Matrix
  plan, method = Matrix(args.matrix), name.split('/')[0]
  settings = plan.configs, {**VARIANTS, **plan.variants}.get(method)
  made = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
  return json.loads(json.dumps(dict(set=args.set, updates=args.updates, settings=made)))


def result(args, name):
  return work(args) / f"{name.replace('/', '-')}.json"


def one(args):
  """Return the run that `args.one` names."""
  from vid2act_plugin.studies.matrix import Run
  method, task, seed = args.one.split('/')
  return Run(method, task, int(seed))


def write(args, **content):
  """Write the result of `args.one`."""
  from vid2act_plugin.common import files
  path, run = result(args, args.one), one(args)
  path.parent.mkdir(parents=True, exist_ok=True)
  with files.atomic_write(path) as part:
    part.write_text(json.dumps(dict(method=run.method, seed=run.seed, asked=asked(args, args.one), **content)))


def save(args, rows, metrics):
  """Write the results `{method, seed, updates, METRIC}` as score files; return `{metric: rows}`.

  What the files have of other methods and seeds is kept.
  """
  from vid2act_plugin.studies.matrix import Matrix
  from vid2act_plugin.training import scores
  task, folder = Matrix(args.matrix).tasks[0], pathlib.Path(args.out) / 'scores'
  return {metric: merge(folder / f'{metric}.json.gz', [
      dict(task=task, method=x['method'], seed=x['seed'], xs=x['updates'], ys=x[metric])
      for x in rows], scores.load) for metric in metrics}


def merge(path, rows, load):
  """Put rows into a file in place of its rows of the same methods and seeds; return all it holds.

  load: reads what the file has, if it is there.
  """
  from vid2act_plugin.training import scores
  key = lambda x: (x['method'], x['seed'])
  found = {key(x): x for x in [*(load(path) if path.exists() else []), *rows]}
  found = [found[k] for k in sorted(found)]
  scores.save(path, found)
  return found


def draw(curves, path, xlabel):
  """Draw a panel per metric: the IQM over seeds of each method, with its 95 % interval."""
  from vid2act_plugin.common import images
  from vid2act_plugin.studies import comparison, plot
  plt = images.pyplot()
  fig, axes = plt.subplots(
      1, len(curves), figsize=(4.4 * len(curves), 3.6), squeeze=False, layout='constrained')
  for ax, (metric, rows) in zip(axes[0], curves.items()):
    for i, method in enumerate(dict.fromkeys(x['method'] for x in rows)):
      mine = [x for x in rows if x['method'] == method]
      plot.band(
          ax, comparison.curves(mine)[method], f'C{i}', f'{method} ({len(mine)} seeds)')
    ax.set(title=metric, xlabel=xlabel)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=7)
  fig.savefig(path, dpi=110)
  plt.close(fig)
