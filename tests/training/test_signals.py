"""The wish to stop: which signals are one, and when it is granted."""

import os
import signal
import threading

import pytest

from vid2act_plugin.training import resume


def test_a_signal_that_another_process_of_the_job_got_first_is_waited_for(monkeypatch):
  monkeypatch.setattr(resume, 'AFTER', 0.1)
  with resume.Stop() as stop:
    assert not stop.soon()
    monkeypatch.setattr(resume, 'AFTER', 60)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    came = stop.soon()
    timer.join()  # A signal after the block would end the tests.
    assert came


@pytest.mark.parametrize('second', [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once(second, monkeypatch):
  before = signal.getsignal(signal.SIGTERM)
  with resume.Stop() as stop:
    for _ in range(3):  # As when a scheduler and our parent each send one.
      os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(resume.Stopped):
      stop.check()
    monkeypatch.setattr(resume, 'AT_ONCE', 0)
    with monkeypatch.context() as patch:  # What the system sends when our parent dies is no second wish.
      patch.setattr(resume, 'AT_ONCE', 60)
      patch.setattr(os, 'getppid', lambda: 1)
      stop.time -= 100
      try:
        for _ in range(3):
          os.kill(os.getpid(), signal.SIGTERM)
      except KeyboardInterrupt:
        pytest.fail('interrupted')
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), second)
  assert signal.getsignal(signal.SIGTERM) is before
