"""Time to the first update of vid2act: a second start beside the first.

Each start is a process of its own that builds the agent and updates it once.
The first finds an empty compilation cache, the second what the first left.
Beside it, stock DreamerV3's first start with our settings and as it comes: the
latter has neither that cache nor our compiler flags.

    python -m bench.timings.startup
"""

import argparse
import os
import subprocess
import sys
import tempfile

from . import measure

STARTS = {'host': 'host', 'stock': 'stock', 'first': 'vid2act', 'second': 'vid2act'}


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--child', choices=('host', 'stock', 'vid2act'))
  parser.add_argument('--cache', default='')
  parser.add_argument('--teacher', default='')
  args = parser.parse_args()
  if args.child:
    return _start(args)
  environ = dict(os.environ)  # Before our compiler flags are in it.
  from . import agents
  flags = ['--cache', tempfile.mkdtemp(), '--teacher', agents.teacher(agents.configure(), 6)]
  starts = {k: lambda v=v: _child(v, flags, environ) for k, v in STARTS.items()}
  samples = measure.interleave(starts, 1, 0)
  host = measure.ratio(samples, 'stock', 'host')
  print(f"Stock's first start takes {host:.2f} of the time of the host's own (aim: <= 0.8).")
  measure.report(
      measure.ratio(samples, 'second', 'first'), 0.35,
      dict(teachers=6, size='size1m', image=64, batch=[8, 32], cores=os.cpu_count()), samples,
      first_by_host=round(host, 3), first_by_host_aim=0.8)


def _child(kind, flags, environ):
  subprocess.run(
      [sys.executable, '-m', 'bench.timings.startup', '--child', kind, *flags], check=True,
      stdout=subprocess.DEVNULL, env=environ)


def _start(args):
  from . import agents
  changes = {} if args.child == 'host' else {'vid2act.cache': args.cache}
  overlays = ()
  if args.child == 'vid2act':
    overlays, changes['vid2act.teacher'] = ('vid2act',), args.teacher
  config = agents.configure(*overlays, ours=args.child != 'host', **changes)
  agents.updater(agents.build(config))()


if __name__ == '__main__':
  main()
