"""Extension points of DreamerV3, filled by the entry points `dreamerv3.plugins`.

Each entry point is a callable without arguments that returns a dict with any of

  defaults  path of a YAML file: new keys with their default values
  values    path of a YAML file: what settings may be, see values.py
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

from . import arguments, values
from .overlays import Overlays, PluginError, extend, flat, mapping
from .overlays import overlay as overlay

PATH = str, os.PathLike
PARTS = {
    'defaults': PATH, 'values': PATH, 'overlays': dict, 'agents': dict, 'envs': dict,
    'scripts': callable, 'prepare': callable}
ITEMS = {  # What the dicts hold.
    'overlays': ('the path of a file', lambda x: isinstance(x, PATH)),
    'agents': ('function', callable),
    'envs': ("'module:Class'", lambda x: isinstance(x, str) and x.count(':') == 1)}
SCRIPTS = (
    'train', 'train_eval', 'eval_only', 'parallel', 'parallel_env',
    'parallel_envs', 'parallel_replay')


@functools.cache
def load():
  """Return `{name: plugin dict}` for the entry points that are switched on."""
  points = {}
  for x in importlib.metadata.entry_points(group='dreamerv3.plugins'):
    if points.setdefault(x.name, x).value != x.value:  # One may be listed twice.
      raise PluginError(
          f"Two packages have a plugin '{x.name}', {points[x.name].value} and {x.value}; "
          'uninstall one of them.')
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


def configs(path, argv=()):
  """Return the host's presets with the plugins' defaults and overlays, `argv` checked with them."""
  path = pathlib.Path(str(path))
  host = {k: v for k, v in YAML(typ='safe').load(path.read_text(encoding='utf-8')).items()}
  for name, plugin in load().items():
    if 'defaults' in plugin:
      new = mapping(plugin['defaults'], f"The defaults of the plugin '{name}',")
      host['defaults'] = extend(host['defaults'], new, name)
  for name, plugin in load().items():
    fault = 'values' in plugin and values.malformed(_table(plugin), dict(flat(host['defaults'])))
    if fault:
      raise PluginError(f"The plugin '{name}' has values, '{plugin['values']}', in which {fault}.")
  found = Overlays(host, _all('overlays'))
  arguments.check(argv, found)
  return found


def prepare(config):
  """Check what is known at the start, then let each plugin prepare the run."""
  for plugin in load().values():
    for fault in values.faults(config.flat, _table(plugin)):
      raise PluginError(fault)
  _scripts(config)
  for name, plugin in load().items():
    if 'prepare' in plugin:
      config = plugin['prepare'](config)
      if not hasattr(config, 'flat'):
        raise PluginError(
            f"The plugin '{name}' returned a {type(config).__name__} from prepare instead of the "
            'config.')
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
  scripts = _scripts(config)
  if config.script in scripts:
    scripts[config.script](config, args)
  return config.script in scripts


def _scripts(config):
  """Return the plugins' scripts; raises a `PluginError` if the config's is none, nor the host's."""
  found = {}
  for name, plugin in load().items():
    if 'scripts' in plugin:
      found[name] = plugin['scripts'](config)
      _fits(name, 'scripts', found[name], 'function', callable)
  _once({k: {'scripts': v} for k, v in found.items()}, 'scripts')
  scripts = {k: v for x in found.values() for k, v in x.items()}
  if config.script not in {*scripts, *SCRIPTS}:
    near = difflib.get_close_matches(config.script, {*scripts, *SCRIPTS}, 3, 0.5)
    raise PluginError(
        f"Unknown script '{config.script}'; choose one of "
        f"{', '.join(near or sorted({*scripts, *SCRIPTS}))}.")
  return scripts


def _table(plugin):
  return mapping(plugin['values'], 'The values') if 'values' in plugin else {}


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
    if key in ITEMS:
      _fits(name, key, value, *ITEMS[key])


def _fits(name, key, value, words, test):
  """Raise a `PluginError` unless a part is a dict of names to what `test` accepts."""
  if not isinstance(value, dict):
    raise PluginError(f"The plugin '{name}' has {key} that are a {type(value).__name__}, no dict.")
  for k, v in value.items():
    if not (isinstance(k, str) and test(v)):
      raise PluginError(f"The plugin '{name}' has {key} with {k!r}: {v!r}; each is a name: {words}.")


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
