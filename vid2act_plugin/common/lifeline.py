"""Processes that end when the one that started them is gone, also by SIGKILL.

`lifeline.py PARENT COMMAND...`, run as a script, becomes the command: what the
system sends when a parent dies is asked for by the child, and kept by exec.
`lifeline.py - COMMAND...` is the parent of the command instead.
"""

import ctypes
import os
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1


def tied(command):
  """Return `command` so that it gets SIGTERM when this process dies: a run of ours saves then.

  The system watches the thread that starts it, so that has to be the main one;
  of a parent with several threads it sends a signal for each as they die.
  """
  assert threading.current_thread() is threading.main_thread(), threading.current_thread()
  # Isolated and without site-packages, Python starts in 10 ms.
  return [sys.executable, '-I', '-S', __file__, str(os.getpid()), *map(str, command)]


def shielded(command):
  """Return `command` so that who kills our children at once, as Ray does, lets it save: it is a grandchild."""
  return [sys.executable, '-I', '-S', __file__, '-', *map(str, command)]


def follow():
  """End this worker of `multiprocessing` at once when the process that started it is gone.

  Its pipe tells, whichever thread started it and whatever the worker does.
  """
  import multiprocessing as mp
  sentinel = mp.parent_process().sentinel
  threading.Thread(target=_follow, args=(sentinel,), daemon=True).start()


def _follow(sentinel):
  from multiprocessing import connection
  connection.wait([sentinel])
  os._exit(1)


def main(parent, *command):
  """Become `command`, which the process `parent` has started, or start it."""
  if parent == '-':
    sys.exit(attend(command))
  ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
  if os.getppid() != int(parent):  # It died before we asked.
    sys.exit(128 + signal.SIGTERM)
  os.execvp(command[0], command)


def attend(command, env=None):
  """Return the status of a command, which gets the signals that we get, and the time to save.

  If we are killed, it gets SIGTERM. A signal that comes while it ends well counts as well.
  """
  import subprocess
  child, got = None, []

  def note(number, _):  # An exception raised while the child ends would lose its status, for a 0.
    got.append(number)
    if child and number == signal.SIGTERM:  # Ctrl-C reaches it as well.
      child.terminate()
  both = [x for x in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(x) != signal.SIG_IGN]
  before = {x: signal.signal(x, note) for x in both}
  try:
    child = subprocess.Popen(tied(command), env=env)
    for number in got:  # Before there was a child to get them.
      child.send_signal(number)
    status = child.wait()
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
  if status:
    return status if status > 0 else 128 - status  # As a shell has it: 143 after SIGTERM.
  return 128 + got[0] if got else 0


if __name__ == '__main__':
  main(*sys.argv[1:])
