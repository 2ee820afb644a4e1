"""Is every input, however bad, either read correctly or refused in one sentence?

Inputs of every kind are spoiled and read in a process of its own, with little
memory and a deadline for each; nothing but valid recordings may be left behind.
The last line of the output is a JSON object with `inputs`, `read`, `refused`,
`tracebacks` (whatever else happened, too much memory and crashes included) and
`hangs`; status 1 if there are any of the last two, whose inputs are kept in OUT.

    python -m bench.robustness.fuzz [--inputs 1000] [--seed N] [--only KIND...] [--out DIR]
"""

import argparse
import collections
import contextlib
import importlib
import json
import multiprocessing
import os
import pathlib
import resource
import shutil
import tempfile
import traceback

import hypothesis

from . import bad, kinds

DEADLINE = 30  # Seconds for one input, on a busy machine.
MEMORY = 2 ** 30  # Bytes that reading one input may take.


def judge(kind, files, root):
  """Write an input below `root`, read it, and return the verdict and its reasons."""
  from dreamerv3.plugins import PluginError

  from vid2act_plugin.common.errors import UserError
  from vid2act_plugin.sources.report import PARTIAL
  folder = root / 'input'
  write(folder, files)
  before = peak(reset=True)
  try:
    try:
      with contextlib.redirect_stdout(open(os.devnull, 'w')):
        kinds.KINDS[kind][1](folder)
      verdict = 'read', ''
    except (UserError, PluginError) as e:
      wrong = kinds.faults(str(e), folder, () if kind in kinds.NAMELESS else files)
      assert not wrong, f'{wrong}: {e!s:.2000}'
      verdict = 'refused', str(e)
    except SystemExit as e:  # What a parser of command lines prints is a sentence as well.
      assert e.code in (None, 0, 1, 2, PARTIAL) and kind in kinds.NAMELESS, e.code
      verdict = 'refused', 'by the parser'
    taken = peak() - before
    assert taken < MEMORY, f'reading took {taken / 1e6:.0f} MB'
    plain = {k: v for k, v in files.items() if v not in bad.SPECIAL}
    left = {str(x.relative_to(root)) for x in root.rglob('*') if x.is_file() and not x.is_symlink()}
    assert left == {f'input/{x}' for x in plain}, f'it left {left} behind'
    assert kinds.load(folder) == plain, 'it changed its input'
    return verdict
  except BaseException:
    return 'tracebacks', traceback.format_exc()[-4000:]
  finally:
    shutil.rmtree(folder)


def write(folder, files):
  """Write an input; what is in `bad.SPECIAL` becomes no regular file."""
  folder.mkdir(parents=True, exist_ok=True)
  for name, content in files.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    make = bad.SPECIAL.get(content)
    make(folder / name) if make else (folder / name).write_bytes(content)


def peak(reset=False):
  """Return the largest resident size of this process since the last reset, in bytes."""
  if reset:
    pathlib.Path('/proc/self/clear_refs').write_text('5')
  line = next(x for x in open('/proc/self/status') if x.startswith('VmHWM'))
  return int(line.split()[1]) * 1024


def serve(pipe):
  """Judge inputs in a process of its own until there are no more."""
  for name in ('av', 'h5py', 'minari', 'pyarrow.dataset', 'dreamerv3', 'jax',
               'vid2act_plugin.sources.dataset', 'vid2act_plugin.teacher.from_runs'):
    importlib.import_module(name)  # Before memory is limited.
  used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
  resource.setrlimit(resource.RLIMIT_AS, (used + 4 * 2 ** 30,) * 2)
  with tempfile.TemporaryDirectory() as root:
    os.chdir(root)
    pipe.send('ready')
    with contextlib.suppress(EOFError):
      while True:
        pipe.send(judge(*pipe.recv(), pathlib.Path(root)))


class Judge:
  """The process that judges, started anew after a crash or a hang."""

  def __init__(self):
    self.start()

  def start(self):
    context = multiprocessing.get_context('spawn')
    self.pipe, theirs = context.Pipe()
    self.process = context.Process(target=serve, args=(theirs,), daemon=True)
    self.process.start()
    theirs.close()
    assert self.pipe.recv() == 'ready'

  def __call__(self, kind, files):
    self.pipe.send((kind, files))
    try:
      if self.pipe.poll(DEADLINE):
        return self.pipe.recv()
      verdict = 'hangs', f'no end after {DEADLINE} s'
    except EOFError:
      self.process.join()
      verdict = 'tracebacks', f'the process died with status {self.process.exitcode}'
    self.close()
    self.start()
    return verdict

  def close(self):
    self.pipe.close()
    self.process.kill()
    self.process.join()


def spoil(kind, files, count, seed, fn):
  """Call `fn` with about `count` spoiled copies of an input."""
  @hypothesis.seed(seed)
  @hypothesis.settings(
      max_examples=count, database=None, deadline=None, phases=[hypothesis.Phase.generate],
      suppress_health_check=list(hypothesis.HealthCheck))
  @hypothesis.given(bad.spoiled(files, kinds.KINDS[kind][2]))
  def attempt(spoiled):
    fn(spoiled)
  attempt()


def main(argv=None):
  """Run the command line and return the status."""
  from vid2act_plugin.common import progress
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  add = parser.add_argument
  add('--inputs', type=int, default=1000, help='default: %(default)s')
  add('--seed', type=int, default=0, help='default: %(default)s')
  add('--only', nargs='+', choices=kinds.KINDS, default=list(kinds.KINDS), metavar='KIND',
      help=', '.join(kinds.KINDS))
  add('--out', type=pathlib.Path, default=pathlib.Path('runs') / 'fuzz',
      help='gets inputs that fail')
  args = parser.parse_args(argv)
  if args.inputs < len(args.only):
    parser.error(f'argument --inputs: {args.inputs} is less than one for each of {len(args.only)} kinds (--only)')
  counts, each = collections.Counter(), collections.defaultdict(collections.Counter)
  judged = Judge()
  with progress.bar('fuzz', args.inputs, 'inputs') as bar:
    for i, kind in enumerate(args.only):
      def attempt(files, kind=kind):
        verdict, reason = judged(kind, files)
        counts[verdict] += 1
        each[kind][verdict] += 1
        if verdict not in ('read', 'refused'):
          keep(args.out / f'{kind}-{sum(each[kind].values())}', files, reason)
          print(f'{kind}: {reason}')
        bar.advance()
        bar.text(kind)
      files, left = kinds.make(kind), args.inputs - sum(counts.values())
      spoil(kind, files, left // (len(args.only) - i), args.seed, attempt)
  judged.close()
  print(json.dumps(dict(
      inputs=sum(counts.values()), **{k: counts[k] for k in ('read', 'refused', 'tracebacks',
          'hangs')},
      kinds={k: dict(v) for k, v in each.items()})))
  return int(counts['tracebacks'] + counts['hangs'] > 0)


def keep(folder, files, reason):
  """Write an input that failed, and why."""
  shutil.rmtree(folder, ignore_errors=True)
  write(folder, files)
  (folder / 'reason.txt').write_text(reason)


if __name__ == '__main__':
  raise SystemExit(main())
