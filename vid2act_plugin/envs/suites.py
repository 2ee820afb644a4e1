"""The suites of environments that we register: all facts about each, in one place."""

import dataclasses
import difflib
import importlib.util
from collections.abc import Callable

from ..common.errors import UserError
from . import fetch, registry, render

RANDOM = 'random'  # The expert of a task that has none.


@dataclasses.dataclass(frozen=True)
class Suite:
  """What the other parts have to know of a suite.

  env: 'module:Class' in the host's Env interface. tasks: function that returns
  their names. expert: function of a task's name that returns what
  `expert_action` is there, `RANDOM` where there is none. settings: the
  constructor's, as far as they decide what is recorded. packages: those whose
  versions do. sources: function of a run's task that returns the usual ones.
  success: whether tasks may tell success. actions: function of a task's name and
  settings that returns how many it has. version: what may follow a task's name.
  find: function of a task's name and a key that raises a `UserError` where there is none;
  None: it is to be one of `tasks`. digest: function of a task's name that returns a
  hash of what else decides what is recorded.
  """

  env: str
  tasks: Callable
  expert: Callable
  settings: tuple
  packages: tuple
  sources: Callable
  success: bool
  actions: Callable
  version: str = ''
  find: Callable | None = None
  digest: Callable = lambda task: ''


def check(name, key='task'):
  """Raise a `UserError` unless `name`, such as metaworld_door-lock, is well formed and known.

  Suites of the host's own are not ours to judge.
  """
  suite, _, task = name.partition('_')
  if not task:
    raise UserError(
        f"The key {key} is '{name}', which is not of the form SUITE_TASK; "
        'an example is metaworld_door-lock.')
  if suite in SUITES and SUITES[suite].find:
    SUITES[suite].find(task, key)
  elif suite in SUITES:
    known = SUITES[suite].tasks()
    if task.removesuffix(SUITES[suite].version) not in known:
      near = difflib.get_close_matches(task, known, 3, 0.4) or known
      raise UserError(
          f"The key {key} is '{name}', but {suite} has no task '{task}'; "
          f"did you mean {' or '.join(f'{suite}_{x}' for x in near)}?")


def check_options(name, options, what):
  """Raise a `UserError` where one of a command's `options`, such as limit, is none of the suite's settings.

  name: of a task, or of a source that begins with one; what: the word for it. Suites of the host's own
  are not ours to judge.
  """
  suite = SUITES.get(name.split('_')[0])
  for key in options if suite else ():
    if key not in suite.settings:
      raise UserError(
          f"The option --{key} is no setting of the {what} '{name}'; leave it out, or give this {what} a "
          'command of its own.')


def actions(name, settings):
  """Return how many actions a task such as metaworld_door-lock has; 0 in suites of the host's own."""
  suite, _, task = name.partition('_')
  return SUITES[suite].actions(task, settings) if suite in SUITES else 0


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


def filename(name):
  """Return the name of a task for folders, tables and metrics: some have slashes and colons."""
  return name.replace('/', '--').replace(':', '..')


def plain(name):
  """Return the name of a task, such as metaworld_door-lock, without a version."""
  suite = SUITES.get(name.split('_')[0])
  return name.removesuffix(suite.version) if suite else name


def _dmcontrol_actions(task, settings):
  domain, name = dmcontrol()[task]
  from dm_control import suite
  return suite.load(domain, name).action_spec().shape[0]


def _gymnasium_actions(task, settings):
  """Make the environment for a moment: a `UserError` says why it has no action or image."""
  from . import gymnasium
  env = gymnasium.Gymnasium(task, **settings)
  env.close()
  return env.act_space['action'].shape[0]


def _others(suite, version, names):
  """Return a function of a task -> the named sources but that task itself."""
  return lambda task: [f'{suite}_{x}' for x in names if x != task.removesuffix(version)]


def _metaworld():
  render.setup_gl()  # Meta-World imports MuJoCo, which chooses its GL backend once.
  from metaworld.env_dict import ALL_V3_ENVIRONMENTS
  return sorted(x.removesuffix('-v3') for x in ALL_V3_ENVIRONMENTS)


SUITES = {
    'metaworld': Suite(
        env='vid2act_plugin.envs.metaworld:MetaWorld', tasks=_metaworld, expert=lambda task: 'scripted',
        settings=('size', 'camera', 'repeat', 'limit', 'reward', 'orientation', 'render'),
        packages=('metaworld', 'mujoco'), success=True, actions=lambda task, settings: 4, version='-v3',
        sources=_others('metaworld', '-v3', (
            'door-close', 'faucet-open', 'handle-press', 'plate-slide', 'reach-wall', 'window-close'))),
    'dmcontrol': Suite(
        env='vid2act_plugin.envs.dmcontrol:DMControl', tasks=dmcontrol, expert=lambda task: 'planned',
        settings=('size', 'camera', 'repeat', 'limit', 'render'),
        packages=('dm-control', 'mujoco'), success=False, actions=_dmcontrol_actions,
        sources=_others('dmcontrol', '', ('cheetah_run', 'hopper_stand', 'walker_walk', 'walker_run'))),
    'gymnasium': Suite(
        env='vid2act_plugin.envs.gymnasium:Gymnasium', tasks=registry.tasks,
        expert=lambda task: 'scripted' if fetch.known(task) else RANDOM,
        settings=('size', 'image', 'success', 'make', 'repeat', 'limit', 'render'),
        packages=('gymnasium', 'mujoco'), success=True, actions=_gymnasium_actions,
        find=registry.find, digest=registry.digest,
        sources=lambda task: [f'gymnasium_{x}' for x in fetch.sources(task)])}
