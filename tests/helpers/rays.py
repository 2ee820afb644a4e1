"""Rays that tests begin: with files of their own, and one at a time, as commands begin theirs."""

import contextlib
import os
import socket
import tempfile
from unittest import mock

from vid2act_plugin.common import cluster, lock


@contextlib.contextmanager
def home():
  """Keep what Rays write out of the folder that all of a machine share; a socket's path has to be short."""
  with tempfile.TemporaryDirectory(prefix='ray-', dir='/tmp', ignore_cleanup_errors=True) as folder, (
      mock.patch.dict(os.environ, RAY_TMPDIR=folder, RAY_gcs_server_port_wait_time_s='120')):
    yield folder


def beginning():
  """Hold what a command holds while its Ray begins: two at once on two cores exceed Ray's half minute."""
  return lock.locked(cluster.STARTS)


def port():
  """Return a free port that the system gives nobody who asks for any."""
  for number in range(20000 + os.getpid() % 10000, 32000):
    with contextlib.suppress(OSError), socket.create_server(('', number)):
      return number
