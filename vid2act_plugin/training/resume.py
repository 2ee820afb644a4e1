"""What a run needs to be stopped between two steps, and to continue from there."""

import collections
import contextlib
import os
import pathlib
import re
import signal
import threading
import time
import zipfile

from ..common.errors import UserError, differences
from ..common.output import note, say
from ..envs import suites
from ..host import checkpoints, internals
from . import chunks, start

MODEL = re.compile(r'agent\.(enc|dyn|policy)\.')  # What a policy acts by.
SIGNALS = (signal.SIGINT, signal.SIGTERM)
AT_ONCE = 2.0  # Seconds in which several SIGTERMs are one wish.
AFTER = 1.0  # Seconds by which our signal may come after that of another process of the job.


class Stop:
  """A wish to stop, by Ctrl-C or SIGTERM: noted inside the `with` block, granted by `check`.

  A second signal interrupts at once, as Python does without this. SIGTERM is
  sent by programs, and to all of a job's processes: our parent may pass its own
  on, and when it dies, which may be later, the system sends us one for each of
  its threads.
  others: returns the signal that another process of the run got, if any.
  """

  def __init__(self, others=lambda: None):
    self.signal, self.time, self.before, self.others = None, 0.0, {}, others
    self.parent = os.getppid()

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      self.before = {x: signal.signal(x, self._ask) for x in SIGNALS}
    return self

  def __exit__(self, *error):
    for number, handler in self.before.items():
      signal.signal(number, handler)

  def check(self):
    """Raise `Stopped` if a signal came."""
    self.signal = self.signal or self.others()
    if self.signal:
      raise Stopped

  def soon(self):
    """Say whether a signal came, or comes at once: of all of a job's processes one may get it before us."""
    until = time.monotonic() + AFTER
    while not self.signal and time.monotonic() < until:
      time.sleep(0.05)
    return bool(self.signal)

  def save(self, cp, what):
    """Save the checkpoint `cp`, say how to continue, and leave with the status of the signal."""
    cp.save()
    say(f'Stopped and saved after {what}; repeat the command to continue from there.')
    raise SystemExit(128 + self.signal) from None

  def _ask(self, number, frame):
    if number == signal.SIGTERM and self.signal and os.getppid() != self.parent:
      self.parent, self.signal, self.time = os.getppid(), number, time.monotonic()
    if number == self.signal == signal.SIGTERM and time.monotonic() < self.time + AT_ONCE:
      return
    if self.signal:
      raise KeyboardInterrupt
    self.signal, self.time = number, time.monotonic()
    # Not print, which cannot be called again from inside itself.
    os.write(1, b'\nStopping after this step; a second signal stops at once, without saving.\n')


class Stopped(Exception):
  """The run was asked to stop, and this is a place for it."""


class Place:
  """Where a run loop is, apart from its step: saved in a checkpoint as `place`.

  ratio: the host's `Ratio`. `evaluated`: evaluations that were due until the
  last one made; `begun`: how many episodes each training environment began.
  start: when this command began, as of `time.time`, now by default; stages: seconds that its stages took.
  """

  def __init__(self, ratio, start=None, stages=()):
    self.ratio, self.evaluated, self.begun = ratio, -1, collections.Counter()
    self.start, self.stages = start or time.time(), collections.Counter(stages)

  def add(self, tran, worker):
    self.begun[worker] += int(tran['is_first'])

  def save(self):
    return dict(
        prev=internals.ratio(self.ratio), evaluated=self.evaluated, begun=dict(self.begun), spent=self.spent())

  def spent(self):
    """Return seconds of every stage and of training, those of the commands that this one continues as well."""
    found = {**self.stages, 'train': self.stages['train'] + time.time() - self.start}
    return {k: round(v, 1) for k, v in found.items()}

  def load(self, data):
    prev, self.evaluated = data['prev'], int(data['evaluated'])
    internals.set_ratio(self.ratio, prev if prev is None else float(prev))
    self.begun.update({int(k): int(v) for k, v in data['begun'].items()})
    self.stages.update({k: float(v) for k, v in data.get('spent', {}).items()})  # Earlier versions did not tell.


def load_or_save(cp, logdir, keys=('step', 'agent', 'replay'), agreed=bool):
  """Load the newest checkpoint of the run, or save its first one.

  Loads `keys` and, if it is there, `place`, which the host's own loops do not
  save; returns whether it is. agreed: whether there is a checkpoint, for all processes that look
  before one writes. What a killed run did not write to its end is
  left out: chunks of the replay, and the name in `latest`. Raises a `UserError`
  where the folder that `latest` names is not whole.
  """
  _discard(logdir / 'replay')
  _end_lines(pathlib.Path(str(logdir)))
  root = logdir / 'ckpt'
  folder = checkpoints.latest(root)
  if not agreed(bool(folder)):
    cp.save()
    return True
  if not checkpoints.whole(folder):
    raise UserError(
        f"{root / 'latest'} names '{folder.name}', which is not a whole checkpoint; write the name "
        f'of one in {root} that has a file `done` into it, or choose another --logdir.')
  known = checkpoints.holds(folder, 'place')
  cp.load(folder, keys=[*keys, *['place'] * known])
  return known


def compare(config, folder):
  """Note where a checkpoint's run was begun with another task, settings of its suite, or model than it is evaluated with.

  Sizes that do not fit are refused as it is loaded; with another activation, say, the same weights are another policy.
  """
  run, before, now = folder.parent.parent, {}, config.flat
  if folder.parent.name in checkpoints.FOLDERS:
    with contextlib.suppress(UserError):  # The checkpoint alone is needed.
      before = start.begun(run)
  suite, then = config.task.split('_')[0], before.get('task', config.task)
  # `use_seed` chooses episodes, as `seed` does, and changes nothing else.
  changed = [k for k in now if k.startswith(f'env.{suite}.') and not k.endswith('.use_seed') and (
      k in before and before[k] != now[k])]
  if suites.plain(then) != suites.plain(config.task):
    changed = ['task', *changed * then.startswith(f'{suite}_')]
  changed += [k for k in now if MODEL.match(k) and k in before and before[k] != now[k]]
  if changed:
    note(f"Note: the run {run} was begun with {differences(changed, before, 'this evaluation', now)}; give the former "
         'to evaluate it as it was trained.')


def _discard(folder):
  """Remove chunks of a replay that were not written to their end, which no checkpoint needs."""
  for path in folder.glob('*.npz'):
    if chunks.NAME.fullmatch(path.name) and not zipfile.is_zipfile(str(path)):
      note(f'Removed {path}, which a killed run did not write to its end.')
      path.remove()


def _end_lines(folder):
  """End the last line of each log where a killed run did not, so that it spoils no other one."""
  for path in folder.glob('*.jsonl'):
    if path.is_file() and path.stat().st_size:
      with open(path, 'rb+') as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b'\n':
          file.write(b'\n')
