"""Any Gymnasium environment with one continuous action, from pixels."""

import contextlib
import functools

import numpy as np

from ..common.errors import UserError, reading
from ..common.output import say
from . import fetch, pictures, registry, spaces
from . import render as drawing

KEY = 'env.gymnasium'
SUCCESS = 'is_success', 'success'  # Names in what an environment says besides (info).
UNBOUNDED = 1e10  # Where a bound is as large, it stands for none.
WRAP = 'give it another action in an environment of your own, or choose another task'


class Gymnasium:
  """One environment in the host's Env interface.

  task: `ID` or `MODULE:ID`, where MODULE is imported first. size: height and
  width in pixels. image: see `pictures.Picture`. success: name in `info`; '' is
  `is_success` or `success` where the first step has one. make: JSON object of
  keyword arguments for `gymnasium.make`. repeat: env steps per action; limit:
  env steps per episode, which the environment itself may end sooner. render:
  `fast` draws MuJoCo's scenes without shadows and multisampling. seed: with
  `episode`, the index of the next episode, it alone is what the environment is
  reset with. Raises a `UserError` for settings that do not exist, and for an
  environment that has other actions, draws nothing, or cannot be begun.

  For behaviours of the user's: `inner` is the environment, `state` its last
  observation, and `to_unit(action)` turns an action of its into one of ours.
  """

  def __init__(
      self, task, size=(64, 64), image='', success='', make='{}', repeat=1, limit=1000,
      render='full', seed=0):
    drawing.setup_gl()
    drawing.check(size, render, 'raw', KEY)
    drawing.positive(f'{KEY}.repeat', repeat)
    drawing.positive(f'{KEY}.limit', limit)
    self.name, self.repeat, self.limit = task, repeat, limit
    self.size = tuple(size)
    self.seed, self.episode, self.done, self.success = int(seed), 0, True, ''
    self.inner = registry.make(task, make)
    with contextlib.ExitStack() as stack:
      stack.callback(self.close)
      self.space = self.inner.action_space
      self.low, self.high = bounds(self.space, task)
      with reading(
          f'The environment of the task gymnasium_{task}', 'mend it, or choose another task',
          'cannot be begun'):
        self.picture = pictures.Picture(
            self.inner, task, image, size, not registry.sized(make), render == 'fast')
        self.success = self._begin(success)
        self.told = not self.success  # In an episode, by that name.
      stack.pop_all()

  @functools.cached_property
  def obs_space(self):
    return spaces.observations(self.size, bool(self.success))

  @functools.cached_property
  def act_space(self):
    return spaces.actions(self.low.shape)

  def step(self, action):
    """Take one step, or begin an episode if asked to or if the last one is over."""
    if action['reset'] or self.done:
      return self._reset()
    act, reward, success, ended = self._own(action['action']), 0.0, False, False
    for _ in range(min(self.repeat, self.limit - self.steps)):
      self.state, gained, ended, truncated, info = self.inner.step(act.copy())
      self.steps += 1
      reward += float(gained)
      success |= succeeded(info, self.success)
      self.told |= self.success in info
      self.done = bool(ended or truncated)
      if self.done:
        break
    self.done = self.done or self.steps >= self.limit
    if self.done and not self.told:
      self._untold(info)
    return self._obs(reward, success, last=self.done, terminal=bool(ended))

  def to_unit(self, action):
    """Return an action in the environment's own units as one in [-1, 1], `[A]` float32."""
    span = np.where(self.high > self.low, self.high - self.low, 1)
    action = np.asarray(action, np.float64).reshape(-1)
    return np.clip(2 * (action - self.low) / span - 1, -1, 1).astype(np.float32)

  def expert_action(self):
    """Return what the script of a Fetch task does now, `[4]` float32 in [-1, 1]."""
    return self.to_unit(fetch.act(self.name, self.state))

  def describe(self):
    """Return the names of the GL backend and of the renderer, where they are known."""
    return self.picture.describe(self.state)

  def close(self):
    self.inner.close()

  def _own(self, action):
    """Return an action in [-1, 1] as one of the environment's, of its shape and type."""
    action = np.clip(np.asarray(action, np.float64), -1, 1)
    # The bounds themselves come out to the last bit, and where they are -1 and 1 all else too.
    action = (self.high + self.low) / 2 + action * ((self.high - self.low) / 2)
    action = np.clip(action, self.low, self.high).reshape(self.space.shape).astype(self.space.dtype)
    return np.clip(action, self.space.low, self.space.high)

  def _begin(self, name):
    """Begin an episode, take a step and draw; return where success is told, '' where it is not."""
    # Where its free camera looks, Gymnasium decides as it first draws: so the same for every seed.
    self.inner.reset(seed=0)
    self.state, _, _, _, info = self.inner.step(self._own(np.zeros(self.low.shape)))
    self.picture(self.state)
    name = name or next((x for x in SUCCESS if x in info), '')
    succeeded(info, name)
    return name

  def _reset(self):
    # Seeding every episode makes it independent of those before.
    seed = np.random.SeedSequence([self.seed, self.episode]).generate_state(1)
    self.state, _ = self.inner.reset(seed=int(seed[0] >> 1))  # Some take 31 bits.
    self.episode += 1
    self.done, self.steps = False, 0
    return self._obs(0.0, False, first=True)

  def _untold(self, info):
    """Say once that a whole episode told nothing of success: it may be told where there is some, or never."""
    self.told = True
    names = ', '.join(sorted(map(str, info))) or 'nothing'
    say(f"Note: the key {KEY}.success is '{self.success}', but gymnasium_{self.name} told nothing by that name in "
        f'an episode, at the end of which it told {names}; without it an episode is no success.')

  def _obs(self, reward, success, first=False, last=False, terminal=False):
    obs = {
        'image': self.picture(self.state),
        'reward': np.float32(reward),
        'is_first': first,
        'is_last': last,
        'is_terminal': terminal,
        'log/success': np.float32(success),
        'log/success_last': np.float32(success and last),
    }
    return {k: v for k, v in obs.items() if k in self.obs_space}


def succeeded(info, name):
  """Say whether `info` tells success under a name; '': under none."""
  value = info.get(name) if name else None
  return value is not None and bool(np.max(np.asarray(value, float)) > 0)


def bounds(space, task):
  """Return the bounds `[A]` of a space of actions, or raise a `UserError` where it is no finite Box."""
  import gymnasium
  if not isinstance(space, gymnasium.spaces.Box) or space.dtype.kind != 'f' or (
      0 in space.shape):
    raise UserError(
        f'The task gymnasium_{task} has the actions {space!r:.100}, but one continuous Box is needed; '
        f'{WRAP}.')
  low, high = (np.asarray(x, np.float64).reshape(-1) for x in (space.low, space.high))
  free = np.flatnonzero(~(np.maximum(np.abs(low), np.abs(high)) < UNBOUNDED))
  if len(free):
    shown = ', '.join(map(str, free[:8])) + ', ...' * (len(free) > 8)
    raise UserError(
        f'The task gymnasium_{task} has no bounds of its action dimensions {shown}, which -1 and 1 '
        f'would stand for; {WRAP}.')
  return low, high
