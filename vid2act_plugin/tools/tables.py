"""What `vid2act inspect` has found, as tables."""

import collections

from ..common.output import say, table


def show(found):
  """Print reports of `inspect.inspect`: tables first, then what was skipped or is damaged."""
  records = [x for x in found if x['kind'] == 'recording']
  if records:
    _recordings(records)
  for x in found:
    if x['kind'] in ('teacher', 'behaviours'):
      _learned(x)
  for x in found:
    for reason in x.get('skipped') or ():
      say(f"Skipped in {x['path']}: {text(reason)}")
    for sentence in x['damaged']:
      say(f'Damaged: {sentence}')


def text(value):
  """Return a value of JSON in words."""
  if isinstance(value, dict):
    return ', '.join(_lines(value))
  if isinstance(value, list):
    return ' x '.join(map(text, value)) or '-'
  return str(value) or '-'


def _lines(value):
  """Return a value of JSON in words, those of an object as one line for each of its keys."""
  if isinstance(value, dict):
    return [f'{k} {text(v)}' for k, v in value.items()] or ['-']
  return [text(value)]


def _recordings(records):
  table('Episodes', (
      'source', 'episodes', 'steps', ['return', 'mean (min to max)'], ['experts won', 'any, last'],
      ['all won', 'any, last'], 'MB'), [
      (x['source'], x['episodes'], x['steps'], _range(x['return']),
       *(_won(x['success'][k]) for k in ('experts', 'all')),
       f"{x['bytes'] / 1e6:.1f}")
      for x in records])
  table('Spaces', ('source', 'image', 'actions', 'range of each action'), [
      (x['source'], text(x['image']), _actions(x), ', '.join(
          f'{low:.2f} to {high:.2f}' for low, high in zip(*x['actions'].values())) or '-')
      for x in records])
  _grouped('Behaviour', ('episodes of', 'sources'), records, lambda x: [
      [f'{k}: {n}' for k, n in x['behaviours'].items()] or '-'])
  _grouped('Settings', (
      'suite', 'environment', 'versions', 'renderer', 'imported', 'sources'), records, lambda x: [
          x['suite'], *(_lines(x[k]) for k in ('env', 'versions', 'renderer', 'imported'))])


def _actions(x):
  return x['act_size'] if x['inferred'] is None else (
      f"{x['act_size']}, inferred with confidence {x['inferred']:.2f}")


def _grouped(title, columns, records, key):
  """Print one row for all sources that have the same `key`."""
  groups = collections.defaultdict(list)
  for x in records:
    groups[str(key(x))].append(x)
  table(title, columns, [(*key(x[0]), [y['source'] for y in x]) for x in groups.values()])


def _learned(report):
  hidden = 'path', 'kind', 'damaged', 'sources'
  table(f"{report['kind'].capitalize()} {report['path']}", ('', ''), [
      (k.replace('_', ' '), text(v)) for k, v in report.items() if k not in hidden])
  blank = lambda x: '-' if x is None else text(x)
  memory = ['memory'] * (report['kind'] == 'teacher')
  table('Its sources' if memory else 'Their sources', (
      'source', 'actions', *['states in memory'] * len(memory), ['behaviour', 'held-out error'],
      ['success on its own task', 'without, with noise']), [
      (x['source'], x['act_size'], *(x[k] for k in memory), blank(x['behaviour_error']),
       ', '.join(map(str, x['behaviour_success'] or ['-']))) for x in report['sources']])


def _range(values):
  return '-' if values['mean'] is None else '{mean:.1f} ({min:.1f} to {max:.1f})'.format(**values)


def _won(counts):
  return '{any}, {last} of {episodes}'.format(**counts) if counts else '-'
