"""Show what is going on: live bars on a terminal, plain lines everywhere else."""

import contextlib
import sys
import threading
import time

from .output import encodes, printable, say

HEARTBEAT = 10.0  # Seconds between plain lines, whether or not anything advanced.

_lock = threading.RLock()
_live = None  # The one rich Progress: rich allows a single live display per console.
_shown = 0


@contextlib.contextmanager
def stage(title):
  """Announce a stage, and how long it took when it ends.

  Yields an object whose `seconds` is the duration, set when the block is left.
  """
  dash = '──' if encodes('─') else '--'
  say(f'{dash} {title}')
  timer = _Timer()
  ended = 'stopped after'
  try:
    yield timer
    ended = 'done in'
  finally:
    timer.seconds = timer.elapsed()
    say(f'{dash} {title}: {ended} {clock(timer.seconds)}')


def waiting(description):
  """Show that opaque work, such as compilation, is still under way."""
  return bar(description, None)


@contextlib.contextmanager
def bar(description, total, unit=''):
  """Show progress towards `total` units; `None` shows the elapsed time only.

  Yields an object with `advance(n=1)`, `set(n)` and `text(str)`, all safe to
  call from any thread.
  """
  kind = _Drawn if _terminal() else _Printed
  task = kind(description, total, unit)
  ended = 'stopped after'
  try:
    yield task
    ended = 'done in'
  finally:
    say(task.line(ended))
    task.close()


def clock(seconds):
  """Format a duration in seconds for people."""
  if seconds < 60:
    return f'{seconds:.1f} s' if seconds < 10 else f'{seconds:.0f} s'
  minutes = int(seconds) // 60
  if minutes < 60:
    return f'{minutes} min {int(seconds) % 60:02d} s'
  return f'{minutes // 60} h {minutes % 60:02d} min'


class _Timer:

  def __init__(self):
    self.began = time.monotonic()
    self.seconds = None

  def elapsed(self):
    return time.monotonic() - self.began


class _Task(_Timer):

  def __init__(self, description, total, unit):
    super().__init__()
    self.description, self.total, self.unit = printable(description), total, unit
    self.count, self.extra = 0, ''

  def advance(self, n=1):
    with _lock:
      self.count += n
      self.draw()

  def set(self, n):
    with _lock:
      self.count = n
      self.draw()

  def text(self, extra):
    with _lock:
      self.extra = printable(str(extra))
      self.draw()

  def amount(self):
    if self.total is None:
      return ''
    return f'{self.count:,}/{self.total:,} {self.unit}'.rstrip()

  def line(self, prefix=''):
    parts = (self.amount(), f'{prefix} {clock(self.elapsed())}'.strip(), self.extra)
    return f'{self.description}: ' + ', '.join(x for x in parts if x)

  def draw(self):
    pass

  def close(self):
    pass


class _Printed(_Task):
  # One thread prints, so that lines come neither more nor less often than the heartbeat.

  def __init__(self, *args):
    super().__init__(*args)
    self.ended = threading.Event()
    say(f'{self.description} ...')
    threading.Thread(target=self._beat, daemon=True).start()

  def _beat(self):
    while not self.ended.wait(HEARTBEAT):
      try:
        say(self.line())
      except (OSError, ValueError):  # Standard output was closed.
        return

  def close(self):
    self.ended.set()


class _Drawn(_Task):

  def __init__(self, *args):
    super().__init__(*args)
    global _live, _shown
    with _lock:
      if not _shown:
        _live = _display()
        _live.start()
      _shown += 1
      self.live = _live
      self.index = _live.add_task(self.description, total=self.total, amount='', extra='')
    self.draw()

  def draw(self):
    self.live.update(
        self.index, completed=self.count, amount=self.amount(), extra=self.extra)

  def close(self):
    global _live, _shown
    with _lock:
      self.live.remove_task(self.index)
      _shown -= 1
      if not _shown:
        _live.stop()
        _live = None


def _terminal():
  from rich.console import Console
  console = Console()
  # FORCE_COLOR makes rich call a log file a terminal; ours has to be one.
  return sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal and (
      encodes('⠋━'))


def _display():
  from rich import progress
  plain = lambda text: progress.TextColumn(text, markup=False)
  # Transient: a finished task leaves one ordinary line behind instead of its bar.
  return progress.Progress(
      progress.SpinnerColumn(), plain('{task.description}'), progress.BarColumn(24),
      plain('{task.fields[amount]}'), progress.TimeElapsedColumn(),
      progress.TimeRemainingColumn(), plain('{task.fields[extra]}'),
      transient=True, refresh_per_second=4)
