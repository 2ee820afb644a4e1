"""Which source, or the policy itself, is worth carrying out: what their episodes have earned.

Axes: E episodes begun so far, N sources.
"""

import numpy as np

POLICY = -1  # In place of a source.
NOBODY = -2  # The same, of episodes that a killed run began and of which the replay alone knows.
NONE = 0  # The number of no episode; they are counted from 1.
RECENT = 10  # Episodes by which the policy is judged, which changes; sources do not.


class Ledger:
  """What every training episode was carried out by, and what it has earned.

  by: `[E + 1]` a source's index or `POLICY`; gained: `[E + 1]` the return, NaN
  before the end and where a run was interrupted; won: `[E + 1]` whether it succeeded, 0 or 1, NaN
  where the environment does not tell; place 0 is `NONE`.
  """

  def __init__(self):
    self.by, self.gained, self.won = np.array([POLICY]), np.array([np.nan]), np.array([np.nan])

  def begin(self, source):
    """Note an episode carried out by `source` and return its number."""
    self.by = np.append(self.by, source)
    self.gained, self.won = (np.append(x, np.nan) for x in (self.gained, self.won))
    return len(self.by) - 1

  def end(self, number, gained):
    self.gained[number] = gained

  def tell(self, number, success):
    """Note what the environment says of the success of one step of an episode."""
    self.won[number] = np.fmax(self.won[number], success > 0)

  def skip(self, number):
    """Give none of the numbers up to `number` to an episode from now on, as the replay has them already."""
    lost = max(0, number + 1 - len(self.by))
    self.by = np.append(self.by, [NOBODY] * lost).astype(self.by.dtype)
    self.gained, self.won = (np.append(x, [np.nan] * lost) for x in (self.gained, self.won))

  def earned(self, source):
    """Return what the ended episodes of a source have earned, of the policy the last ones."""
    found = self.gained[(self.by == source) & ~np.isnan(self.gained)]
    return found[-RECENT:] if source == POLICY else found

  def choose(self, candidates, rng):
    """Return one of `candidates` by Thompson sampling.

    Returns are taken as Gaussian. With m and s the mean and standard deviation of all episodes,
    the mean of a candidate that has earned g in n episodes is drawn from
    N((m + sum g) / (n + 1), s^2 / (n + 1)). While all have earned the same, so that s is 0, the one that was tried least is chosen.
    """
    every = self.gained[~np.isnan(self.gained)]
    std = every.std() if len(every) else 0.0
    drawn = []
    for source in candidates:
      n = len(self.earned(source)) + 1
      value = self._mean(source) + std / np.sqrt(n) * rng.standard_normal()
      begun = np.sum(self.by[1:] == source)
      drawn.append((value, -begun, rng.random()))
    return candidates[max(range(len(candidates)), key=lambda i: drawn[i])]

  def best(self, candidates):
    """Return who has earned most, with means drawn towards that of all as in `choose`.

    A source that has ended no episode, or of which the environment told no success, is none of them.
    """
    good = self.by[~np.isnan(self.gained) & (self.won != 0)]
    tried = [k for k in candidates if k == POLICY or k in good]
    return max(tried, key=lambda k: (self._mean(k), k == POLICY))

  def merit(self):
    """Return how far every source's episode earned more than the policy does, `[E + 1]` float32 in [0, 1].

    The best one has 1; those that earned no more, did not succeed where the environment tells, have not ended, or
    are the policy's own have 0: with dense rewards, who never reaches the goal may earn more than a policy that is new,
    and is a detour.
    """
    gained = np.where((self.by == POLICY) | (self.won == 0), np.nan, self.gained)
    mean = self._mean(POLICY)
    most = np.nanmax(gained, initial=mean)
    if most <= mean:
      return np.zeros(len(gained), np.float32)
    return np.clip(np.nan_to_num((gained - mean) / (most - mean)), 0, 1).astype(np.float32)

  def _mean(self, source):
    """Return what an episode of the source earns: the mean of its own and of one more, which earned that of all."""
    every, earned = self.gained[~np.isnan(self.gained)], self.earned(source)
    return ((every.mean() if len(every) else 0.0) + earned.sum()) / (len(earned) + 1)

  def save(self):
    return dict(by=self.by, gained=self.gained, won=self.won)

  def load(self, data):
    self.by, self.gained = np.array(data['by']), np.array(data['gained'], float)
    self.won = np.array(data.get('won', self.gained * np.nan), float)  # Earlier versions were not told.
