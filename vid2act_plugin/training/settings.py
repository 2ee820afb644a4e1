"""Settings of DreamerV3's that go with each other or not, which it tells once an agent is built or reports."""

import importlib.util
import re

from ..common.errors import UserError
from ..common.output import note
from ..envs import suites


def check(config):
  """Raise a `UserError` for settings with which no agent can be built, and no logger."""
  opt, usage = config.agent.opt, 'GPUtil'
  if odd := re.search(r'[\[*?]', config.logdir):
    raise UserError(
        f"The key logdir is '{config.logdir}', but DreamerV3 takes {odd[0]} in it for a pattern of names, so that it would not "
        'find what a run has kept; name a folder without [, * and ?.')
  try:
    re.compile(config.logger.filter)
  except re.error as e:
    raise UserError(
        f"The key logger.filter is '{config.logger.filter}', which is no regular expression ({e}); "
        "write something like 'score|length|fps'.") from e
  if config.run.usage.gputil and not importlib.util.find_spec(usage):
    raise UserError(
        f'The key run.usage.gputil is True, but the package {usage} is not installed; install it '
        f'(`pip install {usage}`), or set that key to False.')
  if opt.schedule != 'const' and opt.anneal <= opt.warmup:
    raise UserError(
        f'The key agent.opt.schedule is {opt.schedule}, but the updates after which it ends, agent.opt.anneal is '
        f'{opt.anneal}; set that above {max(0, opt.warmup)}, which agent.opt.warmup takes of it, or the schedule to const.')
  suite = config.task.partition('_')[0]
  if config.script == 'train_eval' and config.run.eval_every > 0 and not config.env.get(suite, {}).get('use_seed', True):
    note(f'Note: env.{suite}.use_seed is False, so that evaluations have the episodes that training begins with.')


def environments(config):
  """Raise a `UserError` if stock DreamerV3 is to learn a task of its own environments, and they are not installed."""
  own = config.task.partition('_')[0] not in suites.SUITES
  if config.agent.typ == 'dreamerv3' and own and not importlib.util.find_spec('embodied.envs'):
    raise UserError(
        f"The task {config.task} is of DreamerV3's own environments, which its package on PyPI has not; name an overlay of "
        'ours (--configs metaworld, dmc or gymnasium), or run a checkout of DreamerV3.')


def replay(config, ours):
  """Raise a `UserError` where the replay cannot give what a loop takes; ours: whether that is ours."""
  fracs, taken = config.replay.fracs, config.consec_train * config.batch_length
  need = config.batch_size * (taken + config.replay_context)
  if config.replay.size < need:
    raise UserError(
        f'The key replay.size is {config.replay.size:g}, but a batch alone has {need} steps '
        '(batch_size, batch_length, consec_train and replay_context); set it to more.')
  # Of uniform draws alone the host does not look at the others; it compares without rounding.
  if fracs.uniform < 1 and (sum(fracs.values()) != 1 or min(fracs.values()) < 0):
    raise UserError(
        f'The key replay.fracs is {dict(fracs)}, which sum to {sum(fracs.values()):.17g}, but shares of a batch are '
        'from 0 on and sum to 1 exactly; give some such as 0.5, 0.25 and 0.25.')
  reported = config.consec_report * config.report_length
  if reported > taken:
    raise UserError(
        f'The key report_length is {config.report_length} and a report takes {reported} steps of a sequence '
        f'(consec_report), but the replay gives {taken} (batch_length, consec_train); set it to '
        f'{taken // config.consec_report} or less.')
  # A sequence of the replay begins at every step of an environment but the last ones, at which it would not end.
  first = config.batch_size * config.batch_length + config.run.envs * (taken + config.replay_context - 1)
  if config.run.train_ratio and config.run.steps < first:
    note(f'Note: nothing is learned in {config.run.steps:g} agent steps (run.steps), as the replay has a first batch after '
         f'{first} (batch_size, batch_length, run.envs).')
  for key, part in (('run.report_batches', 'a batch'), ('consec_report', 'a part of each sequence')):
    if ours and config[key] < 1:  # The host's own loop reports nothing then.
      raise UserError(f'The key {key} is {config[key]}, but a report takes {part} or more; set it to 1.')
