"""Processes of `gpu_workers.py`: built side by side, asked one at a time."""

import collections
import contextlib
import multiprocessing as mp
import multiprocessing.connection
import os
import signal
import time

from . import gpu_workers

LONGEST = 120  # Seconds that one answer may take.


class Workers:
  """Named workers. At most `jobs` of them are built at a time.

  `name in workers` says whether it is built and works. `errors` names what
  failed, `seconds` how long each took until it was ready.
  """

  def __init__(self, logs, jobs):
    logs.mkdir(parents=True, exist_ok=True)
    self.logs, self.jobs, self.context = logs, jobs, mp.get_context('spawn')
    self.queue, self.building, self.ready = collections.deque(), {}, {}
    self.known, self.errors, self.seconds = [], {}, {}

  def __contains__(self, name):
    return name in self.ready

  def start(self, name, kind, **settings):
    """Begin to build one, or put it in the queue."""
    self.known.append(name)
    self.queue.append((name, kind, settings))
    self._pump(0)

  def wait(self, names, seconds):
    """Wait until each is ready or has failed, at most `seconds`; the others are given up."""
    names, until = set(names), time.time() + seconds
    pending = lambda: names & {*self.building, *(x[0] for x in self.queue)}
    while pending() and time.time() < until:
      self._pump(0.5)
    for name in pending():
      self._fail(name, 'not built in time')

  def ask(self, name, method, *args):
    """Return what a worker's method returns; a worker that fails is gone."""
    return self.ask_all([name], method, *args)[0]

  def ask_all(self, names, method, *args):
    """Ask several at once."""
    for name in names:
      if name not in self.ready:
        raise RuntimeError(f'{name}: {self.errors.get(name, "not there")}')
    for name in names:
      self.ready[name][1].send((method, args))
    answers = [self._answer(x) for x in names]
    for name, answer in zip(names, answers):
      if 'error' in answer:
        raise RuntimeError(f'{name}: {answer["error"]}')
    return [x['result'] for x in answers]

  def stop(self, names=None):
    """End these, or all, and whatever they started."""
    for name in [*self.known] if names is None else [*names]:
      self.queue = collections.deque(x for x in self.queue if x[0] != name)
      for group in (self.building, self.ready):
        if name in group:
          _kill(group.pop(name)[0])

  def _answer(self, name):
    try:
      conn = self.ready[name][1]
      if not conn.poll(LONGEST):
        raise EOFError('no answer')
      answer = conn.recv()
    except (EOFError, OSError) as e:
      answer = dict(error=f'ended or stuck: {e}')
    if 'error' in answer:
      self._fail(name, answer['error'])
    return answer

  def _pump(self, seconds):
    while self.queue and len(self.building) < self.jobs:
      name, kind, settings = self.queue.popleft()
      here, there = self.context.Pipe()
      log = str(self.logs / (name.replace(' ', '-') + '.log'))
      process = self.context.Process(
          target=gpu_workers.serve, args=(there, kind, settings, log), name=name)
      process.start()
      there.close()
      self.building[name] = (process, here)
    pipes = {conn: name for name, (_, conn) in self.building.items()}
    for conn in mp.connection.wait(list(pipes), seconds):
      name = pipes[conn]
      try:
        answer = conn.recv()
      except EOFError:
        answer = dict(error='ended while it was built')
      if 'error' in answer:
        self._fail(name, answer['error'])
      else:
        self.seconds[name] = answer['ready']
        self.ready[name] = self.building.pop(name)

  def _fail(self, name, error):
    self.errors[name] = error
    self.stop([name])


def _kill(process):
  with contextlib.suppress(ProcessLookupError, PermissionError):
    if os.getpgid(process.pid) == process.pid:
      os.killpg(process.pid, signal.SIGKILL)
  process.kill()
  process.join(5)
