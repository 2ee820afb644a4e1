"""What follows from the settings `agent.vid2act`, for all who need to agree on it."""

import functools

import elements

from ..common import resources
from ..common.errors import UserError
from ..common.output import note
from ..host import checkpoints, processes

# Keys that only the guide reads, only where sources act, and only where relevance is learned.
GUIDED, ACTED = ('guide_by', 'guide_from', 'prior', 'scales.vae'), ('execute.noise', 'execute.choose')
LEARNED = 'weights', 'floor', 'floor_per_source', 'rank', 'share', 'adapted', 'scales.distill', 'scales.amortised'


def check(config):
  """Raise a `UserError` for values of `agent.vid2act` that do not go with other settings."""
  options, rssm = config.agent.vid2act, config.agent.dyn.rssm
  length, width = config.batch_length + config.replay_context, rssm.deter + rssm.stoch * rssm.classes
  rows = round(options.rehearse * config.batch_size)
  processes = config.jax.num_processes if config.script != 'pretrain' else 1
  for key, bad, cure in (
      ('burnin', options.burnin >= length,
       f'a sequence has {length} steps (batch_length and replay_context); give fewer'),
      ('rank', options.rank > width, f'a feature has {width} values; give at most these, or 0 for all'),
      ('adapted', options.adapted == 1, 'one source is drawn to stand for others; give 2 or more, or 0 for all'),
      ('share', options.share < 1 and from_start(options),
       'with guide_from start the teachers see every sequence; set it to 1.0'),
      ('guide_from', from_start(options) and processes > 1,
       f'teachers act with it, which {processes} processes cannot do together; set it to amortised, or '
       'jax.num_processes to 1'),
      ('guide_by', options.guide and options.weights == 'uniform' and options.guide_by == 'best',
       'with the weights uniform none is the best; set it to mixture'),
      ('guide_from', from_start(options) and options.imitate > 0 and executes(config),
       'of what is imitated there is no start; set it to amortised, or imitate to 0'),
      ('init_policy.source', options.init_policy.source and not options.init,
       "it reads the features of the teacher's weights; set init to True, or this to ''"),
      ('init_policy.source', options.init_policy.source and options.guide,
       "a guided policy has the sources' actions already; set guide to False, or this to ''"),
      ('init_policy.source', options.init_policy.source and config.run.from_checkpoint and config.script != 'eval_only',
       f"run.from_checkpoint, {config.run.from_checkpoint}, brings a policy of its own; set one of them to ''"),
      ('init_policy.source', options.init_policy.source and processes > 1,
       f"the policy would be cloned before {processes} processes know each other; set it to '', or jax.num_processes to 1"),
      ('rehearse_from', options.rehearse and options.rehearse_from < 1 and processes > 1,
       f'episodes are compared before {processes} processes know each other; set it to 1.0, or '
       'jax.num_processes to 1'),
      ('rehearse', options.rehearse and not 0 < rows < config.batch_size,
       f'of a batch of {config.batch_size} that has to be a row or more and leave one to the task; '
       'change it or batch_size, or set it to 0'),
      ('rehearse_from',
       options.rehearse and options.rehearse_from < 1 and config.script != 'eval_only' and not needs_teacher(config),
       'episodes are compared by a teacher, and this run has none; set it to 1.0, or init to True')):
    if bad:
      raise UserError(f'The key agent.vid2act.{key} is {options[key]}, but {cure}.')


def idle(config):
  """Note which keys were given values that have no effect beside the other settings.

  Neither the defaults nor any of our overlays leave one so.
  """
  options, given = config.agent.vid2act, config.vid2act.cloned
  usual = _usual()
  learned = options.distill or options.guide
  alone = 'no source carries out episodes (execute.start and execute.end are 0)'
  acting = executes(config)
  for key, value, without, why in (
      ('agent.vid2act.imitate', options.imitate, options.imitate > 0 and not acting, alone),
      ('agent.vid2act.execute.evaluate', 'best', options.execute.evaluate == 'best' and not acting, alone),
      ('vid2act.cloned', given, given and not acting, alone),
      ('agent.vid2act.rehearse_from', options.rehearse_from,
       options.rehearse_from < 1 and not options.rehearse, 'agent.vid2act.rehearse is 0'),
      ('agent.vid2act.init_source', options.init_source, options.init_source and not options.init,
       'agent.vid2act.init is False'),
      ('agent.vid2act.vae.online', True, options.vae.online and not options.guide, 'agent.vid2act.guide is False'),
      ('agent.vid2act.gradshare', True, options.gradshare and not learned, 'there is no loss of ours to measure'),
      *((f'agent.vid2act.{k}', options[k], not used and options[k] != usual[k], why) for keys, used, why in (
          (GUIDED, options.guide, 'agent.vid2act.guide is False'), (ACTED, acting, alone),
          (LEARNED, learned, 'agent.vid2act.distill and guide are False')) for k in keys)):
    if without:
      note(f'Note: the key {key} is {value!r}, which has no effect, as {why}.')


def unknown(config):
  """Note, if a run is stock DreamerV3, which settings it does not know of those that choose what is learned from."""
  usual = {**{f'agent.vid2act.{k}': x for k, x in _usual().items() if k in ('imitate', 'rehearse')},
           **dict.fromkeys(('vid2act.teacher', 'vid2act.cloned', 'vid2act.recordings'), '')}
  given = [k for k, x in usual.items() if config[k] != x] if config.agent.typ == 'dreamerv3' else []
  if given:
    note(f"Note: agent.typ is dreamerv3, stock DreamerV3, which does not know {', '.join(given)}; to learn by these, name "
         'the overlay vid2act first (--configs vid2act ...).')


@functools.cache  # A study asks for every variant and task.
def _usual():
  return elements.Config(resources.defaults()['agent']['vid2act']).flat


def from_start(options):
  """Whether relevance in imagination is that of the start state, as the published code has it."""
  return options.guide and options.weights == 'learned' and options.guide_from == 'start'


def needs_teacher(config):
  """Whether anything of a run is the teacher's.

  An evaluation has weights of its own to start from. So has a run that is continued, which takes a teacher that is
  named or still there, for its summary, but does without.
  """
  options = config.agent.vid2act
  begins = options.init and config.script != 'eval_only'
  return bool(options.distill or options.guide or begins and (config.vid2act.teacher or not spares_teacher(config)))


def spares_teacher(config):
  """Whether a run began from a teacher's weights, goes on from its own, and has no other use for the teacher."""
  if config.agent.typ != 'vid2act' or config.random_agent:
    return False
  options = config.agent.vid2act
  compared = options.rehearse and options.rehearse_from < 1
  used = options.distill or options.guide or compared or acts(config) and not config.vid2act.cloned
  begins = options.init and config.script != 'eval_only' and not used
  return bool(begins and checkpoints.latest(processes.home(config)))


def needs_recordings(config):
  """Whether a run draws from recordings as it learns, apart from those that make its teacher."""
  options = config.agent.vid2act
  return config.script != 'eval_only' and (options.rehearse > 0 or options.guide and options.vae.online)


def acts(config):
  """Whether sources carry out episodes, in training or in evaluations; in those of the policy alone they do not."""
  alone = config.script == 'eval_only' and config.agent.vid2act.execute.evaluate == 'policy'
  return executes(config) and not alone


def executes(config):
  """Whether sources carry out training episodes."""
  execute = config.agent.vid2act.execute
  return config.agent.typ == 'vid2act' and max(execute.start, execute.end) > 0


def seen(options, batch):
  """Return how many of a batch's sequences the teachers see."""
  return max(1, round(options.share * batch))


def rows(config):
  """Return how many VAE states go with each step so that a batch has `vae.batch` of them."""
  steps = config.batch_size * (config.batch_length + config.replay_context)
  return -(-config.vid2act.vae.batch // steps)


def floor(options, sources):
  """Return the least weight that L_distill gives to each source."""
  return options.floor / sources if options.floor_per_source else options.floor
