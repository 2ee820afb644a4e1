"""The suites of environments that we register: all facts about each, in one place."""

import dataclasses
import difflib
import importlib.util
from collections.abc import Callable

from ..common.errors import UserError
from . import render


@dataclasses.dataclass(frozen=True)
class Suite:
  """What the other parts have to know of a suite.

  env: 'module:Class' in the host's Env interface. tasks: function that returns
  their names. expert: what `expert_action` of an environment is. settings: the
  constructor's, as far as they decide what is recorded. packages: those whose
  versions do. sources: the published ones. success: whether it tells success.
  actions: function of a task's name that returns how many it has.
  version: what may follow a task's name.
  """

  env: str
  tasks: Callable
  expert: str
  settings: tuple
  packages: tuple
  sources: tuple
  success: bool
  actions: Callable
  version: str = ''


def check(name, key='task'):
  """Raise a `UserError` unless `name`, such as metaworld_door-lock, is well formed and known.

  Suites of the host's own are not ours to judge.
  """
  suite, _, task = name.partition('_')
  if not task:
    raise UserError(
        f"The key {key} is '{name}', which is not of the form SUITE_TASK; "
        'an example is metaworld_door-lock.')
  if suite in SUITES:
    known = SUITES[suite].tasks()
    if task.removesuffix(SUITES[suite].version) not in known:
      near = difflib.get_close_matches(task, known, 3, 0.4) or known
      raise UserError(
          f"The key {key} is '{name}', but {suite} has no task '{task}'; "
          f"did you mean {' or '.join(f'{suite}_{x}' for x in near)}?")


def present():
  """Return `{name: suite}` of those whose package is installed."""
  package = lambda suite: suite.packages[0].replace('-', '_')
  return {k: v for k, v in SUITES.items() if importlib.util.find_spec(package(v))}


def dmcontrol():
  """Return `{name: (domain, task)}` of the DeepMind Control Suite."""
  try:
    render.setup_gl('dm_control._render')  # It also chooses its GL backend once.
    from dm_control import suite
  except ModuleNotFoundError as e:
    raise UserError(
        f'DeepMind Control needs the package dm-control ({e}); use Python 3.11 or 3.12 and install it, '
        'as for 3.13 its labmaze has no wheel.') from e
  return {f'{domain}_{task}': (domain, task) for domain, task in suite.ALL_TASKS}


def plain(name):
  """Return the name of a task, such as metaworld_door-lock, without a version."""
  suite = SUITES.get(name.split('_')[0])
  return name.removesuffix(suite.version) if suite else name


def _dmcontrol_actions(task):
  domain, name = dmcontrol()[task]
  from dm_control import suite
  return suite.load(domain, name).action_spec().shape[0]


def _metaworld():
  render.setup_gl()  # Meta-World imports MuJoCo, which chooses its GL backend once.
  from metaworld.env_dict import ALL_V3_ENVIRONMENTS
  return sorted(x.removesuffix('-v3') for x in ALL_V3_ENVIRONMENTS)


SUITES = {
    'metaworld': Suite(
        env='vid2act_plugin.envs.metaworld:MetaWorld', tasks=_metaworld, expert='scripted',
        settings=('size', 'camera', 'repeat', 'limit', 'reward', 'orientation', 'render'),
        packages=('metaworld', 'mujoco'), success=True, actions=lambda task: 4, version='-v3',
        sources=(
            'metaworld_door-close', 'metaworld_faucet-open', 'metaworld_handle-press',
            'metaworld_plate-slide', 'metaworld_reach-wall', 'metaworld_window-close')),
    'dmcontrol': Suite(
        env='vid2act_plugin.envs.dmcontrol:DMControl', tasks=dmcontrol, expert='planned',
        settings=('size', 'camera', 'repeat', 'limit', 'render'),
        packages=('dm-control', 'mujoco'), success=False, actions=_dmcontrol_actions,
        sources=(
            'dmcontrol_cheetah_run', 'dmcontrol_hopper_stand', 'dmcontrol_walker_walk',
            'dmcontrol_walker_run'))}
