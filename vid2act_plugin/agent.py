"""The finetuning agent: the host's Agent with distillation and a guided actor around it."""

import json

import elements
import embodied.jax
import jax
import jax.numpy as jnp
from dreamerv3 import agent as host

from . import bundle as bundles
from . import losses, pictures
from .distill import Adapter, Amortised, Relevance
from .errors import UserError
from .guide import ActionVAE, Guided
from .teacher import Teacher, spaces, unpack

f32 = jnp.float32
sg = jax.lax.stop_gradient
EXTRA = ('teacher/', 'memory/')


def make(config, obs_space, act_space, agent_config):
  """Build the agent for the whole `config`; without distillation and guide it is the host's."""
  options = config.agent.vid2act
  if not (options.distill or options.guide):
    return host.Agent(obs_space, act_space, agent_config)
  bundle = bundles.load(config.vid2act.teacher)
  check(bundle, config, obs_space, act_space)
  _pin(elements.Path(agent_config.logdir), bundle)
  bound = type('Agent', (Agent,), {'bundle': bundle})
  return Taught(bound(obs_space, act_space, agent_config), bundle)


class Agent(host.Agent):
  """Add to the host's losses: relevance, distillation, action VAE, amortised relevance.

  What moves what: L_distill moves relevance, adapter and (with `distill`) the
  student; the VAE and the amortised head move only themselves; the actor's loss
  moves only the policy head.
  """

  bundle = None

  def __init__(self, obs_space, act_space, config):
    super().__init__(obs_space, act_space, config)
    self.options = config.vid2act
    self.ext = self.timeline = None
    size = self.dyn.deter + self.dyn.stoch * self.dyn.classes
    actions = max(self.bundle.manifest['act_sizes'])
    self.relevance = Relevance(**self.options.relevance, name='relevance')
    self.adapter = Adapter(size, rank=self.options.rank, name='adapter')
    self.modules += [self.relevance, self.adapter]
    if self.options.guide:
      sources, vae = self.bundle.sources, self.options.vae
      self.amortised = Amortised(sources, **self.options.relevance, name='amortised')
      self.vae = ActionVAE(
          actions, sources, 2 * actions, width=vae.width, code=vae.code, name='vae')
      self.modules += [self.amortised, self.vae]
      self.pol = Guided(self.pol, self.amortised, self.vae)
    self.opt = embodied.jax.Optimizer(
        self.modules, self._make_opt(**config.opt), summary_depth=1, name='opt')

  @property
  def policy_keys(self):
    return '^(enc|dyn|dec|pol|amortised|vae)/'

  @property
  def ext_space(self):
    return {**super().ext_space, **spaces(self.bundle, rows(self.config))}

  def policy(self, carry, obs, mode='train'):
    if self.options.guide:
      noise = self.vae.draw(len(obs['is_first']))
      self.pol.noise = noise if mode == 'train' else jnp.zeros_like(noise)
    return super().policy(carry, obs, mode)

  def train(self, carry, data):
    self.ext = {k: v for k, v in data.items() if k.startswith(EXTRA)}
    return super().train(carry, data)

  def report(self, carry, data):
    self.ext = {k: v for k, v in data.items() if k.startswith(EXTRA)}
    self.timeline = None
    carry, metrics = super().report(carry, data)
    if self.timeline is not None:
      image = data['image'][0, -self.timeline.shape[1]:]
      metrics['relevance'] = pictures.timeline(image, self.timeline[0])
    return carry, metrics

  def loss(self, carry, obs, prevact, training):
    B, T = obs['is_first'].shape
    if self.options.guide:
      # One noise vector per imagined trajectory, for acting in it and for scoring it.
      self.pol.noise = self.vae.draw(B * min(self.config.imag_last or T, T))
    loss, (carry, entries, outs, metrics) = super().loss(carry, obs, prevact, training)
    extra, mets, weights = self._transfer(self.feat2tensor(outs['repfeat']))
    if not training and self.timeline is None:
      self.timeline = weights
    scales = self.options.scales
    loss += sum(scales[k] * v.mean() for k, v in extra.items())
    metrics.update({f'loss/{k}': v.mean() for k, v in extra.items()}, **mets)
    return loss, (carry, entries, outs, metrics)

  def _transfer(self, feat):
    """Return the added losses, metrics and relevance for student features `[B, T, F]`."""
    T, N = feat.shape[1], self.bundle.sources
    classes = self.bundle.config.dyn.rssm.classes
    teacher = unpack({k: self.ext[f'teacher/{k}'][:, -T:] for k in ('deter', 'stoch')}, classes)
    student = feat if self.options.distill else sg(feat)
    weights = losses.relevance(self.relevance(teacher, student))
    adapted = self.adapter(teacher)
    distill, error = losses.distill(weights, adapted, student, self.options.floor / N)
    settled = jnp.arange(T) + self.config.replay_context >= self.options.burnin
    extra = {'distill': distill * settled}
    metrics = self._relevance_metrics(weights, error)
    if self.options.guide:
      logits = self.amortised(feat)
      extra['amortised'] = losses.amortised(logits, weights)
      agree = jnp.argmax(logits, -1) == jnp.argmax(weights, -1)
      metrics['amortised/agreement'] = agree.mean()
      memory = {
          k: self.ext[f'memory/{k}'].reshape((-1, *self.ext[f'memory/{k}'].shape[3:]))
          for k in ('deter', 'stoch', 'action', 'source')}
      recon, extra['vae'] = self._vae(memory, classes)
      metrics['vae/error'], metrics['vae/kl'] = recon.mean(), (extra['vae'] - recon).mean()
    return extra, metrics, weights

  def _vae(self, memory, classes):
    """Return reconstruction error and whole VAE loss `[M]` on the sources' own states."""
    state, source = sg(self.adapter(unpack(memory, classes))), memory['source']
    action = memory['action'][:, :self.vae.actions]
    sizes = jnp.array(self.bundle.manifest['act_sizes'])[source]
    mask = f32(jnp.arange(self.vae.actions) < sizes[:, None])
    recon, mean, logstd = self.vae(state, action, source)
    error, kl = losses.vae(recon, action, mask, mean, logstd)
    return error, error + kl

  def _relevance_metrics(self, weights, error):
    flat = weights.reshape((-1, weights.shape[-1]))
    best = jax.nn.one_hot(jnp.argmax(flat, -1), flat.shape[-1]).mean(0)
    metrics = {'relevance_entropy': -(flat * jnp.log(flat + 1e-8)).sum(-1).mean()}
    for i, name in enumerate(self.bundle.manifest['sources']):
      metrics[f'relevance/{name}'] = flat[:, i].mean()
      metrics[f'relevance_max/{name}'] = flat[:, i].max()
      metrics[f'relevance_best/{name}'] = best[i]
      metrics[f'distill_error/{name}'] = error[..., i].mean()
    return metrics


class Taught:
  """The host's agent, with the frozen teacher's features added to every batch.

  The teacher lives here and not among the agent's parameters, so that no
  checkpoint holds it, no update donates it and no policy sync copies it.
  """

  def __init__(self, agent, bundle):
    self.agent = agent
    self.teacher = Teacher(bundle, agent.train_mesh, rows(agent.config), agent.config.seed)

  def __getattr__(self, name):
    return getattr(self.agent, name)

  def train(self, carry, data):
    return self.agent.train(carry, self._teach(data))

  def report(self, carry, data):
    return self.agent.report(carry, self._teach(data))

  def _teach(self, data):
    return {**data, **self.teacher(data, int(self.agent.n_updates))}


def rows(config):
  """Return how many VAE states go with each step so that a batch has `vae.batch` of them."""
  steps = config.batch_size * (config.batch_length + config.replay_context)
  return -(-config.vid2act.vae.batch // steps)


def check(bundle, config, obs_space, act_space):
  """Raise a `UserError` where the bundle does not fit the run."""
  path, have = config.vid2act.teacher, bundle.manifest
  sources = list(config.vid2act.sources)
  if sources != ['auto'] and sources != have['sources']:
    raise UserError(
        f'The key vid2act.sources is {sources}, but the teacher {path} was made from '
        f"{have['sources']}, in this order; name these or pretrain another teacher.")
  if 'image' not in obs_space or list(obs_space['image'].shape) != have['image']:
    shape = list(obs_space['image'].shape) if 'image' in obs_space else 'no image'
    raise UserError(
        f"The task {config.task} has images of shape {shape}, but the teacher {path} was made for "
        f"{have['image']}; set env.{config.task.split('_')[0]}.size accordingly or pretrain again.")
  if list(act_space) != ['action'] or act_space['action'].discrete:
    raise UserError(
        f'The task {config.task} has the actions {dict(act_space)}, but vid2act needs one '
        "continuous action named 'action'.")
  if act_space['action'].shape[0] > have['act_width']:
    raise UserError(
        f"The task {config.task} has {act_space['action'].shape[0]} action dimensions, more than "
        f"the teacher's {have['act_width']}; raise vid2act.act_width and pretrain again.")


def _pin(logdir, bundle):
  """Tie a run to its teacher: a run continued with another one would mix two meanings."""
  path = logdir / 'teacher.json'
  if path.exists():
    before = json.loads(path.read())
    if before['hash'] != bundle.hash:
      raise UserError(
          f"The run {logdir} was started with the teacher {before['hash'][:12]} of sources "
          f"{before['sources']}, not with {bundle.hash[:12]}; continue with that teacher or "
          'choose another --logdir.')
  path.write(json.dumps({'hash': bundle.hash, 'sources': bundle.manifest['sources']}))
