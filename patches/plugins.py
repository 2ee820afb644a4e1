"""Extension points of DreamerV3, filled by the entry points `dreamerv3.plugins`.

Each entry point is a callable without arguments that returns a dict with any of

  defaults  path of a YAML file: new keys with their default values
  overlays  {name: path of a YAML file that changes values}
  agents    {agent.typ: factory(config) -> fn(obs_space, act_space, agent_config)}
  envs      {suite: 'module:Class'}
  scripts   fn(config) -> {script: fn(config, args)}, ahead of the host's own
  prepare   fn(config) -> config, called once before the run script starts

It may be called many times and in every process. The environment variable
DREAMERV3_PLUGINS holds a comma separated list of the entry points to load;
empty, none is.
"""

import difflib
import functools
import importlib
import importlib.metadata
import os
import pathlib

from ruamel.yaml import YAML

from .overlays import Overlays, PluginError, extend
from .overlays import overlay as overlay

PARTS = {
    'defaults': (str, os.PathLike), 'overlays': dict, 'agents': dict, 'envs': dict,
    'scripts': callable, 'prepare': callable}
SCRIPTS = (
    'train', 'train_eval', 'eval_only', 'parallel', 'parallel_env',
    'parallel_envs', 'parallel_replay')


@functools.cache
def load():
  """Return `{name: plugin dict}` for the entry points that are switched on."""
  points = {
      x.name: x for x in importlib.metadata.entry_points(group='dreamerv3.plugins')}
  wanted = os.environ.get('DREAMERV3_PLUGINS')
  names = points if wanted is None else [x for x in wanted.split(',') if x]
  plugins = {}
  for name in names:
    if name not in points:
      raise PluginError(
          f"DREAMERV3_PLUGINS names the plugin '{name}', which is not installed; "
          f"installed are: {', '.join(points) or 'none'}.")
    try:
      plugins[name] = points[name].load()()
    except (Exception, SystemExit) as e:
      raise PluginError(
          f"The plugin '{name}' ({points[name].value}) failed to load with "
          f"{type(e).__name__}: {e}; mend it, or set DREAMERV3_PLUGINS to a list "
          f"without it.") from e
    _check(name, plugins[name])
  for kind in ('overlays', 'agents', 'envs'):
    _once(plugins, kind)
  return plugins


def configs(path):
  """Return the host's presets with the plugins' defaults and overlays."""
  path = pathlib.Path(str(path))
  host = {k: v for k, v in YAML(typ='safe').load(path.read_text()).items()}
  for name, plugin in load().items():
    if 'defaults' in plugin:
      new = YAML(typ='safe').load(pathlib.Path(plugin['defaults']).read_text())
      host['defaults'] = extend(host['defaults'], new, name)
  return Overlays(host, _all('overlays'))


def prepare(config):
  for plugin in load().values():
    if 'prepare' in plugin:
      config = plugin['prepare'](config)
  return config


def agent(config):
  typ = config.agent.get('typ', 'dreamerv3')
  if typ == 'dreamerv3':
    from .agent import Agent
    return Agent
  return _lookup('agents', typ, 'agent.typ', ['dreamerv3'])(config)


def env(suite):
  module, cls = _lookup('envs', suite, 'task, before its first underscore,').split(':')
  return getattr(importlib.import_module(module), cls)


def run(config, args):
  """Run a plugin's script and return whether there was one."""
  scripts = {}
  for plugin in load().values():
    if 'scripts' in plugin:
      scripts.update(plugin['scripts'](config))
  if config.script in scripts:
    scripts[config.script](config, args)
    return True
  if config.script not in SCRIPTS:
    raise PluginError(
        f"Unknown script '{config.script}'; choose one of "
        f"{', '.join(sorted({*SCRIPTS, *scripts}))}.")
  return False


def _check(name, plugin):
  """Raise a `PluginError` unless a plugin returned a dict of the parts that there are."""
  if not isinstance(plugin, dict):
    raise PluginError(
        f"The plugin '{name}' returned a {type(plugin).__name__} instead of a dict with any of "
        f"{', '.join(PARTS)}.")
  for key, value in plugin.items():
    if key not in PARTS:
      near = difflib.get_close_matches(str(key), PARTS, 1) or PARTS
      raise PluginError(
          f"The plugin '{name}' returned the key '{key}', which nothing asks for; did you mean "
          f"{' or '.join(near)}?")
    kind = PARTS[key]
    if not (callable(value) if kind is callable else isinstance(value, kind)):
      words = {callable: 'a function', dict: 'a dict'}.get(kind, 'the path of a file')
      raise PluginError(
          f"The plugin '{name}' returned {key} as a {type(value).__name__} instead of {words}.")


def _once(plugins, kind):
  """Raise a `PluginError` if two plugins have something of one name: neither may win silently."""
  owner = {}
  for name, plugin in plugins.items():
    for key in plugin.get(kind, {}):
      if owner.setdefault(key, name) != name:
        raise PluginError(
            f"The plugins '{owner[key]}' and '{name}' both have '{key}' among their {kind}; set "
            'DREAMERV3_PLUGINS to a list with one of them.')


def _all(kind):
  return {k: v for plugin in load().values() for k, v in plugin.get(kind, {}).items()}


def _lookup(kind, name, key, extra=()):
  found = _all(kind)
  if name not in found:
    known = sorted({*found, *extra})
    near = difflib.get_close_matches(name, known, 3, 0.5) or known
    raise PluginError(
        f"Unknown value '{name}' of the key {key}; did you mean {' or '.join(near) or 'none'}?")
  return found[name]
