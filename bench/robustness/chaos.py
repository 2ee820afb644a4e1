"""Does work that is killed at any time continue, and end as if it had not been killed?

Collection, import, bundle writing, pretraining and training get SIGKILL, with
all their children, at moments drawn over the time that they take unkilled; the
same command is repeated until it ends, killed again half of the times. The last
line of the output is a JSON object: `finished` of `kills`; `lost`: what was
whole before a kill and is gone or changed after; `half_written`: what is left
over at the end; `wrong_manifests`; and `each` kind's. Status 1 unless all is
well; what failed is kept in OUT.

    python -m bench.robustness.chaos [--kills 30] [--seed N] [--jobs 2] [--only KIND...] [--out DIR]
"""

import argparse
import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

from vid2act_plugin.common import files as inputs
from vid2act_plugin.common import lock, progress
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.teacher import bundle

from . import stages

LIMIT = 900  # Seconds that a command may take.
COUNTS = ('finished', 'kills', 'lost', 'half_written', 'wrong_manifests')


def run(command, log, moment=LIMIT, before=lambda: None):
  """Run a command and return its status; None if it was killed after `moment` seconds."""
  env = {'JAX_PLATFORMS': 'cpu', **os.environ,
         'JAX_COMPILATION_CACHE_DIR': str(log.parent.parent / 'xla')}
  with open(log, 'a') as file:
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], stdout=file, stderr=file, env=env,
        start_new_session=True)
    try:
      return process.wait(moment)
    except subprocess.TimeoutExpired:
      before()
    finally:
      with contextlib.suppress(ProcessLookupError):
        while True:  # Until its children are gone as well.
          os.killpg(process.pid, signal.SIGKILL)
          process.poll()
          time.sleep(0.02)


def durable(folder, verify=True):
  """Return what is whole in a folder and has to stay: `{name: hash, or name of a checkpoint}`.

  verify: compare the files with the hashes in their manifests.
  """
  found = {}
  for path in manifests(folder):
    with contextlib.suppress(UserError, OSError):  # A bundle is just being replaced.
      if path.parent.name == 'teacher':
        found[str(path)] = bundle.load(path.parent).hash if verify else json.loads(
            path.read_text())['hash']
        continue
      for entry in recordings.load_manifest(path.parent)['episodes']:
        file = path.with_name(entry['file'])
        if not verify or inputs.sha256(file) == entry['sha256']:
          found[str(file)] = entry['sha256']
  for path in folder.rglob('replay/*.npz'):
    if zipfile.is_zipfile(path):
      found[str(path)] = inputs.sha256(path)
  for path in sorted(folder.rglob('ckpt/*/done')):
    found[str(path.parent.parent)] = path.parent.name
  return {str(pathlib.Path(k).relative_to(folder)): v for k, v in found.items()}


def manifests(folder):
  """Return the manifests in a folder apart from those still hidden."""
  return [x for x in sorted(folder.rglob(recordings.MANIFEST))
          if not any(y.startswith('.') for y in x.relative_to(folder).parts)]


def result(folder):
  """Return what has to be the same whether or not there was a kill."""
  same = {k: v for k, v in durable(folder).items() if not k.startswith(('ckpt', 'replay'))}
  for path in folder.glob('summary.json'):
    summary = json.loads(path.read_text())
    same.update({k: summary[k] for k in ('env_steps', 'pretrain_updates', 'sources')})
  return same


def lost(before, after):
  """Return the names of what was there before; a checkpoint may be followed by a newer one."""
  newer = lambda k, v: k.endswith('ckpt') and after.get(k, '') >= v
  return {k for k, v in before.items() if after.get(k) != v and not newer(k, v)}


def leftovers(folder):
  """Return the paths of what was not written to its end, or what no manifest names."""
  found, whole = [], durable(folder)
  for path in sorted(folder.rglob('*')):
    name = str(path.relative_to(folder))
    hidden = path.name.startswith('.') and path.name != lock.FILE
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
      (bundle if path.parent.name == 'teacher' else recordings).load(path.parent)
    except UserError as e:
      found.append(str(e))
  return found


def job(kind, shared, folder, moments, whole):
  """Kill a job at each of the `moments`, let it end; return counts and what went wrong."""
  command, log, kept = stages.KINDS[kind][0](shared, folder), folder.with_suffix('.log'), {}
  counts, gone = collections.Counter(), set()
  folder.mkdir(parents=True)
  for moment in moments:
    status = run(command, log, moment, lambda: kept.update(durable(folder, verify=False)))
    counts['kills'] += status is None
    gone |= lost(kept, durable(folder))
  status = run(command, log)
  gone |= lost(kept, durable(folder))
  left, bad, same = leftovers(folder), wrong(folder), status == 0 and result(folder) == whole
  counts.update(
      finished=counts['kills'] * same, lost=len(gone), half_written=len(left),
      wrong_manifests=len(bad))
  faults = [f'lost {x}' for x in sorted(gone)] + [f'half written {x}' for x in left] + bad
  return counts, faults + [f'not the unkilled result, status {status}, see {log}'] * (not same)


def measure(kinds, shared):
  """Run every kind unkilled, and those that they need; return `{kind: (seconds, result)}`."""
  wholes = {}
  for name, (command, _) in stages.KINDS.items():
    if name in kinds or any(name in stages.KINDS[x][1] for x in kinds):
      log, compiled = shared / f'{name}.log', None
      while compiled != (compiled := len(list(shared.parent.glob('xla/*')))):
        shutil.rmtree(shared / name, ignore_errors=True)
        with progress.stage(f'{name}, unkilled'):
          began, status = time.monotonic(), run(command(shared, shared / name), log)
        if status:
          raise SystemExit(f'{log.read_text()[-3000:]}\nUnkilled, {name} ends with {status}.')
      wholes[name] = time.monotonic() - began, result(shared / name)
  return wholes


def torment(kinds, kills, seed, jobs, out):
  """Kill jobs of the `kinds` in turn until there are `kills`; return the counts of each kind."""
  rng, each = random.Random(seed), {x: collections.Counter() for x in kinds}
  out.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=out, prefix='jobs-') as shared, \
      concurrent.futures.ThreadPoolExecutor(jobs) as pool, \
      progress.bar('chaos', kills, 'kills') as bar:
    shared, number = pathlib.Path(shared), 0
    wholes = measure(kinds, shared)
    while (left := kills - sum(x['kills'] for x in each.values())) > 0:
      futures = {}
      while left > 0:  # A job that ends before it would be killed is followed by another one.
        kind, count = kinds[number % len(kinds)], min(left, rng.choice((1, 2)))
        seconds, whole = wholes[kind]
        moments = [rng.uniform(0, seconds) for _ in range(count)]
        folder = shared / f'{kind}-{number}'
        futures[pool.submit(job, kind, shared, folder, moments, whole)] = kind, folder
        number, left = number + 1, left - count
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
  add('--kills', type=int, default=30, help='default: %(default)s')
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
  return int(total['finished'] < args.kills or any(total[x] for x in COUNTS[2:]))


if __name__ == '__main__':
  sys.exit(main())
