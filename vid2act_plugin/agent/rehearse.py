"""Rehearsal: a share of each batch comes from the sources' recordings, for the world model alone.

Axes: B batch, T time with the replay context, R rehearsed rows, A actions.
"""

import functools

import embodied
import jax
import ninjax as nj
import numpy as np
from dreamerv3 import main as hostmain

from ..common.errors import UserError
from ..common.output import note
from ..sources.dataset import KEYS, Sources
from ..sources.locate import episodes, locate
from ..teacher import bundle as bundles
from .imitate import LOSS as IMITATED
from .options import needs_teacher

# Losses that know the task: the recordings have rewards, ends and returns of other tasks.
TASK = 'rew', 'con', 'policy', 'value', 'repval', IMITATED
BEGUN = 4  # Episodes of the task whose first images recorded ones are compared with.
AT_ONCE = 64  # Images that are encoded together: recordings may have any number of episodes.


class Rehearsal:
  """Puts windows of the sources' recordings into batches of the replay.

  Raises a `UserError` if the task has observations or actions that no recording
  has, and if recordings have other images or too few steps.
  """

  def __init__(self, config, obs_space, act_space):
    self.context = config.replay_context
    self.rows = round(config.agent.vid2act.rehearse * config.batch_size)
    check_spaces(config, obs_space, act_space)
    self.actions = act_space['action'].shape[0]
    self.sources = Sources(
        [x.folder for x in locate(config)], holdout=0, act_width=config.vid2act.act_width, seed=config.seed)
    if obs_space['image'].shape != self.sources.image:
      raise UserError(
          f"The task {config.task} has images of shape {obs_space['image'].shape}, but the "
          f'recordings of {self.sources.image}; agent.vid2act.rehearse needs equal ones: set '
          f"env.{config.task.split('_')[0]}.size accordingly.")
    wide = [x for x, size in zip(self.sources.names, self.sources.act_sizes) if size > self.actions]
    if wide:
      note(f'Note: the task has {self.actions} actions, of which alone it learns what is rehearsed of {", ".join(wide)}; '
           'these have more.')
    self._check(config)

  def choose(self, config):
    """Keep the share `rehearse_from` of the episodes, those that begin as the task does.

    After the agent is made, as JAX computes here: the agent sets how, once for the whole process.
    """
    share = config.agent.vid2act.rehearse_from
    if share < 1:
      order = nearest(self.sources, bundles.load(config.vid2act.teacher), _beginnings(config))
      self.sources.only(order[:max(1, round(share * len(order)))])
      self._check(config)

  def __call__(self, data, step):
    """Replace the last R rows of `data` `{key: [B, T, ...]}`; the same windows at one `step`.

    Rows go last because reports show the first ones. Rewards are those of the
    source's own task, see `apart`. Actions that the source lacks are 0, and more than the task's are left out. All other entries
    are 0, too: an unknown `stepid` makes the replay ignore what the agent sends
    back for these rows, and without stored states the first step after the
    context is marked as a reset.
    """
    drawn = self.sources.sample(step, self.rows, data['is_first'].shape[1])
    action = drawn['action'][..., :self.actions]
    pad = self.actions - action.shape[-1]
    drawn['action'] = np.pad(action, ((0, 0), (0, 0), (0, pad)))
    drawn['is_first'][:, self.context] = True
    rows = lambda k, v: drawn[k].astype(v.dtype) if k in KEYS else np.zeros_like(v[-self.rows:])
    return {k: np.concatenate([v[:-self.rows], rows(k, v)]) for k, v in data.items()}

  def _check(self, config):
    for name, stream in zip(self.sources.names, self.sources.streams['train']):
      _check_steps(config, name, len(stream['reward']))


@functools.cache  # Before a stage and after it, with one note.
def _check_names(names, teacher):
  """Note if what is rehearsed are other recordings than those that a given teacher was made from."""
  made = bundles.verify(teacher)['sources']
  if list(names) != made:
    note(f"Note: what is rehearsed are the recordings of {', '.join(names)}; the teacher {teacher} was made from "
         f"{', '.join(made)}. Name others as vid2act.sources.")


def nearest(sources, bundle, images):
  """Return the recorded episodes in order of how near they begin to the task's `images` `[E, H, W, 3]`.

  Episodes are counted as `Sources.sequences` yields them. Near is what the teacher's image
  encoders tell little apart: the squared distance to the nearest of `images`.
  """
  every = np.concatenate([images, np.stack([episode['image'][0] for _, episode in sources.sequences()])])
  encode, parts = jax.jit(nj.pure(bundle.model().encoded)), np.pad(
      every, ((0, -len(every) % AT_ONCE), *3 * ((0, 0),))).reshape((-1, AT_ONCE, *every.shape[1:]))
  with jax.transfer_guard('allow'):  # An agent made before forbids what is not asked for.
    tokens = np.concatenate([np.float32(jax.device_get(
        encode(bundle.params, x, seed=jax.random.PRNGKey(0))[1])) for x in parts])[:len(every)]
  ours, theirs = np.split(tokens, [len(images)])
  distances = [((x - ours) ** 2).sum(-1).min() for x in theirs]
  return np.argsort(distances, kind='stable').tolist()


def _beginnings(config):
  """Return the first images of some episodes of the task."""
  env = hostmain.make_env(config, 0)
  action = {k: np.zeros(v.shape, v.dtype) for k, v in env.act_space.items()}
  images = [env.step({**action, 'reset': True})['image'] for _ in range(BEGUN)]
  env.close()
  return np.stack(images)


def apart(kind, rows):
  """Return a kind of agent that learns its task from all but the last `rows` of a batch.

  The losses `TASK` are means over the other rows alone, and so are the statistics that returns,
  values and advantages are normalised by; all other losses are the mean over the whole batch.
  """

  class Agent(kind):

    def __init__(self, obs_space, act_space, config):
      super().__init__(obs_space, act_space, config)
      for name in ('retnorm', 'valnorm', 'advnorm'):
        share = rows / config.batch_size
        setattr(self, name, _Normalize(getattr(self, name), share))

    def loss(self, carry, obs, prevact, training):
      loss, (carry, entries, outs, metrics) = super().loss(carry, obs, prevact, training)
      scales = {**self.scales, IMITATED: self.config.vid2act.imitate}
      for key in [x for x in TASK if x in outs['losses']]:
        every = outs['losses'][key]
        mine = every[:len(every) - rows].mean()
        loss += scales[key] * (mine - every.mean())
        metrics[f'loss/{key}'] = mine
        outs['losses'][key] = every[:len(every) - rows]  # For whoever asks which loss does what.
      return loss, (carry, entries, outs, metrics)

  return Agent


class _Normalize:
  """The host's statistics `norm` of all but the last `share` of what it is shown."""

  def __init__(self, norm, share):
    self.norm, self.share = norm, share

  def __call__(self, x, update):
    return self.norm(x[:len(x) - round(self.share * len(x))], update)

  def stats(self):
    return self.norm.stats()


class Rehearsing:
  """An agent whose streams pass through a `Rehearsal`; in all else it is the agent itself."""

  def __init__(self, agent, rehearsal):
    self.agent, self.rehearsal = agent, rehearsal

  def __getattr__(self, name):
    return getattr(self.agent, name)

  def stream(self, st):
    """Return the agent's stream of the mixed batches of `st`.

    Windows are counted from the updates made before the first batch, so that a
    continued run does not begin with the same ones again.
    """
    step = None
    def mix(data):
      nonlocal step
      step = int(self.agent.n_updates) if step is None else step + 1
      return self.rehearsal(data, step)
    return self.agent.stream(embodied.streams.Map(st, mix))


def check_spaces(config, obs_space, act_space, key='agent.vid2act.rehearse'):
  """Raise a `UserError` if the task has observations or actions that no recording has."""
  others = [k for k in obs_space if k not in KEYS]
  if others:
    raise UserError(
        f"The task {config.task} has the observations {', '.join(others)}, which no recording has, but {key} learns from "
        'recordings; leave them out, or that key at its default.')
  if list(act_space) != ['action'] or act_space['action'].discrete:
    raise UserError(
        f"The task {config.task} has the actions {dict(act_space)}, but {key} needs one continuous action named 'action'.")


def check(config, found):
  """Raise a `UserError` where a located source is known to have too few steps; note if they are not a teacher's."""
  if config.vid2act.teacher and needs_teacher(config):
    _check_names(tuple(x.name for x in found), config.vid2act.teacher)
  for source in found:
    if known := episodes(config, source):
      _check_steps(config, source.name, sum(known))


def _check_steps(config, name, have):
  need = max(config.batch_length, config.report_length) + config.replay_context
  if have < need:
    raise UserError(
        f"The recording of '{name}' has {have} steps, but agent.vid2act.rehearse needs {need}; collect more, or lower "
        'batch_length and report_length.')
