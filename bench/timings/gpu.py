"""What a GPU machine does with vid2act and with stock DreamerV3; one JSON object.

    python bench/timings/gpu.py [--out FILE] [--seconds N] [--platform cpu] [--quick]

Sections come in order of worth, and FILE is written after each. One that would
begin after N seconds is left out and named under `skipped`; what goes wrong in
one is named under `errors` and ends nothing else. Timings of a size are
from processes that take turns; ratios are medians over rounds. With
`--platform cpu --quick` every section runs at the smallest size.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(os.path.abspath(__file__)).parents[2]
sys.path.insert(0, str(ROOT))  # A script finds only its own folder.

from bench.timings import gpu_figures as figures  # noqa: E402
from bench.timings.gpu_processes import Workers  # noqa: E402
from vid2act_plugin.common import files  # noqa: E402

CPU_YAML = 'ablations/cpu.yaml'
TASKS = ('door-close', 'handle-press', 'window-close')


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--out', type=pathlib.Path, default=pathlib.Path('gpu.json'))
  parser.add_argument('--seconds', type=float, default=450)
  parser.add_argument('--platform', choices=('cuda', 'cpu'), default='cuda')
  parser.add_argument('--quick', action='store_true')
  parser.add_argument('--logs', type=pathlib.Path, help='folder for what the processes print')
  print(json.dumps(Bench(parser.parse_args()).run()))


class Bench:
  """All sections, and what they have found so far."""

  def __init__(self, args):
    self.args, self.quick, self.began = args, args.quick, time.time()
    self.few, self.many = (2, 3) if args.quick else (6, 48)
    self.paths, self.sizes = {}, ('size12m', 'size1m', 'size50m')
    self.found = dict(settings=dict(
        platform=args.platform, quick=args.quick, seconds=args.seconds,
        batch=[2, 8] if args.quick else [16, 64], teachers=[self.few, self.many]),
        skipped=[], errors={})
    logs = args.logs or pathlib.Path(tempfile.mkdtemp())
    os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', tempfile.mkdtemp())
    self.workers = Workers(logs, max(1, (os.cpu_count() or 2) // (2 if self.quick else 1)))

  def run(self):
    """Run all sections and return what was found."""
    for name, section in {
        'device': self.device, 'equality': self.equality, 'size12m': lambda: self.size('size12m'),
        'frames': self.frames, 'loop': self.loop, 'size1m': lambda: self.size('size1m'),
        'small': self.small, 'size50m': lambda: self.size('size50m')}.items():
      if self.left() <= 0:
        self.found['skipped'].append(name)
        continue
      print(f'{time.time() - self.began:.0f} s: {name}', flush=True)
      try:
        self.found[name] = section()
      except Exception as e:
        traceback.print_exc()
        self.found['errors'][name] = f'{type(e).__name__}: {e}'[:500]
      self.write()
    self.workers.stop()
    self.found['seconds'] = round(time.time() - self.began, 1)
    self.write()
    return self.found

  def left(self):
    return self.args.seconds - (time.time() - self.began)

  def wait(self, names):
    """Wait until these are built, within the budget and not for ever."""
    self.workers.wait(names, min(self.left(), 1800 if self.quick else 180))

  def write(self):
    """Put what was found into --out."""
    self.found['errors'].update(self.workers.errors)
    self.found['built_in_seconds'] = self.workers.seconds
    with files.atomic_write(self.args.out) as part:
      part.write_text(json.dumps(self.found, indent=1) + '\n')

  def device(self):
    """Describe the machine, and start whatever the first sections need."""
    self._start_first()
    return figures.device()

  def equality(self):
    """Return the relative differences of one update's losses and gradients, GPU beside CPU."""
    names = ('grads cpu', 'grads here', 'grads default')
    self.wait(names)
    cpu, here, default = (self.workers.ask(x, 'get') if x in self.workers else None for x in names)
    self.workers.stop(names)
    return dict(
        dtype='float32', highest=figures.differences(here, cpu),
        default_precision=figures.differences(default, cpu))

  def size(self, size):
    """Time updates, policy steps and pretraining updates of one size, in turns."""
    names = ('stock', f'vid2act {self.few}', f'vid2act {self.many}', 'pretrain')
    names = {x: f'{size} {x}' for x in names}
    self.wait(names.values())
    names = {k: v for k, v in names.items() if v in self.workers}
    rounds, updates, acts = (2, 1, 2) if self.quick else (12, 5, 50)
    agents = {k: v for k, v in names.items() if k != 'pretrain'}
    taught = {k: v for k, v in agents.items() if k != 'stock'}
    timed = {
        'update': figures.timings(self._turns(names, 'update', updates, rounds)),
        'policy': figures.timings(self._turns(agents, 'policy', acts, rounds)),
        'teacher': figures.timings(self._turns(taught, 'teach', updates, rounds))}
    memory = {k: self.workers.ask(v, 'memory') for k, v in names.items() if v in self.workers}
    self.workers.stop(names.values())
    return dict(**timed, peak_megabytes=memory)

  def frames(self):
    """Return images per second of Meta-World, drawn alone and with a step of the simulator."""
    self.wait(['frames'])
    ask, count = self.workers.ask, 5 if self.quick else 100
    result = dict(tasks=list(TASKS), size=64, renderer=ask('frames', 'describe'))
    for kind in ('images', 'steps'):
      result[f'{kind}_per_second'] = {
          quality: round(1 / statistics.mean(
              min(ask('frames', kind, x, quality, count) for _ in range(3)) for x in TASKS), 1)
          for quality in ('full', 'fast')}
    self.workers.stop(['frames'])
    self._start_second()
    return result

  def loop(self):
    """Return env steps per second of the whole run script, stock and vid2act in turns."""
    names = {x: f'loop {x}' for x in ('stock', f'vid2act {self.few}')}
    self.wait(self.workers.known)  # All that is under way, so that nothing else uses the cores.
    seconds, rates, updates = 2 if self.quick else 5, {}, {}
    for _ in range(2 if self.quick else 4):
      for name, worker in names.items():
        if worker in self.workers:
          steps, made, took = self.workers.ask(worker, 'run', seconds)
          rates.setdefault(name, []).append(steps / took)
          updates.setdefault(name, []).append(made / took)
    memory = {k: self.workers.ask(v, 'memory') for k, v in names.items() if v in self.workers}
    self.workers.stop(names.values())
    mean = lambda x: {k: round(statistics.mean(v), 2) for k, v in x.items()}
    return dict(
        task='metaworld_door-lock', envs=1, train_ratio=256, render='full',
        env_steps_per_second=mean(rates), updates_per_second=mean(updates), peak_megabytes=memory,
        rounds={k: [round(x, 1) for x in v] for k, v in rates.items()},
        rate_ratio=figures.ratios(rates))

  def small(self):
    """Return the env steps per second of 1, 4 and 8 whole runs of the smallest study at once."""
    counts = (1, 2) if self.quick else (1, 4, 8)
    names = [f'small {i}' for i in range(counts[-1])]
    self._start_small(names)
    self.wait(names)
    names, result = [x for x in names if x in self.workers], {}
    for count in (x for x in counts if x <= len(names)):
      with contextlib.suppress(RuntimeError):  # It is among the errors.
        runs = self.workers.ask_all(names[:count], 'run', 2 if self.quick else 8)
        result[count] = dict(
            env_steps_per_second=round(sum(s / t for s, _, t in runs), 1),
            updates_per_second=round(sum(u / t for _, u, t in runs), 1))
    memory = [self.workers.ask(x, 'memory') for x in names if x in self.workers]
    self.workers.stop(names)
    return dict(settings=CPU_YAML, method='vid2act', runs=result, peak_megabytes=memory)

  def _turns(self, names, method, count, rounds):
    timed = {k: [] for k in names}
    for _ in range(rounds):
      for name, worker in names.items():
        if worker in self.workers:
          timed[name].append(self.workers.ask(worker, method, count))
    return {k: v for k, v in timed.items() if v}

  def _start_first(self):
    tiny, size = dict(tiny=self.quick), 'size12m'
    for name in self.sizes:
      for sources in (self.few, self.many):
        self.workers.start(f'teacher {name} {sources}', 'teacher', platform='cpu', size=name,
                           sources=sources, **tiny)
    self.workers.start('teacher small', 'teacher', platform='cpu', size='small', sources=self.few,
                       image=(32, 32, 3), ablation=_ablation(), **tiny)
    self._start_size(size, teachers=False)
    self.workers.start('frames', 'frames', tasks=TASKS)
    teachers = [x for x in self.workers.known if x.startswith('teacher')]
    self.wait(teachers)
    self.paths.update({x: self.workers.ask(x, 'path') for x in teachers if x in self.workers})
    self.workers.stop(teachers)
    self._start_size(size, stock=False)
    same = dict(teacher=self.paths[f'teacher size1m {self.few}'], **tiny)
    here = self.args.platform
    self.workers.start('grads cpu', 'grads', platform='cpu', **same)
    self.workers.start('grads here', 'grads', platform=here, **same)
    self.workers.start('grads default', 'grads', platform=here, precision='default', **same)

  def _start_second(self):
    shared = dict(platform=self.args.platform, tiny=self.quick)
    self.workers.start('loop stock', 'loop', overlays=('metaworld',), **shared)
    if path := self.paths.get(f'teacher size12m {self.few}'):
      self.workers.start(f'loop vid2act {self.few}', 'loop', overlays=('vid2act', 'metaworld'),
                         teacher=path, **shared)
    for size in self.sizes[1:]:
      self._start_size(size)

  def _start_size(self, size, stock=True, teachers=True):
    shared = dict(platform=self.args.platform, size=size, tiny=self.quick)
    if stock:
      self.workers.start(f'{size} stock', 'train', **shared)
      self.workers.start(f'{size} pretrain', 'pretrain', **shared)
    for sources in (self.few, self.many) if teachers else ():
      if path := self.paths.get(f'teacher {size} {sources}'):
        self.workers.start(f'{size} vid2act {sources}', 'train', overlays=('vid2act',),
                           teacher=path, **shared)

  def _start_small(self, names):
    for i, name in enumerate(names):
      self.workers.start(
          name, 'loop', platform=self.args.platform, ablation=_ablation(), overlays=('vid2act',),
          teacher=self.paths['teacher small'], changes=(('seed', i),),
          tiny=self.quick)


def _ablation():
  from vid2act_plugin.common.resources import data
  return str(data('configs') / CPU_YAML)


if __name__ == '__main__':
  main()
