"""What `vid2act inspect` has found, as tables."""

import collections
import sys


def show(found):
  """Print reports of `inspection.inspect`: tables first, then what was skipped or is damaged."""
  records = [x for x in found if x['kind'] == 'recording']
  if records:
    _recordings(records)
  for x in found:
    if x['kind'] == 'teacher':
      _teacher(x)
  for x in found:
    for reason in x.get('skipped', ()):
      print(f"Skipped in {x['path']}: {text(reason)}")
    for sentence in x['damaged']:
      print(f'Damaged: {sentence}')


def text(value, comma=', '):
  """Return a value of JSON in words."""
  if isinstance(value, dict):
    return comma.join(f'{k} {text(v)}' for k, v in value.items()) or '-'
  if isinstance(value, list):
    return ' x '.join(map(text, value)) or '-'
  return str(value) or '-'


def _recordings(records):
  _table('Episodes', (
      'source', 'episodes', 'steps', 'return\nmean (min to max)', 'experts won\nany, last',
      'all won\nany, last', 'MB'), [
      (x['source'], x['episodes'], x['steps'], _range(x['return']),
       *(_won(x['success'][k]) for k in ('experts', 'all')),
       f"{x['bytes'] / 1e6:.1f}")
      for x in records])
  _table('Spaces', ('source', 'image', 'actions', 'range of each action'), [
      (x['source'], text(x['image']), x['act_size'], ', '.join(
          f'{low:.2f} to {high:.2f}' for low, high in zip(*x['actions'].values())) or '-')
      for x in records])
  _grouped('Behaviour', ('episodes of', 'sources'), records, lambda x: (
      '\n'.join(f'{k}: {n}' for k, n in x['behaviours'].items()) or '-',))
  _grouped('Settings', (
      'suite', 'environment', 'versions', 'renderer', 'imported', 'sources'), records, lambda x: (
          x['suite'],
          *(text(x[k], '\n') for k in ('env', 'versions', 'renderer', 'imported'))))


def _grouped(title, columns, records, key):
  """Print one row for all sources that have the same `key`."""
  groups = collections.defaultdict(list)
  for x in records:
    groups[key(x)].append(x['source'])
  _table(title, columns, [(*key, '\n'.join(names)) for key, names in groups.items()])


def _teacher(report):
  hidden = 'path', 'kind', 'damaged', 'sources'
  _table(f"Teacher {report['path']}", ('', ''), [
      (k.replace('_', ' '), text(v)) for k, v in report.items() if k not in hidden])
  _table('Its sources', ('source', 'actions', 'states in memory'), [
      x.values() for x in report['sources']])


def _range(values):
  return '-' if values['mean'] is None else '{mean:.1f} ({min:.1f} to {max:.1f})'.format(**values)


def _won(counts):
  return '{any}, {last} of {episodes}'.format(**counts) if counts else '-'


def _table(title, columns, rows):
  from rich import box, console, table
  live = sys.stdout.isatty()
  # Elsewhere a line is as long as it has to be: a file has no width.
  out = console.Console(
      width=None if live else 10 ** 4, force_terminal=live, markup=False, highlight=False)
  drawn = table.Table(
      title=title, title_justify='left', box=box.SIMPLE_HEAD, show_header=any(columns))
  for column in columns:
    drawn.add_column(column, overflow='fold')
  for row in rows:
    drawn.add_row(*map(str, row))
  out.print(drawn)
