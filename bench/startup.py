"""Time to the first update: a second start beside the first, and the first beside the host's own.

Each start is a process of its own that builds the agent and updates it once.
The first finds an empty compilation cache, the second what the first left; the
host's own has neither that cache nor our compiler flags.

    python bench/startup.py
"""

import argparse
import os
import subprocess
import sys
import tempfile

import measure


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--child', choices=('ours', 'host'))
  parser.add_argument('--cache', default='')
  args = parser.parse_args()
  if args.child:
    return _start(args)
  cache = tempfile.mkdtemp()
  samples = {}
  for name, kind in (('host', 'host'), ('first', 'ours'), ('second', 'ours')):
    samples |= measure.interleave({name: lambda k=kind: _child(k, cache)}, 1, 0)
  host = measure.ratio(samples, 'first', 'host')
  print(f"The first start takes {host:.2f} of the time of the host's own (aim: <= 0.8).")
  measure.report(
      measure.ratio(samples, 'second', 'first'), 0.35,
      dict(agent='stock', size='size1m', image=64, batch=[8, 32], cores=os.cpu_count()), samples,
      first_by_host=round(host, 3), first_by_host_aim=0.8)


def _child(kind, cache):
  subprocess.run(
      [sys.executable, __file__, '--child', kind, '--cache', cache], check=True,
      stdout=subprocess.DEVNULL)


def _start(args):
  import agents
  ours = args.child == 'ours'
  config = agents.configure(ours=ours, **({'vid2act.cache': args.cache} if ours else {}))
  agents.updater(agents.build(config))()


if __name__ == '__main__':
  main()
