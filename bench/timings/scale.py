"""How cost grows: with sources, collecting workers, runs at once, and devices.

Sources and workers are timed in turn, so that only ratios mean something beside other work; the
time of an ablation is that of runs which do next to nothing, so that it is what each costs beside
itself. Devices are pretended ones: what they show is that numbers stay the same.

    python -m bench.timings.scale [--sources N ...] [--size PRESET] [--rounds N] [PART ...]
    python -m bench.timings.scale --table
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from . import measure

PARTS = ('sources', 'workers', 'runs', 'devices')
BENCH = pathlib.Path(__file__).resolve().parents[1]
RESULTS, PICTURE, README = BENCH / 'timings' / 'scale.json', BENCH / 'timings' / 'scale.png', BENCH / 'README.md'
BEGIN, END = '<!-- scale: made by bench.timings.scale -->', '<!-- end of scale -->'
RUNS = 4
TINY = {  # What a run has at least: it starts, evaluates, and ends.
    'random_agent': True, 'run.steps': 20, 'run.eval_every': 100, 'run.eval_eps': 1, 'run.envs': 1,
    'logger.outputs': ['jsonl'], 'env.metaworld.limit': 5, 'env.metaworld.size': [24, 24]}
TEACHER = {
    'vid2act.max_sources': 2, 'vid2act.collect.episodes': 2, 'vid2act.collect.limit': 20,
    'vid2act.pretrain': dict(updates=5, batch_size=8, batch_length=8, log_every=5, memory=16),
    'vid2act.behaviours': dict(updates=2, episodes=0), 'env.metaworld.size': [16, 16],
    r'.*\.rssm': dict(deter=16, hidden=8, classes=4, stoch=4), r'.*\.mults': [1, 2], r'.*\.depth': 2,
    r'.*\.bspace': 4, r'.*\.units': 8, r'.*\.layers': 1, r'.*\.bins': 15}


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('parts', nargs='*', metavar='PART', help=', '.join(PARTS))
  parser.add_argument('--sources', type=int, nargs='+', default=[1, 6, 24, 48, 96])
  parser.add_argument('--devices', type=int, nargs='+', default=[1, 2, 4, 8])
  parser.add_argument('--size', default='size1m', help="the host's preset")
  parser.add_argument('--rounds', type=int, default=4)
  parser.add_argument('--table', action='store_true', help='only write table and picture anew')
  args = parser.parse_args()
  unknown = {*args.parts} - {*PARTS}
  if unknown:
    raise SystemExit(f"There is no part '{unknown.pop()}'; choose from {', '.join(PARTS)}.")
  found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
  for part in [] if args.table else args.parts or PARTS:
    found[part] = dict(globals()[part](args), cores=os.cpu_count())
    print(json.dumps({part: found[part]}), flush=True)
    rows = [f'{json.dumps(k)}: {json.dumps(found[k])}' for k in PARTS if k in found]
    RESULTS.write_text('{\n' + ',\n'.join(rows) + '\n}\n')
  draw(found)
  README.write_text(insert(README.read_text(), table(found)))


def sources(args):
  """Return updates and memory beside those with the fewest sources."""
  from . import overhead
  updates = {}
  for n in args.sources:
    options = argparse.Namespace(teachers=n, size=args.size)
    updates[str(n)] = overhead._updater('vid2act', options)[1]
  samples = measure.interleave(updates, args.rounds)
  first = str(args.sources[0])
  memory = {str(n): overhead._children(['vid2act'], argparse.Namespace(teachers=n, size=args.size))['vid2act']
            for n in args.sources}
  return dict(
      size=args.size, update={k: round(measure.ratio(samples, k, first), 3) for k in samples},
      megabytes=memory)


def workers(args):
  """Return the time of a collection beside that with one worker."""
  from . import collect
  samples = measure.interleave({str(n): lambda n=n: collect._collect(n) for n in (1, 2)}, 2, 0)
  return dict(time={k: round(measure.ratio(samples, k, '1'), 3) for k in samples})


def runs(args):
  """Return the seconds per run of a matrix of runs that do next to nothing, each way in turn."""
  ways = {'1 job': ('--jobs', '1'), '2 jobs': ('--jobs', '2'), 'Ray': ('--ray', '--cpus', '1')}
  with tempfile.TemporaryDirectory() as folder:
    plan = pathlib.Path(folder) / 'matrix.yaml'
    plan.write_text(json.dumps(dict(
        configs=['metaworld', 'quickstart', TINY], variants={'stock': []}, tasks=['metaworld_door-lock'],
        seeds=list(range(RUNS)), against='stock')))
    def ablate(options):
      out = tempfile.mkdtemp(dir=folder)
      _call('vid2act_plugin.cli', 'ablate', plan, '--out', out, *options)
    samples = measure.interleave({k: lambda v=v: ablate(v) for k, v in ways.items()}, args.rounds // 2, 0)
  return dict(runs=RUNS, seconds={k: round(min(v) / RUNS, 2) for k, v in samples.items()})


def devices(args):
  """Return how far a teacher pretrained on several devices is from that of one."""
  import numpy as np
  from safetensors.numpy import load_file
  made = {}
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'tiny.yaml'
    path.write_text(json.dumps(dict(TEACHER, **{'vid2act.cache': folder})))
    for n in args.devices:
      out = pathlib.Path(folder) / str(n)
      _call('dreamerv3', '--configs', 'vid2act', 'metaworld', 'quickstart', path, '--script', 'pretrain', '--logdir',
            out, '--jax.mock_devices', n, '--jax.train_devices', *range(n))
      made[n] = load_file(out / 'teacher' / 'teacher.safetensors')
  first = made[args.devices[0]]
  far = lambda two: max(float(np.abs(np.asarray(v, np.float64) - two[k]).max()) for k, v in first.items())
  return dict(parameters={str(n): far(x) for n, x in made.items()})


def table(found):
  """Return the results as Markdown."""
  lines = ['| over | what | ' + 'figures |', '|---|---|---|']
  row = lambda over, what, values, form: lines.append(
      f'| {over} | {what} | ' + ', '.join(f'{k}: {v:{form}}' for k, v in values.items()) + ' |')
  if 'sources' in found:
    row('sources', f"update of `vid2act` ({found['sources']['size']}) beside that with the fewest", found[
        'sources']['update'], '.2f')
    row('sources', 'peak memory, MB', found['sources']['megabytes'], ',.0f')
  if 'workers' in found:
    row('workers', 'time of a collection beside that of one', found['workers']['time'], '.2f')
  if 'runs' in found:
    row('ways to run', f"seconds per run that does nothing, {found['runs']['runs']} runs", found['runs']['seconds'], '.1f')
  if 'devices' in found:
    row('devices (mocked)', 'largest difference of a parameter of the teacher, five updates', found[
        'devices']['parameters'], '.1e')
  return '\n'.join(lines)


def insert(readme, text):
  """Return the text of the README with its table of growth replaced."""
  return re.sub(f'(?s){BEGIN}.*{END}', lambda _: f'{BEGIN}\n{text}\n{END}', readme)


def draw(found):
  """Draw time and memory over the number of sources."""
  if 'sources' not in found:
    return
  import matplotlib
  matplotlib.use('agg')
  from matplotlib import pyplot as plt
  figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout='constrained')
  for ax, key, label in zip(axes, ('update', 'megabytes'), ('update, beside that with the fewest', 'peak memory, MB')):
    values = found['sources'][key]
    ax.plot([int(k) for k in values], list(values.values()), 'o-')
    ax.set(xlabel='sources', ylabel=label, ylim=(0, None))
  figure.savefig(PICTURE, dpi=80)
  plt.close(figure)


def _call(module, *args):
  subprocess.run([sys.executable, '-m', module, *map(str, args)], check=True, stdout=subprocess.DEVNULL)


if __name__ == '__main__':
  main()
