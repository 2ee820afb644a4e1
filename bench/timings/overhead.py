"""How much an update of vid2act costs beside one of stock DreamerV3.

Shares are parts of stock's update: what our convolutions save and what each
part of the method adds. The method alone is vid2act beside stock DreamerV3
with our convolutions.

    python -m bench.timings.overhead [--teachers N] [--rounds N]
"""

import argparse
import ctypes
import json
import os
import pathlib
import re
import subprocess
import sys

from . import measure

AIMS = {6: 1.15, 48: 1.40}
VARIANTS = {
    'stock': (), 'folded': (), 'vid2act': ('vid2act',), 'guide': ('vid2act', 'vid2act_guide')}


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--teachers', type=int, default=6, help='sources of the teacher')
  parser.add_argument('--rounds', type=int, default=8)
  parser.add_argument('--size', default='size1m', help="the host's preset")
  parser.add_argument('--memory', choices=VARIANTS, help='only print the memory of one variant')
  args = parser.parse_args()
  if args.memory:
    return print(json.dumps(_memory(args)))
  # First: what they compile, this process finds in the cache.
  memory = _children(('stock', 'vid2act'), args)
  functions, agents_ = {}, {}
  for name in VARIANTS:
    agents_[name], functions[name] = _updater(name, args)
  functions['teacher'] = _teacher(agents_['vid2act'])
  samples = measure.interleave(functions, args.rounds)
  part = {k: measure.ratio(samples, k, 'stock') for k in functions}
  shares = {
      'convolutions': part['folded'] - 1, 'teacher': part['teacher'],
      'relevance and distillation': part['vid2act'] - part['teacher'] - part['folded'],
      'guide and VAE, which are off': part['guide'] - part['vid2act']}
  measure.report(
      part['vid2act'], AIMS.get(args.teachers, AIMS[48]),
      dict(teachers=args.teachers, size=args.size, image=64, batch=[8, 32], cores=os.cpu_count()),
      samples, shares={k: round(v, 3) for k, v in shares.items()},
      method_alone=round(measure.ratio(samples, 'vid2act', 'folded'), 3), memory=memory,
      memory_ratio=round(memory['vid2act'] / memory['stock'], 3), memory_aim=1.5)


def _updater(name, args):
  from . import agents
  config = agents.configure(*VARIANTS[name], size=args.size)
  if VARIANTS[name]:
    config = config.update({'vid2act.teacher': str(agents.teacher(config, args.teachers))})
  agent = agents.build(config, folded=name == 'folded', report=False)
  return agent, agents.updater(agent)


def _teacher(agent):
  import jax

  from . import agents
  rng, shape = agents.np.random.default_rng(0), (8, 33)
  data = agent.teacher.put(dict(
      image=rng.integers(0, 256, (*shape, *agents.IMAGE), agents.np.uint8),
      action=rng.uniform(-1, 1, (*shape, agents.ACTIONS)).astype(agents.np.float32),
      is_first=agents.np.zeros(shape, bool)))
  return lambda: jax.block_until_ready(agent.teacher(data, 0))


def _memory(args):
  """Return the megabytes that a process holds at most during three updates (Linux)."""
  _, update = _updater(args.memory, args)
  update()
  ctypes.CDLL('libc.so.6').malloc_trim(0)  # What tracing and compiling left behind.
  pathlib.Path('/proc/self/clear_refs').write_text('5')  # The peak is that from here on.
  for _ in range(3):
    update()
  status = pathlib.Path('/proc/self/status').read_text()
  return int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]) * 1024 / 1e6


def _children(names, args):
  """Return the megabytes of each variant, measured in processes of their own, side by side."""
  command = [
      sys.executable, '-m', 'bench.timings.overhead', '--teachers', str(args.teachers), '--size',
      args.size]
  runs = {k: subprocess.Popen([*command, '--memory', k], stdout=subprocess.PIPE, text=True)
          for k in names}
  printed = {k: v.communicate()[0] for k, v in runs.items()}
  if failed := [k for k, v in runs.items() if v.returncode]:
    sys.exit(f'The memory of {", ".join(failed)} could not be measured: see above.')
  return {k: round(json.loads(v.splitlines()[-1])) for k, v in printed.items()}


if __name__ == '__main__':
  main()
