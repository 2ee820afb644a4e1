"""Act well in a DeepMind Control task by planning in a copy of its simulator.

The search is predictive sampling (arXiv 2212.00541), begun in every step from
the best plan of the step before, with two things of iCEM (arXiv 2008.06389):
noise that is correlated in time, and elites that are kept and shifted.
"""

import contextlib

import numpy as np


class Planner:
  """Plan the actions of one episode.

  physics, task: dm_control's; the rewards are the task's own. repeat: control
  steps per action; substeps: of the simulator per control step. low, high:
  `[A]`, what the actions -1 and 1 stand for. samples: plans tried per step,
  share `wild` of them new and not near the best known. horizon, longest,
  knot: seconds planned ahead, at most so when no plan earns anything, and
  between two independent values of the noise. std: of the noise, in actions;
  wild plans have `std_wild`. elites: plans kept from step to step.
  """

  def __init__(
      self, physics, task, repeat, seed, *, substeps, low, high, samples=40, wild=0.2,
      horizon=0.5, longest=2.0, knots=(0.06, 0.25), hint=0.1, beyond=0.5, std=0.6, std_wild=1.5, elites=4):
    import mujoco
    self.physics, self.task, self.repeat, self.substeps = physics, task, repeat, substeps
    self.low, self.high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    self.samples, self.wild, self.elites = samples, wild, elites
    self.std, self.std_wild = std, std_wild
    seconds = repeat * substeps * physics.timestep()
    self.shortest, self.longest = (max(2, round(x / seconds)) for x in (horizon, longest))
    self.knots = np.maximum(1, np.array(knots) / seconds); self.advance = euler if physics.model.opt.integrator != 1 else other; self.hint=hint; self.beyond=beyond
    self.rng = np.random.default_rng(seed)
    self.spec = mujoco.mjtState.mjSTATE_INTEGRATION
    self.state = np.empty(mujoco.mj_stateSize(physics.model.ptr, self.spec))
    self.sim = physics.copy(share_model=True)
    self.plans = np.zeros((1, self.shortest, len(self.low)))
    self.lost = False

  def plan(self):
    """Return the action for the present state, `[A]` float64 in [-1, 1].

    Neither the physics nor any random state but the planner's own changes.
    """
    import mujoco
    mujoco.mj_getState(self.physics.model.ptr, self.physics.data.ptr, self.state, self.spec)
    plans = self.propose()
    returns = []; earn=[]
    with hinting() as hints:
      for plan in plans:
        hints[0] = 0.0
        r=self.rewards(plan); n=len(r)//4; earn.append(r.sum()); returns.append(r.sum() + r[-n:].mean()*self.beyond/(self.substeps*self.physics.timestep()) + self.hint * hints[0])
    returns = np.array(returns)
    # Stable: among equals the plan that is being followed comes first.
    best = np.argsort(-returns, kind='stable')[:self.elites]
    # No plan is better than another where all rewards are out of reach: look further ahead.
    self.lost = max(earn) <= 0
    self.plans = plans[best, 1:]
    return plans[best[0], 0].copy()

  def propose(self):
    """Return plans `[K, H, A]` in [-1, 1], first those kept from the step before."""
    length = self.plans.shape[1]
    if self.lost:
      length = min(length + max(1, self.shortest // 4), self.longest)
    length = max(length, self.shortest)
    kept = np.pad(self.plans, ((0, 0), (0, length - self.plans.shape[1]), (0, 0)), 'edge')
    count = self.samples - len(kept)
    wild = count if self.lost else round(self.wild * count)
    near = kept[0] + self.std * self.noise(count - wild, length)
    plans = np.concatenate([kept, near, self.std_wild * self.noise(wild, length)])
    # Single precision, because the actions are executed and recorded so.
    return plans.clip(-1, 1).astype(np.float32).astype(np.float64)

  def noise(self, count, length):
    """Return normal noise `[count, length, A]`, linear between knots of random distance and phase."""
    shape = (count, int(length / self.knots[0]) + 3, len(self.low))
    values, phase = self.rng.normal(size=shape), self.rng.uniform(size=(count, 1))
    distance = np.exp(self.rng.uniform(*np.log(self.knots), (count, 1)))
    time = np.arange(length) / distance + phase
    index, share = time.astype(int), (time % 1)[..., None]
    row = np.arange(count)[:, None]
    return values[row, index] * (1 - share) + values[row, index + 1] * share

  def rewards(self, plan, hints=None):
    """Return the rewards `[H * repeat]` of a plan `[H, A]` from the present state on.

    What the simulator cannot compute any more, because it became unstable, earns 0.
    """
    import mujoco
    from dm_control.rl.control import PhysicsError
    sim, model, data = self.sim, self.sim.model.ptr, self.sim.data.ptr
    mujoco.mj_setState(model, data, self.state, self.spec)
    mujoco.mj_step1(model, data)
    rewards = np.zeros(len(plan) * self.repeat)
    actions = self.low + (plan + 1) / 2 * (self.high - self.low)
    try:
      with sim.check_invalid_state():
        for i in range(len(rewards)):
          self.task.before_step(actions[i // self.repeat], sim)
          self.advance(model, data, self.substeps)
          rewards[i] = self.task.get_reward(sim)
    except PhysicsError:
      rewards[:] = 0
    return rewards


def euler(model, data, substeps):
  import mujoco
  mujoco.mj_step2(model, data)
  if substeps > 1:
    mujoco.mj_step(model, data, substeps - 1)
  mujoco.mj_step1(model, data)

def other(model, data, substeps):
  import mujoco
  mujoco.mj_step(model, data, substeps)
  mujoco.mj_step1(model, data)


@contextlib.contextmanager
def hinting():
  """Collect, while tasks compute their rewards, how near they are to what earns something."""
  from dm_control.utils import rewards
  original, hints = rewards.tolerance, [0.0]

  def tolerance(x, bounds=(0.0, 0.0), margin=0.0, *args, **kwargs):
    if margin == 0:
      d = np.maximum(np.maximum(bounds[0] - x, x - bounds[1]), 0)
      hints[0] += float(np.mean(1 / (1 + d)))
    return original(x, bounds, margin, *args, **kwargs)

  rewards.tolerance = tolerance
  try:
    yield hints
  finally:
    rewards.tolerance = original
