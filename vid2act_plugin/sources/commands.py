"""The commands that make the recordings which a run lacks."""

import json
import shlex

from . import entries, locate


def commands(config, missing):
  """Yield (stage, sources, command): one collection per folder, one import or label per source.

  Films come last: their actions are inferred from the other sources.
  """
  roots = {}
  for source in missing:
    entry, folder = source.entry, source.folder
    if entry.foreign and not entry.film:
      height, width = locate.size(config)
      yield 'import', [entry.name], [
          'vid2act', 'import', str(entry.path), '--out', str(folder.parent), '--name',
          entry.name, '--resize', str(height), str(width),
          *(['--format', entry.format] if entry.format else []),
          *(['--key', *map('='.join, entry.keys)] if entry.keys else []),
          *(['--task', *entry.tasks] if entry.tasks else [])]
    elif not entry.film:
      roots.setdefault((folder.parent, entry.suite), []).append(entry)
  for (root, _), group in roots.items():
    yield 'collect', [x.name for x in group], _collect(config, group, root)
  for source in missing:
    if source.entry.film:
      yield 'label', [source.name], _label(config, source)


def shown(config, missing):
  """Return these commands as a user types them."""
  return ' and '.join(f'`{shlex.join(command)}`' for _, _, command in commands(config, missing))


def _label(config, source):
  """Return the command that labels films as a source."""
  given, options, play = config.vid2act.label, {}, source.teachers[0].startswith('random:')
  if play:
    env = locate.settings(config, entries.parse(config.task))['env']
    options = {'env': json.dumps(env, default=list), 'episodes': given.episodes,
               'workers': config.vid2act.collect.workers}
  options |= {'updates': given.updates, 'seed': config.vid2act.collect.seed, **dict(source.entry.keys)}
  command = ['vid2act', 'label', str(source.entry.path), '--out', str(source.folder.parent),
             '--name', source.name, '--model', str(source.model), '--from', *source.teachers]
  return command + [str(y) for k, v in options.items() for y in (f'--{k}', v)]


def _collect(config, group, root):
  chosen = locate.settings(config, group[0])
  names = [f'{x.task}@{x.behaviour}' if x.behaviour else x.task for x in group]
  options = {**chosen['collect'], **chosen['env'], 'workers': config.vid2act.collect.workers}
  command = ['vid2act', 'collect', *names, '--out', str(root)]
  for name, value in options.items():
    values = value if isinstance(value, (list, tuple)) else [value]
    command += [f"--{name.replace('_', '-')}", *map(str, values)]
  return command
