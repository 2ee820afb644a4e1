"""Who acts in a training episode: the policy, or one of the sources from beginning to end.

Axes: E environments, F frames, H W image, B batch, T time.
"""

import contextlib
import pathlib

import jax
import numpy as np

from ..common import npz
from ..common.errors import UserError, differences
from ..host import internals
from .imitate import EPISODE, MERIT
from .usefulness import NONE, POLICY, Ledger

ALONE = 'or evaluate the policy alone (agent.vid2act.execute.evaluate policy)'
STATE = 'execution'  # Key in the agent's checkpoint.
BY = 'log/by/'  # How the keys begin that tell evaluations who acts, 1 for the policy or a source.


class Acting:
  """The host's agent, some of whose training episodes are carried out by sources.

  The probability of that changes from `start` to `end` over `until` env steps.
  Which source it is, or the policy after all, is chosen by `Ledger.choose`; with `choose`
  uniform any source.
  Evaluation is the policy's alone or, where `evaluate` is best, of whoever has earned most; the
  mode `policy` is then the policy's alone. Only sources with as many actions as the task
  are candidates. Each step in the replay tells its episode, if the agent imitates.
  """

  def __init__(self, agent, behaviours, options, repeat):
    self.agent, self.repeat = agent, repeat
    self.options, self.imitates = options.execute, options.imitate > 0
    facts = self.cloned = behaviours.facts
    self.identity = behaviours.identity()
    self.names, self.frames = facts['sources'], facts['settings']['frames']
    self.actions = agent.act_space['action'].shape[0]
    self.candidates = [
        k for k, size in enumerate(facts['act_sizes']) if size == self.actions]
    self.act, self.ledger, self.steps = behaviours.actor(wait=False), Ledger(), 0
    self.now = None  # The numbers of the training episodes that go on, one for each environment.
    self._look = jax.jit(lambda merit, episode: merit[episode])

  def __getattr__(self, name):
    return getattr(self.agent, name)

  def init_policy(self, batch_size):
    state = dict(
        by=np.full(batch_size, POLICY), number=np.full(batch_size, NONE), gained=np.zeros(batch_size),
        seen=[None] * batch_size)
    return (state, *self.agent.init_policy(batch_size))

  def policy(self, carry, obs, mode='train'):
    """Act as the policy does, or as the source that carries out the episode."""
    state, *inner = carry
    training, wanted = mode == 'train', None
    if training or mode == 'eval' and self.options.evaluate == 'best':
      state = self._follow(state, obs, training)
      self.now = state['number'] if training else self.now
      rows = np.flatnonzero(state['by'] != POLICY)
      if len(rows):  # Begun now, so that it is computed beside the policy's.
        wanted = self.act(np.stack([state['seen'][i] for i in rows]), state['by'][rows])
    inner, act, out = self.agent.policy(tuple(inner), obs, mode='train' if training else 'eval')
    if wanted is not None:
      act = {**act, 'action': self._carried_out(rows, jax.device_get(wanted), act['action'], training)}
      # What the policy is told next has to be what was done.
      done = internals.split(self.agent, internals.put(act, self.agent.policy_sharded))
      inner = (*inner[:internals.PREVACT], done, *inner[internals.PREVACT + 1:])
    if self.imitates:  # In evaluations it is `NONE`: DreamerV3's own loop reports their replay as well.
      out[EPISODE] = np.int32(state['number'])
    if not training:
      out.update({f'{BY}{self._name(x)}': np.float32(state['by'] == x) for x in (POLICY, *self.candidates)})
    return (state, *inner), act, out

  def told(self, tran, worker):
    """Note the success of a training episode, if its environment tells; agents are not shown it."""
    if 'log/success' in tran:
      self.ledger.tell(self.now[worker], tran['log/success'])

  def probability(self):
    """Return the share of episodes that begin as one of a source's now."""
    part = min(1.0, self.steps * self.repeat / self.options.until)
    return self.options.start + part * (self.options.end - self.options.start)

  def train(self, carry, data):
    return self.agent.train(carry, self.judged(data))

  def report(self, carry, data):
    return self.agent.report(carry, self.judged(data))

  def save(self):
    return {**self.agent.save(), STATE: {
        **self.ledger.save(), 'steps': self.steps, 'sources': self.names, 'behaviours': self.identity}}

  def load(self, data, *args, **kwargs):
    self.agent.load({k: v for k, v in data.items() if k != STATE}, *args, **kwargs)
    self.recall(data)
    if self.imitates:  # A run that was killed has episodes in its replay that its checkpoint does not know.
      self.ledger.skip(numbered(pathlib.Path(str(self.agent.logdir)) / 'replay'))

  def recall(self, data):
    """Take from what an agent has saved only what its episodes have earned, if any of it is there.

    Raises a `UserError` where these were carried out by other sources, or by other behaviours of them.
    """
    state = data.get(STATE)
    if not state:
      return
    before = list(state.get('sources', self.names))  # Earlier versions did not name them.
    if before != list(self.names):
      raise UserError(
          f'Episodes of the checkpoint were carried out by behaviours of {before}, not of {self.names}; continue '
          f'with these, or choose another --logdir, {ALONE}.')
    learned = dict(state.get('behaviours', self.identity))  # Earlier versions did not tell them apart.
    if learned.get('hash') != self.identity['hash']:
      other = [k for k, v in self.identity.items() if learned.get(k) != v]
      raise UserError(
          'Episodes of the checkpoint were carried out by behaviours with '
          f"{differences(other, learned, 'now', self.identity)}; set vid2act.cloned back to those ('': the "
          f"teacher's), or choose another --logdir, {ALONE}.")
    self.ledger.load(state)
    self.steps = int(state['steps'])

  def _name(self, source):
    return 'policy' if source == POLICY else self.names[source]

  def _follow(self, state, obs, training):
    """Return the state `by`, `number`, `gained` `[E]`, `seen` `[E][F, H, W, 3]` after one more step."""
    by, number, gained = (state[k].copy() for k in ('by', 'number', 'gained'))
    seen = list(state['seen'])
    for i, first in enumerate(obs['is_first']):
      image = obs['image'][i]
      if first:
        by[i], gained[i] = self._begin() if training else self._best(), 0.0
        number[i] = self.ledger.begin(by[i]) if training else NONE
        seen[i] = np.repeat(image[None], self.frames, 0)
      else:
        seen[i] = np.concatenate([seen[i][1:], image[None]])
      gained[i] += obs['reward'][i]
      if obs['is_last'][i] and training:
        self.ledger.end(number[i], gained[i])
    self.steps += training * len(by)
    return dict(by=by, number=number, gained=gained, seen=seen)

  def _begin(self):
    """Return who carries out the next episode; it depends on the run's seed and the ledger alone."""
    rng = np.random.default_rng([self.agent.config.seed, len(self.ledger.by)])
    if not self.candidates or rng.random() >= self.probability():
      return POLICY
    if self.options.choose == 'uniform':
      return int(rng.choice(self.candidates))
    return self.ledger.choose([POLICY, *self.candidates], rng)

  def _best(self):
    return self.ledger.best([POLICY, *self.candidates])

  def _carried_out(self, rows, wanted, action, training):
    """Return `action` `[E, A]` with `wanted` of sources in place of the policy's in some rows."""
    action = action.copy()
    rng = np.random.default_rng([self.agent.config.seed, self.steps, 1])
    noise = training * self.options.noise * rng.standard_normal((len(rows), self.actions))
    action[rows] = np.clip(wanted[:, :self.actions] + noise, -1, 1)
    return action

  def judged(self, data):
    """Add to a batch the merit of each step's episode, see `Ledger.merit`; once, as the ledger grows."""
    if not self.imitates or MERIT in data:
      return data
    merit = self.ledger.merit()
    room = 1024 << max(0, int(np.ceil(np.log2(len(merit) / 1024))))  # So that few shapes are compiled.
    merit = internals.put(
        np.pad(merit, (0, room - len(merit))), internals.replicated(self.agent.train_mesh))
    return {**data, MERIT: self._look(merit, data[EPISODE])}

  def standing(self):
    """Return the probability, and for each candidate its episodes and what they earned, for the log."""
    found = {'execute/probability': self.probability()}
    for source in (POLICY, *self.candidates):
      name = self._name(source)
      earned = self.ledger.earned(source)
      found[f'execute/episodes/{name}'] = int((self.ledger.by[1:] == source).sum())
      if len(earned):
        found[f'execute/earned/{name}'] = float(earned.mean())
    return found


def numbered(folder):
  """Return the greatest number of an episode in the files of a replay, 0 if none has a number.

  A file without numbers, or a damaged one, which the replay does without too, counts for nothing.
  """
  most = 0
  for path in folder.rglob('*.npz'):
    with contextlib.suppress(UserError):
      most = max(most, int(npz.read(path, EPISODE).max(initial=0)))
  return most
