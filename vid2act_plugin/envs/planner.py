"""Act well in a DeepMind Control task by planning in a copy of its simulator.

The search is predictive sampling (arXiv 2212.00541): the best of many noisy
variants of the plan that is being followed becomes the plan. From iCEM
(arXiv 2008.06389) it has noise that is correlated in time, and elites that are
kept and shifted. Ours: noise of several time scales at once, a share of plans
that are new, a second, longer look ahead at some of the good plans, and a hint
where a task says no more than hit or miss.
"""

import contextlib

import numpy as np


class Planner:
  """Plan the actions of one episode.

  physics, task: dm_control's; rewards are the task's own. repeat: control
  steps per action; substeps: simulator steps per control step. low, high:
  `[A]`, the controls that the actions -1 and 1 stand for. seed: with the
  states met, it alone decides the actions.

  samples: plans tried per step; `wild`: the share of them that is new.
  horizon: seconds of every plan that are simulated; longest: seconds of the
  good ones, at most every `share`-th plan and none that earns less than the
  best by more than `slack` of it. What comes after the horizon counts with
  `weight`. knots: least and greatest distance, in seconds, between independent
  values of the noise. std, std_wild: of the noise around the best plan and of
  new plans. elites: plans kept from step to step. hint: what a step next to a
  hit-or-miss condition of the task is worth, see `hinted`.
  """

  def __init__(
      self, physics, task, repeat, seed, *, substeps, low, high, samples=64, wild=0.25,
      horizon=0.5, longest=1.2, share=4, slack=0.3, weight=0.3, knots=(0.06, 0.25), std=0.6,
      std_wild=1.5, elites=4, hint=0.1):
    self.physics, self.task, self.substeps = physics, task, repeat * substeps
    self.low, self.high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    self.samples, self.wild, self.elites = samples, wild, elites
    self.std, self.std_wild = std, std_wild
    self.share, self.slack, self.weight, self.hint = share, slack, weight, hint
    seconds = self.substeps * physics.timestep()
    self.horizon, self.longest = (max(2, round(x / seconds)) for x in (horizon, longest))
    self.knots = np.maximum(1, np.array(knots) / seconds)
    self.rng = np.random.default_rng(seed)
    # The model is shared: tasks write what differs between episodes into it.
    self.copy = physics.copy(share_model=True)
    self.plans, self.lost = np.zeros((1, self.longest - 1, len(self.low))), False

  def plan(self):
    """Return the action for the present state, `[A]` float64 in [-1, 1].

    Neither the physics nor any random state but the planner's own changes.
    """
    start = self._state(self.physics.model.ptr, self.physics.data.ptr)
    plans = self.propose()
    with hinted() as hints:
      best = self._best(start, plans, hints)
    self.plans = plans[best, 1:]
    return plans[best[0], 0].copy()

  def _best(self, start, plans, hints):
    """Return the indices of the best plans, the best first."""
    def value(state, actions):
      hints.clear()
      rewards, end = self.simulate(state, actions)
      return rewards.sum() + self.hint * sum(hints), end
    near = [value(start, x[:self.horizon]) for x in plans]
    returns = np.array([x for x, _ in near])
    # What lies further ahead is worth less, and is looked at for some of the good plans.
    order = np.argsort(-returns, kind='stable')
    good = order[returns[order] >= returns.max() - self.slack * abs(returns.max())]
    if returns.max() > 0:
      others = self.rng.permutation(good[self.elites:])
      good = np.concatenate([good[:self.elites], others])[:self.samples // self.share]
    total = np.full(len(plans), -np.inf)
    for i in good:
      ahead, _ = value(near[i][1], plans[i, self.horizon:])
      total[i] = returns[i] + self.weight * ahead
    # Stable: of equal plans the one that is being followed comes first.
    self.lost = total.max() <= 0
    return np.lexsort((-returns, -total))[:self.elites]

  def propose(self):
    """Return plans `[K, H, A]` in [-1, 1], first those kept from the step before."""
    kept = np.concatenate([self.plans, self.plans[:, -1:]], 1)
    count = self.samples - len(kept)
    wild = count if self.lost else round(self.wild * count)
    near = kept[0] + self.std * self.noise(count - wild)
    plans = np.concatenate([kept, near, self.std_wild * self.noise(wild)])
    # In single precision, as actions are executed and recorded.
    return plans.clip(-1, 1).astype(np.float32).astype(np.float64)

  def noise(self, count):
    """Return normal noise `[count, H, A]`, linear between knots.

    Each row has a distance of its own between knots, and a phase.
    """
    length = self.longest
    values = self.rng.normal(size=(count, int(length / self.knots[0]) + 3, len(self.low)))
    distance = np.exp(self.rng.uniform(*np.log(self.knots), (count, 1)))
    time = np.arange(length) / distance + self.rng.uniform(size=(count, 1))
    row, knot, share = np.arange(count)[:, None], time.astype(int), (time % 1)[..., None]
    return values[row, knot] * (1 - share) + values[row, knot + 1] * share

  def simulate(self, state, actions):
    """Return rewards `[H]` of the last control step of each of `actions` `[H, A]`, and the end.

    Those of a plan which makes the simulation unstable are 0.
    """
    import mujoco
    from dm_control.rl.control import PhysicsError
    copy, model, data = self.copy, self.copy.model.ptr, self.copy.data.ptr
    mujoco.mj_setState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_step1(model, data)  # dm_control's steps begin with the second half.
    rewards = np.zeros(len(actions))
    try:
      for i, action in enumerate(self.low + (actions + 1) / 2 * (self.high - self.low)):
        self.task.before_step(action, copy)
        copy.step(self.substeps)
        rewards[i] = self.task.get_reward(copy)
    except PhysicsError:
      rewards[:] = 0
    return rewards, self._state(model, data)

  def _state(self, model, data):
    """Return all that decides what the physics does next, `[S]` float64."""
    import mujoco
    spec = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(model, spec))
    mujoco.mj_getState(model, data, state, spec)
    return state


@contextlib.contextmanager
def hinted():
  """Yield a list that grows by one number whenever a task computes a hit-or-miss condition.

  Such a condition is a `tolerance` without margin, which is 0 however near the
  value is; the number is 1 / (1 + distance), and leads where no plan earns.
  """
  from dm_control.utils import rewards
  original, hints = rewards.tolerance, []

  def tolerance(x, bounds=(0.0, 0.0), margin=0.0, *args, **kwargs):
    if margin == 0:
      distance = np.maximum(0, np.maximum(bounds[0] - x, x - bounds[1]))
      hints.append(float(np.mean(1 / (1 + distance))))
    return original(x, bounds, margin, *args, **kwargs)

  rewards.tolerance = tolerance
  try:
    yield hints
  finally:
    rewards.tolerance = original
