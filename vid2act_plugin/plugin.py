"""The one seam: what the host is told about us, in every process that asks."""

import importlib
from functools import partial as bind

from .common.errors import as_user_errors
from .common.resources import data
from .envs import suites


def plugin():
  """Return our defaults, overlays, agents, suites, run scripts and preparation."""
  configs = data('configs')
  overlays = {x.stem: x for x in sorted(configs.glob('*.yaml'))}
  return dict(
      defaults=overlays.pop('defaults'),
      values=overlays.pop('values'),
      overlays={k: v for k, v in overlays.items() if k != 'host'},
      agents={'vid2act': _agent},
      envs={k: v.env for k, v in suites.SUITES.items()},
      scripts=_scripts,
      prepare=_prepare)


def _agent(config):
  from .agent.build import make
  return bind(make, config)


def _prepare(config):
  from .prepare import prepare
  with as_user_errors(config.logdir):
    return prepare(config)


def _scripts(config):
  scripts = {x: _lazy(f'training.{x}', 'run') for x in ('pretrain', 'clone')}
  if config.run.eval_every > 0:
    scripts.update({
        k: _reported(_lazy('training.train', k)) for k in ('train', 'train_eval', 'eval_only')})
  return scripts


def _reported(script):
  def run(config, args):
    script(config, args)
    from .studies import report
    report.after(config.logdir)
  return run


def _lazy(module, name):
  def script(config, args):
    with as_user_errors(config.logdir):
      return getattr(importlib.import_module(f'.{module}', __package__), name)(config, args)
  return script
