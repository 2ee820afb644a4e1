"""The suites of environments that we register, and their task names."""

import difflib

from ..common.errors import UserError
from . import render


def check(name, key='task'):
  """Raise a `UserError` unless `name`, such as metaworld_door-lock, is well formed and known.

  Suites of the host's own are not ours to judge.
  """
  suite, _, task = name.partition('_')
  if not task:
    raise UserError(
        f"The key {key} is '{name}', which is not of the form SUITE_TASK; "
        'an example is metaworld_door-lock.')
  if suite in TASKS:
    known = TASKS[suite]()
    if task.removesuffix(VERSIONS.get(suite, '')) not in known:
      near = difflib.get_close_matches(task, known, 3, 0.4) or known
      raise UserError(
          f"The key {key} is '{name}', but {suite} has no task '{task}'; "
          f"did you mean {' or '.join(f'{suite}_{x}' for x in near)}?")


def dmcontrol():
  """Return `{name: (domain, task)}` of the DeepMind Control Suite."""
  render.setup_gl()  # It also chooses its GL backend once.
  from dm_control import suite
  return {f'{domain}_{task}': (domain, task) for domain, task in suite.ALL_TASKS}


def _metaworld():
  render.setup_gl()  # Meta-World imports MuJoCo, which chooses its GL backend once.
  from metaworld.env_dict import ALL_V3_ENVIRONMENTS
  return sorted(x.removesuffix('-v3') for x in ALL_V3_ENVIRONMENTS)


ENVS = {
    'metaworld': 'vid2act_plugin.envs.metaworld:MetaWorld',
    'dmcontrol': 'vid2act_plugin.envs.dmcontrol:DMControl'}
TASKS = {'metaworld': _metaworld, 'dmcontrol': dmcontrol}
VERSIONS = {'metaworld': '-v3'}  # May follow a task's name.
