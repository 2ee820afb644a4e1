"""The finetuning agent: DreamerV3's agent with distillation and a guided actor around it.

Axes: B batch, T time, S of the B sequences that the teachers see, N sources, F
student feature, M states of the sources' recordings, K steps at which
imagination starts. The formulae are in `losses`; the numbers here are those of
the equations in README.md.
"""

import jax
import jax.numpy as jnp
import ninjax as nj
from dreamerv3 import agent as hostagent

from ..host import internals, optimizer
from ..teacher.model import unpack
from . import guide, losses, relevance
from .frozen_teacher import spaces
from .gradshare import gradshare
from .options import floor, from_start, rows, seen
from .trace import Trace

f32 = jnp.float32
sg = jax.lax.stop_gradient


class Agent(hostagent.Agent):
  """Add to the host's losses: relevance, distillation, action VAE, amortised relevance.

  What moves what: L_distill moves relevance, adapter and (with `distill`) the
  student; the VAE and the amortised head move only themselves; the actor's loss
  moves only the policy head.
  """

  bundle = None  # Set in a subclass for each teacher, see `build`.

  def __init__(self, obs_space, act_space, config):
    super().__init__(obs_space, act_space, config)
    options, N = config.vid2act, self.bundle.sources
    self.options, self.trace = options, Trace()
    self.classes = self.bundle.config.dyn.rssm.classes
    size = self.dyn.deter + self.dyn.stoch * self.dyn.classes
    self.adapter = relevance.Adapter(size, rank=options.rank, name='adapter')
    self.modules += [self.adapter]
    self.uniform = relevance.Uniform(N)
    self.strategy = self.uniform
    if options.weights == 'learned':
      self.relevance = relevance.Relevance(**options.relevance, name='relevance')
      self.modules += [self.relevance]
      if from_start(options):
        self.strategy = relevance.AtStart(self.weigh, self.trace)
      else:
        self.strategy = relevance.Amortised(N, **options.relevance, name='amortised')
        self.modules += [self.strategy]
    if options.guide:
      sizes = self.bundle.manifest['act_sizes']
      self.vae = guide.ActionVAE(
          max(sizes), N, 2 * max(sizes), units=options.vae.units, code=options.vae.code, name='vae')
      self.modules += [self.vae]
      prior = options.prior and {*act_space['action'].shape} == {*sizes}
      self.pol = guide.Guided(
          self.pol, self.vae, self.strategy, self.trace, options.guide_by == 'mixture', prior)
    self.dyn = guide.Recorded(self.dyn, self._see)
    self.opt = optimizer.optimizer(
        self.modules, internals.gradient_transformation(config.opt), summary_depth=1, name='opt')

  @property
  def policy_keys(self):
    return '^(enc|dyn|dec|pol|relevance|amortised|vae)/'

  @property
  def ext_space(self):
    return {**super().ext_space, **spaces(self.bundle, rows(self.config))}

  def init_policy(self, batch_size):
    carry = super().init_policy(batch_size)
    if not from_start(self.options):
      return carry
    shapes = spaces(self.bundle, 1)
    zeros = lambda x: jnp.zeros((batch_size, *x.shape), x.dtype)
    return (*carry, {k: zeros(shapes[f'teacher/{k}']) for k in ('deter', 'stoch')})

  def init_train(self, batch_size):
    return super().init_policy(batch_size)

  def init_report(self, batch_size):
    return super().init_policy(batch_size)

  def policy(self, carry, obs, mode='train'):
    """Act as the host does, guided; without noise of the guide in evaluation."""
    noise = self.vae.draw(len(obs['is_first'])) if self.options.guide else None
    if self.options.guide and mode != 'train':
      noise = jnp.zeros_like(noise)
    extra = ()
    if from_start(self.options):
      *carry, teacher = carry
      extra = (teacher,)
    self.trace.begin(noise=noise, teacher=extra[0] if extra else None)
    carry, act, out = super().policy(tuple(carry), obs, mode)
    weights = self.trace.weights  # None without a guide, which looks at them.
    if weights is None:
      weights = self.strategy.weigh(self.feat2tensor(carry[internals.LATENT]))
    out['log/relevance/*'] = weights
    return (*carry, *extra), act, out

  def train(self, carry, data):
    self.trace.begin_batch(data)
    return super().train(carry, data)

  def report(self, carry, data):
    self.trace.begin_batch(data)
    before = carry
    carry, metrics = super().report(carry, data)
    timeline = self.trace.timeline
    if timeline is not None:
      rows = self.trace.teacher['row'][:len(timeline), 0]
      first = jnp.argmin(rows)  # The last ones may be rehearsed, see `rehearse.Rehearsal`.
      metrics['relevance'] = relevance.timeline(data['image'][rows[first], -timeline.shape[1]:], timeline[first])
    if self.options.gradshare:
      metrics.update(gradshare(self, before, data))
    return carry, metrics

  def loss(self, carry, obs, prevact, training):
    """Add the method's losses to the host's."""
    if self.options.guide:
      # One noise vector per imagined trajectory, for acting in it and for scoring it.
      self.trace.noise = self.vae.draw(len(obs['is_first']) * self._starts(obs['is_first']))
    loss, (carry, entries, outs, metrics) = super().loss(carry, obs, prevact, training)
    extra, mets, weights = self.transfer(self.feat2tensor(outs['repfeat']))
    if not training and self.trace.timeline is None:
      self.trace.timeline = weights
    loss += sum(self.options.scales[k] * v.mean() for k, v in extra.items())
    metrics.update({f'loss/{k}': v.mean() for k, v in extra.items()}, **mets)
    outs = {**outs, 'losses': {**outs['losses'], **extra}}
    return loss, (carry, entries, outs, metrics)

  def transfer(self, feat):
    """Return the added losses, metrics and relevance for student features `[B, T, F]`.

    L_distill, L_amortised and relevance are of the sequences that the teachers saw, `[S, T]`.
    """
    # The S sequences that the teachers saw, and the student's features of these.
    options, (B, T) = self.options, feat.shape[:2]
    S = seen(options, B)
    teacher = {k: self.trace.teacher[k][:S, -T:] for k in ('deter', 'stoch')}
    feat = feat if S == B else feat[self.trace.teacher['row'][:S, 0]]
    student = feat if options.distill else sg(feat)

    # (1) Relevance of each source at each step.
    learned = options.weights == 'learned'
    weights = self.weigh(teacher, student) if learned else self.uniform.weigh(student)

    # (2) Distillation, once the teacher's own state has settled.
    distill, error = self.distill(teacher, weights, student)
    settled = jnp.arange(T) + self.config.replay_context >= options.burnin
    extra = {'distill': distill * settled}
    metrics = relevance.summary(weights, error)

    # (3) The action VAE, on the sources' own states.
    if options.guide:
      error, kl, source = self.reconstruct()
      extra['vae'] = error + kl
      metrics.update(guide.summary(self.bundle.sources, source, error, kl))

    # (4) The head that tells relevance where there is no teacher.
    if isinstance(self.strategy, relevance.Amortised):
      logits = self.strategy(feat)
      extra['amortised'] = losses.amortised(logits, weights)
      agree = jnp.argmax(logits, -1) == jnp.argmax(weights, -1)
      metrics['amortised/agreement'] = agree.mean()
    return extra, metrics, weights

  def weigh(self, teacher, feat):
    """Return f_weight's relevance `[..., N]` of packed teacher states at features `[..., F]`."""
    return losses.relevance(self.relevance(unpack(teacher, self.classes), feat))

  def distill(self, teacher, weights, student):
    """Return L_distill `[S, T]`, and each source's mean squared error `[N]`."""
    N, options = self.bundle.sources, self.options
    index, factor = jnp.broadcast_to(jnp.arange(N), weights.shape), jnp.ones(())
    if 0 < options.adapted < N:
      index, factor = losses.pick(weights, options.adapted, nj.seed())
      take = lambda x: jnp.take_along_axis(x, index[..., None], 2)
      teacher, weights = jax.tree.map(take, teacher), jnp.take_along_axis(weights, index, 2)
    adapted = self.adapter(unpack(teacher, self.classes))
    loss, error = losses.distill(weights, adapted, student, floor(options, N), factor)
    chosen = jax.nn.one_hot(index, N)
    error = (chosen * error[..., None]).sum((0, 1, 2))
    return loss, error / jnp.maximum(1, chosen.sum((0, 1, 2)))

  def reconstruct(self):
    """Return the two parts of L_vae on the sources' own states, and their sources, each `[M]`."""
    flat = lambda x: x.reshape((-1, *x.shape[3:]))
    memory = {k: flat(v) for k, v in self.trace.memory.items()}
    state, source = sg(self.adapter(unpack(memory, self.classes))), memory['source']
    action = memory['action'][:, :self.vae.actions]
    sizes = jnp.array(self.bundle.manifest['act_sizes'])[source]
    mask = f32(jnp.arange(self.vae.actions) < sizes[:, None])
    recon, mean, logstd = self.vae(state, action, source)
    return *losses.vae(recon, action, mask, mean, logstd), source

  def _see(self, feat):
    """Take the student's features `[B, T, ...]` before the host's losses use them."""
    if self.trace.shift:
      shift = {k: feat[k] + v.astype(feat[k].dtype) for k, v in self.trace.shift.items()}
      feat = {**feat, **shift}
    if from_start(self.options):
      self.strategy.hold(self.feat2tensor(feat), self._starts(feat['deter']))
    return feat

  def _starts(self, x):
    """Return K for an array `[B, T, ...]`."""
    T = x.shape[1]
    return min(self.config.imag_last or T, T)
