"""The finetuning agent: the host's Agent with distillation and a guided actor around it."""

import jax
import jax.numpy as jnp
import ninjax as nj
import optax
from dreamerv3 import agent as host

from ..host import convolutions, optimizer
from ..teacher.model import spaces, unpack
from . import losses
from .guide import ActionVAE, Guided, Recorded, along
from .relevance import Adapter, Amortised, Relevance, summary, timeline

f32 = jnp.float32
sg = jax.lax.stop_gradient
EXTRA = ('teacher/', 'memory/')


class Agent(host.Agent):
  """Add to the host's losses: relevance, distillation, action VAE, amortised relevance.

  What moves what: L_distill moves relevance, adapter and (with `distill`) the
  student; the VAE and the amortised head move only themselves; the actor's loss
  moves only the policy head.
  """

  bundle = None

  def __init__(self, obs_space, act_space, config):
    super().__init__(obs_space, act_space, config)
    convolutions.install(self)
    self.options = config.vid2act
    self.ext = self.timeline = self.shift = None
    self.learned = self.options.weights == 'learned'
    self.amortise = self.learned and self.options.guide and not from_start(self.options)
    size = self.dyn.deter + self.dyn.stoch * self.dyn.classes
    self.adapter = Adapter(size, rank=self.options.rank, name='adapter')
    self.modules += [self.adapter]
    if self.learned:
      self.relevance = Relevance(**self.options.relevance, name='relevance')
      self.modules += [self.relevance]
    if self.amortise:
      self.amortised = Amortised(
          self.bundle.sources, **self.options.relevance, name='amortised')
      self.modules += [self.amortised]
    if self.options.guide:
      vae, sizes = self.options.vae, self.bundle.manifest['act_sizes']
      actions = max(sizes)
      self.vae = ActionVAE(
          actions, self.bundle.sources, 2 * actions, units=vae.units, code=vae.code, name='vae')
      self.modules += [self.vae]
      prior = self.options.prior and {*act_space['action'].shape} == {*sizes}
      self.pol = Guided(self.pol, self.vae, self.options.guide_by == 'mixture', prior)
      self.pol.weigh = self._predicted if self.learned else self._uniform
    self.dyn = Recorded(self.dyn)
    self.opt = optimizer.optimizer(
        self.modules, self._make_opt(**config.opt), summary_depth=1, name='opt')

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
    extra = ()
    if self.options.guide:
      noise = self.vae.draw(len(obs['is_first']))
      self.pol.noise = noise if mode == 'train' else jnp.zeros_like(noise)
    if from_start(self.options):
      *carry, teacher = carry
      extra = (teacher,)
      self.pol.weigh = lambda feat: self._weights(teacher, feat)
    carry, act, out = super().policy(tuple(carry), obs, mode)
    if self.options.guide:
      for i, name in enumerate(self.bundle.manifest['sources']):
        out[f'log/relevance/{name}'] = self.pol.weights[:, i]
    return (*carry, *extra), act, out

  def train(self, carry, data):
    self.ext = {k: v for k, v in data.items() if k.startswith(EXTRA)}
    return super().train(carry, data)

  def report(self, carry, data):
    self.ext = {k: v for k, v in data.items() if k.startswith(EXTRA)}
    self.timeline, before = None, carry
    carry, metrics = super().report(carry, data)
    if self.timeline is not None:
      image = data['image'][self.ext['teacher/row'][0, 0], -self.timeline.shape[1]:]
      metrics['relevance'] = timeline(image, self.timeline[0])
    if self.options.gradshare:
      metrics.update(self._gradshare(before, data))
    return carry, metrics

  def loss(self, carry, obs, prevact, training):
    B, T = obs['is_first'].shape
    K = min(self.config.imag_last or T, T)
    self.dyn.hook = lambda feat: self._seen(feat, K)
    if self.options.guide:
      # One noise vector per imagined trajectory, for acting in it and for scoring it.
      self.pol.noise = self.vae.draw(B * K)
    loss, (carry, entries, outs, metrics) = super().loss(carry, obs, prevact, training)
    extra, mets, weights = self._transfer(self.feat2tensor(outs['repfeat']))
    if not training and self.timeline is None:
      self.timeline = weights
    loss += sum(self.options.scales[k] * v.mean() for k, v in extra.items())
    metrics.update({f'loss/{k}': v.mean() for k, v in extra.items()}, **mets)
    outs = {**outs, 'losses': {**outs['losses'], **extra}}
    return loss, (carry, entries, outs, metrics)

  def _weights(self, teacher, feat):
    """Return the relevance `[..., N]` of packed teacher states at student features `[..., F]`."""
    classes = self.bundle.config.dyn.rssm.classes
    return losses.relevance(self.relevance(unpack(teacher, classes), feat))

  def _predicted(self, feat):
    return jax.nn.softmax(self.amortised(feat), -1)

  def _uniform(self, feat):
    return jnp.full((*feat.shape[:-1], self.bundle.sources), 1 / self.bundle.sources, f32)

  def _seen(self, feat, K):
    """Take the student's features `[B, T, ...]` before the host's losses use them."""
    if self.shift:
      feat = {**feat, **{k: feat[k] + v.astype(feat[k].dtype) for k, v in self.shift.items()}}
    if from_start(self.options):
      self._hold(feat, K)
    return feat

  def _hold(self, feat, K):
    """Fix the relevance of each imagined trajectory at its start, one of the last K steps."""
    teacher = {k: self.ext[f'teacher/{k}'][:, -K:] for k in ('deter', 'stoch')}
    weights = sg(self._weights(teacher, self.feat2tensor(feat)[:, -K:]))
    weights = weights.reshape((-1, weights.shape[-1]))
    self.pol.weigh = lambda feat: along(weights, feat.shape[:-1])

  def _transfer(self, feat):
    """Return the added losses, metrics and relevance for student features `[B, T, F]`.

    L_distill, L_amortised and relevance are of the S sequences that the
    teachers saw, `[S, T]`.
    """
    (B, T), options, S = feat.shape[:2], self.options, seen(self.options, len(feat))
    classes = self.bundle.config.dyn.rssm.classes
    teacher = {k: self.ext[f'teacher/{k}'][:S, -T:] for k in ('deter', 'stoch')}
    feat = feat if S == B else feat[self.ext['teacher/row'][:S, 0]]
    student = feat if options.distill else sg(feat)
    weights = self._weights(teacher, student) if self.learned else self._uniform(student)
    distill, error = self._distill(teacher, weights, student)
    settled = jnp.arange(T) + self.config.replay_context >= options.burnin
    extra = {'distill': distill * settled}
    metrics = summary(self.bundle.manifest['sources'], weights, error)
    if self.amortise:
      logits = self.amortised(feat)
      extra['amortised'] = losses.amortised(logits, weights)
      agree = jnp.argmax(logits, -1) == jnp.argmax(weights, -1)
      metrics['amortised/agreement'] = agree.mean()
    if options.guide:
      memory = {
          k: self.ext[f'memory/{k}'].reshape((-1, *self.ext[f'memory/{k}'].shape[3:]))
          for k in ('deter', 'stoch', 'action', 'source')}
      recon, extra['vae'] = self._vae(memory, classes)
      metrics['vae/error'], metrics['vae/kl'] = recon.mean(), (extra['vae'] - recon).mean()
      for i, name in enumerate(self.bundle.manifest['sources']):
        mine = f32(memory['source'] == i)
        metrics[f'vae_error/{name}'] = (mine * recon).sum() / jnp.maximum(1, mine.sum())
    return extra, metrics, weights

  def _distill(self, teacher, weights, student):
    """Return the loss `[S, T]`, and each source's mean squared error `[N]`."""
    N, options = self.bundle.sources, self.options
    floor = options.floor / N if options.floor_per_source else options.floor
    index, factor = jnp.broadcast_to(jnp.arange(N), weights.shape), jnp.ones(())
    if 0 < options.adapted < N:
      index, factor = losses.pick(weights, options.adapted, nj.seed())
      take = lambda x: jnp.take_along_axis(x, index[..., None], 2)
      teacher, weights = jax.tree.map(take, teacher), jnp.take_along_axis(weights, index, 2)
    adapted = self.adapter(unpack(teacher, self.bundle.config.dyn.rssm.classes))
    loss, error = losses.distill(weights, adapted, student, floor, factor)
    chosen = jax.nn.one_hot(index, N)
    error = (chosen * error[..., None]).sum((0, 1, 2))
    return loss, error / jnp.maximum(1, chosen.sum((0, 1, 2)))

  def _vae(self, memory, classes):
    """Return reconstruction error and whole VAE loss `[M]` on the sources' own states."""
    state, source = sg(self.adapter(unpack(memory, classes))), memory['source']
    action = memory['action'][:, :self.vae.actions]
    sizes = jnp.array(self.bundle.manifest['act_sizes'])[source]
    mask = f32(jnp.arange(self.vae.actions) < sizes[:, None])
    recon, mean, logstd = self.vae(state, action, source)
    error, kl = losses.vae(recon, action, mask, mean, logstd)
    return error, error + kl

  def _gradshare(self, carry, data):
    """Return each loss's share of the gradient norm at the student's features.

    A shift of zero is added to the features and each scaled loss differentiated
    by it. The losses dyn and rep act on the logits inside the RSSM: they are
    not at the features, and not listed.
    """
    carry, obs, prevact, _ = self._apply_replay_context(carry, data)
    B, T = obs['is_first'].shape
    zero = {'deter': jnp.zeros((B, T, self.dyn.deter)),
            'stoch': jnp.zeros((B, T, self.dyn.stoch, self.dyn.classes))}
    scales, norms = {**self.scales, **self.options.scales}, {}

    def scaled(shift, key):
      self.shift = shift
      found = self.loss(carry, obs, prevact, training=False)[1][2]['losses']
      return scales[key] * found[key].mean() if key in found else jnp.zeros(())

    for key in scales:
      if key not in ('dyn', 'rep'):
        norms[key] = optax.global_norm(nj.grad(lambda x, k=key: scaled(x, k), 0)(zero)[-1])
    self.shift = None
    total = sum(norms.values()) + 1e-12
    return {f'gradshare/{k}': v / total for k, v in norms.items()}


def from_start(options):
  """Whether relevance in imagination is that of the start state, as the published code has it."""
  return options.guide and options.weights == 'learned' and options.guide_from == 'start'


def seen(options, batch):
  """Return how many of a batch's sequences the teachers see."""
  return max(1, round(options.share * batch))


def rows(config):
  """Return how many VAE states go with each step so that a batch has `vae.batch` of them."""
  steps = config.batch_size * (config.batch_length + config.replay_context)
  return -(-config.vid2act.vae.batch // steps)
