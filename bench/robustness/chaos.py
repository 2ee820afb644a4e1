"""Does work that is killed at any time continue, and end as if it had not been killed?

Collection, import, labelling, export, bundle writing, pretraining, training and a small
ablation get SIGKILL at moments drawn over the time that they take unkilled:
half of the times all their processes, else the parent alone. The same command
is repeated until it ends, killed again half of the times, half of the times
with a clock that has gone back by a day. After a parent's end it is repeated at
once, or when its children are gone. The last line of the output is a JSON
object: `finished` of `kills`; `lost`: what was whole before a kill and is gone
or changed after; `half_written`: what is left over at the end;
`wrong_manifests`; `left_behind`: processes that go on; how many kills were of a
parent `alone`, how many starts had a clock set `back`; and `each` kind's.
Status 1 unless all is well; what failed is kept in OUT.

    python -m bench.robustness.chaos [--kills 40] [--seed N] [--jobs 2] [--only KIND...] [--out DIR]
"""

import argparse
import collections
import concurrent.futures
import json
import pathlib
import random
import shutil
import sys
import tempfile
import time

from vid2act_plugin.common import progress

from . import kills, remains, stages

FAULTS = 'lost', 'half_written', 'wrong_manifests', 'left_behind'
COUNTS = ('finished', 'kills', *FAULTS, 'alone', 'back')
DAY = 24 * 3600


def job(kind, shared, folder, plan, whole):
  """Kill a job as each (moment, alone, at once, back) says, let it end; return counts and faults.

  back: seconds that the clock goes back before the next start.
  """
  command, log, kept = stages.KINDS[kind].command(shared, folder), folder.with_suffix('.log'), {}
  counts, gone, strays, behind = collections.Counter(), set(), [], 0
  folder.mkdir(parents=True)
  for moment, alone, at_once, back in plan:
    status = kills.run(
        command, log, moment, lambda: kept.update(remains.durable(folder, verify=False)), alone,
        behind)
    behind += back
    counts.update(kills=status is None, alone=status is None and alone, back=back > 0)
    if not at_once:
      strays += kills.left(log)
      gone |= remains.lost(kept, remains.durable(folder))
  status = kills.run(command, log, back=behind)
  strays += kills.left(log)
  gone |= remains.lost(kept, remains.durable(folder))
  left, bad = remains.leftovers(folder), remains.wrong(folder)
  refused = stages.KINDS[kind].refusal and stages.KINDS[kind].refusal in log.read_text()
  same = (status == 0 or bool(refused)) and remains.result(folder) == whole
  counts.update(
      finished=counts['kills'] * same, lost=len(gone), half_written=len(left),
      wrong_manifests=len(bad), left_behind=len(strays))
  faults = [f'lost {x}' for x in sorted(gone)] + [f'half written {x}' for x in left] + bad
  faults += [f'left behind {x}' for x in strays]
  return counts, faults + [f'not the unkilled result, status {status}, see {log}'] * (not same)


def measure(kinds, shared):
  """Run every kind unkilled, and those that they need; return `{kind: (seconds, result)}`."""
  wholes = {}
  for name, kind in stages.KINDS.items():
    if name in kinds or any(name in stages.KINDS[x].needs for x in kinds):
      log, compiled = shared / f'{name}.log', None
      while compiled != (compiled := len(list(shared.parent.glob('xla/*')))):
        shutil.rmtree(shared / name, ignore_errors=True)
        with progress.stage(f'{name}, unkilled'):
          began, status = time.monotonic(), kills.run(kind.command(shared, shared / name), log)
        if status:
          raise SystemExit(f'{log.read_text()[-3000:]}\nUnkilled, {name} ends with {status}.')
      wholes[name] = time.monotonic() - began, remains.result(shared / name)
  return wholes


def torment(kinds, count, seed, jobs, out):
  """Kill jobs of the `kinds` in turn until there are `count` kills; return the counts of each kind."""
  rng, each = random.Random(seed), {x: collections.Counter() for x in kinds}
  out.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=out, prefix='jobs-') as shared, \
      concurrent.futures.ThreadPoolExecutor(jobs) as pool, \
      progress.bar('chaos', count, 'kills') as bar:
    shared, number = pathlib.Path(shared), 0
    wholes = measure(kinds, shared)
    while (left := count - sum(x['kills'] for x in each.values())) > 0:
      futures = {}
      while left > 0:  # A job that ends before it would be killed is followed by another one.
        kind, times = kinds[number % len(kinds)], min(left, rng.choice((1, 2)))
        seconds, whole = wholes[kind]
        back = rng.choice((0, DAY))
        plan = [(rng.uniform(0, seconds), rng.random() < 0.5, rng.random() < 0.5, back)
                for _ in range(times)]
        folder = shared / f'{kind}-{number}'
        futures[pool.submit(job, kind, shared, folder, plan, whole)] = kind, folder
        number, left = number + 1, left - times
      for future in concurrent.futures.as_completed(futures):
        (kind, folder), (counts, faults) = futures[future], future.result()
        each[kind].update(counts)
        bar.advance(counts['kills'])
        if faults:
          print('\n'.join(f'{folder.name}: {x}' for x in faults), flush=True)
          shutil.move(folder.with_suffix('.log'), out)
          shutil.move(folder, out)
  return each


def main(argv=None):
  """Run the command line and return the status."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  add = parser.add_argument
  add('--kills', type=int, default=40, help='default: %(default)s')
  add('--seed', type=int, default=0, help='default: %(default)s')
  add('--jobs', type=int, default=2, help='at the same time; default: %(default)s')
  add('--only', nargs='+', choices=stages.KINDS, default=list(stages.KINDS), metavar='KIND',
      help=', '.join(stages.KINDS))
  add('--out', type=pathlib.Path, default=pathlib.Path('runs') / 'chaos',
      help='gets jobs that fail; default: %(default)s')
  args = parser.parse_args(argv)
  each = torment(args.only, args.kills, args.seed, args.jobs, args.out)
  total = sum(each.values(), collections.Counter())
  print(json.dumps(dict(
      {x: total[x] for x in COUNTS},
      each={kind: {x: counts[x] for x in COUNTS} for kind, counts in each.items()})))
  return int(total['finished'] < args.kills or any(total[x] for x in FAULTS))


if __name__ == '__main__':
  sys.exit(main())
