"""With this folder on the Python path, a process's clock is behind by as many seconds as `CLOCK` says."""

import os
import time

CLOCK = 'VID2ACT_CHAOS_CLOCK'


def put_back(seconds):
  import datetime

  from elements import utils  # It names checkpoints and chunks of the replay.
  real, present = utils.datetime, time.time

  class Behind(real):
    """What `elements` takes for `datetime`."""

    @classmethod
    def now(cls, zone=None):
      return real.now(zone) - datetime.timedelta(seconds=seconds)

  utils.datetime, time.time = Behind, lambda: present() - seconds


if float(os.environ.get(CLOCK) or 0):
  put_back(float(os.environ[CLOCK]))
