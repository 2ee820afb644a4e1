"""What the report of one run shows, from whatever its logdir holds; what is missing is said."""

import contextlib
import time

from ..common import charts, films, page
from ..common.progress import clock
from ..training import curves, scores, summary
from .logdir import CONFIG, FILES, POLICY, Run

USEFUL = {'Relevance', 'Episodes carried out by', 'Mean return of these'}
LABELS = {'Episode score': 'score', 'Success rate': 'share', 'World-model losses': 'loss',
          'Relevance': 'relevance', 'Episodes carried out by': 'episodes',
          'Mean return of these': 'return per episode'}
TOP = 12  # Sources beside a film.


def content(folder):
  """Return what the template shows of the run in a logdir."""
  run = Run(folder)
  sections = [_learning(run), _sources(run), _episode(run), _openloop(run), _ran(run), _notes(run)]
  sections.append(('missing', 'What is missing', [page.words(*run.missing)] if run.missing else []))
  return dict(
      kicker='Report of a run', title=f"{run.at('script') if run.stage else run.method} on {run.task}", lead=_lead(run),
      sections=[x for x in sections if x[2]])


def _lead(run):
  """Yield sentences on how far the run is and what came out."""
  wanted = run.wanted
  of = f' of {page.text(wanted)}' if wanted and wanted > run.step else ''
  if run.owner:
    yield f'Still going on ({run.owner}): {page.text(run.step)}{of} {run.unit} so far.'
  elif not run.ended or of:
    yield f'Has not ended: {page.text(run.step)}{of} {run.unit} are logged.'
  else:
    whole = sum(run.summary['stages'].values())
    yield f'Ended after {page.text(run.step)} {run.unit}' + (f' and {clock(whole)}.' if whole else '.')
  means = run.summary['eval'] or {
      k: v for k in ('score', 'success_any', 'success_last')
      if (v := run.last(f'eval/{k}')) is not None}
  if means:
    yield f'Last evaluation: {summary.describe(means)}.'
  yield from (f'{x}.' for x in summary.learned(run.rows))
  with contextlib.suppress(KeyError):  # Of a summary that another version wrote.
    yield from (f'{x}.' for x in summary.useful(run.summary['execution']))


def _learning(run):
  blocks = [x for title, names in curves.panels(run.rows).items() if title not in USEFUL
            for x in _chart(run, title, names)]
  return 'learning', 'Learning', blocks


def _chart(run, title, names):
  """Return the block of one panel of the curves, if there are any in it."""
  series = [dict(name=name, xs=xs, ys=ys, dots=key == 'episode/score') for key, name in names.items()
            for xs, ys in [scores.points(run.rows, key)] if xs]
  if not series:
    return []
  left = max(0, len(series) - charts.MOST)
  series.sort(key=lambda x: -x['ys'][-1] if left else 0)
  note = f'The {left} lowest at the end are left out here; the table has them.' * bool(left)
  return [page.chart(title, charts.lines(
      series, run.unit, LABELS[title], **curves.AXES.get(title, {})), note)]


def _sources(run):
  """Return relevance and usefulness: over training, and of each source in a table."""
  panels = curves.panels(run.rows)
  blocks = [x for title in panels if title in USEFUL for x in _chart(run, title, panels[title])]
  acted, weights = run.summary['execution'], run.summary['final_relevance']
  execution = lambda name, key, prefix: acted.get(name, {}).get(key, run.last(prefix + name))
  policy = ['policy'] * ('policy' in acted or run.last(f'{curves.EPISODES}policy') is not None)
  table = [(
      POLICY.get(name, name), weights.get(name, run.last(curves.RELEVANCE + name)),
      execution(name, 'episodes', curves.EPISODES), execution(name, 'earned', curves.EARNED))
      for name in (*run.sources, *policy)]
  if table:
    blocks.append(page.table('Sources: how relevant, and what they carried out and earned', (
        'source', 'relevance at the end', 'training episodes carried out', 'return per episode'), table))
  return 'sources', 'Relevance and usefulness of the sources', blocks


def _episode(run):
  if not run.film:
    return 'episode', 'An episode', []
  frames, times = run.film
  along, rewards = run.along, run.along['reward']
  shown = films.steps(times, len(rewards) or None)
  total = [sum(rewards[: t + 1]) for t in range(len(rewards))]
  known = [(k, v) for k, v in along['relevance'].items() if len(v) == len(shown)]
  known = sorted(known, key=lambda x: -sum(x[1]))[:TOP]
  if rewards and not known:
    run.missing.append('There is no relevance: this run weighs no sources.')
  gained = [('reward', rewards), ('return so far', total), ('success', along['success'])]
  gained = [x for x in gained if len(x[1]) == len(shown)]
  pictures = [page.chart(title, charts.lines(
      [dict(name=k, xs=range(len(shown)), ys=v) for k, v in lines], 'step of the episode', ylabel,
      xlim=(0, max(1, len(shown) - 1)), **axes)) for title, lines, ylabel, axes in (
          ('Relevance along the episode', known, 'relevance', dict(ylim=(0, 1))),
          ('Return so far', [x for x in gained if x[1] is total], 'return', {})) if lines]
  beside = dict(
      names=[k for k, _ in gained + known], numbers=[[round(x, 3) for x in v] for _, v in gained + known],
      charts=pictures, bars=[False] * len(gained) + [True] * len(known)) if gained + known else None
  when = f' at {page.text(along["step"])} env steps' if along['step'] is not None else ''
  drawn_before = None if known else run.picture('eval_relevance.png')  # An earlier version's.
  title = f'First episode of the last evaluation{when}'
  by = along['by'] and ('Carried out by the policy.' if along['by'] == 'policy' else
                        f"Carried out by the source {along['by']}, not by the policy.")
  best = run.at('agent', 'vid2act', 'execute', 'evaluate') == 'best'
  said = ['Evaluations are carried out by whoever has earned most in training, a source or the policy.'] * best
  said += [by] * bool(by)
  return 'episode', 'Along an episode', [
      *[page.words(*said)] * bool(said),
      page.film(title, films.sheet(frames, shown), min(times), beside),
      *([page.picture('Relevance along it', drawn_before)] if drawn_before else [])]


def _openloop(run):
  blocks = [
      page.film(name.removesuffix('.gif').replace('_', ' '), films.sheet(frames, films.steps(times)),
                min(times))
      for name, (frames, times) in run.films()]
  if not blocks:
    run.missing += [FILES['openloop*.gif']] * (run.at('script') != 'clone')  # Which has no world model.
    return 'openloop', '', []
  said = 'From above: what was seen, what the world model predicts from the first frames on, and how they differ.'
  if run.stage:
    said = 'From above: what was seen, and what the world model makes of it; with a red edge, what it predicts unseen.'
  return 'openloop', 'Open-loop predictions', [page.words(said), *blocks]


def _ran(run):
  at, made, used = run.at, run.summary, lambda key: run.last(f'usage/psutil/{key}')
  suite = run.task.split('_')[0]
  known = at('env', suite) if isinstance(at('env', suite), dict) else {}
  memory = used('proc_ram_gb')
  blocks = [page.facts([
      ('task', run.task), ('method', run.method), ('agent', at('agent', 'typ')),
      ('seed', made['seed'] if made['seed'] is not None else at('seed')), ('script', at('script')),
      (run.unit, run.step), ('updates', made['updates']),
      ('train ratio', None if run.stage else at('run', 'train_ratio')), ('batch', _batch(run)),
      ('environment', ', '.join(f'{k} {v}' for k, v in known.items() if v not in ('', '{}'))),
      ('sources', len(run.sources) or None), ('teacher', at('vid2act', 'teacher')),
      ("hash of the teacher's files", (run.teacher['hash'] or '')[:16]),
      ("the teacher's updates", made['pretrain_updates'] or None), ('DreamerV3', made['host']),
      ('JAX', made['jax']), ("hash of this project's code", made['code']), ('platform', at('jax', 'platform')),
      ('cores', used('total_cpu_count')),
      ('memory of the process', memory and f'{memory:.1f} GiB'), ('logdir', run.folder),
      ('last change', _changed(run.folder))])]
  if made['stages']:
    blocks.append(page.table('Time of each stage, 0 where its result was reused', ('stage', 'time'), [
        (k, (clock(v), v)) for k, v in made['stages'].items()]))
  if run.settings:
    blocks.append(page.lines(f'All settings ({CONFIG})', run.settings.splitlines(), closed=True))
  return 'ran', 'What ran', blocks


def _batch(run):
  """Return the size of a batch in words; stages have keys of their own, and behaviours learn from single steps."""
  stage = {'pretrain': ('vid2act', 'pretrain'), 'clone': ('vid2act', 'behaviours')}.get(run.at('script'), ())
  count, length = (run.at(*stage, x) for x in ('batch_size', 'batch_length'))
  return count and (f'{count} x {length}' if length else f'{count} steps')


def _changed(folder):
  times = [x.stat().st_mtime for x in folder.glob('*.*') if x.is_file()]
  return time.strftime('%Y-%m-%d %H:%M', time.localtime(max(times))) if times else None


def _notes(run):
  rows = [page.fitting(x, dict(time=str, lines=[str])) for x in run.notes]
  blocks = [page.lines(x['time'] or 'unknown time', x['lines']) for x in rows if x['lines']]
  stopped = sorted(x.name for x in run.folder.glob('nonfinite-*'))
  if stopped:
    blocks.insert(0, page.words(f"The run met values that are not finite, see {', '.join(stopped)}."))
  return 'notes', 'Load reports and warnings', blocks
