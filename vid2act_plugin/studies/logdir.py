"""What can be read of a run's logdir, which may be anyone's, of any version, or still growing."""

import re

from ..common import files, films, lock, page, safe_yaml
from ..common.errors import reason
from ..teacher import bundle
from ..training import curves, evaluation, notes, summary, upstream

CONFIG, TEACHER = 'config.yaml', 'teacher.json'
STAGES = 'pretrain', 'clone'  # Scripts that make what runs need.
PNG = b'\x89PNG\r\n'  # How such a file begins.
POLICY = {'policy': 'policy, its last ones'}  # What it earned is of these, its episodes are all.
TAIL = 2 ** 16  # Bytes of a log in which its newest step is looked for.
NUMBERS = {str: float}
SUMMARY = dict(
    stages=NUMBERS, env_steps=float, updates=float, teacher=str, pretrain_updates=float, sources=[str], seed=float,
    final_relevance=NUMBERS, execution={str: NUMBERS}, eval=NUMBERS, task=str, host=str, jax=str, code=str)
FINAL = 'stages', 'env_steps', 'updates', 'final_relevance', 'execution', 'eval'  # As they were at an end.
ALONG = dict(step=float, by=str, reward=[float], success=[float], relevance={str: [float]})
FILES = {  # What is said where one is missing.
    'metrics.jsonl': 'No log, so that there are no curves.',
    summary.FILE: 'No summary: the run has not ended, or was made by DreamerV3 alone.',
    evaluation.FILM: 'No film of an episode: the run was not evaluated, or has not ended.',
    evaluation.ALONG: 'Not kept what was so at each step of the film: an earlier version made it.',
    'openloop*.gif': 'No open-loop predictions: they are drawn when a run with a world model ends.',
    notes.FILE: 'No load reports or warnings were kept; earlier versions only printed them.'}
RUNS = summary.FILE, evaluation.FILM, evaluation.ALONG  # What stages do not leave.


def is_run(folder):
  """Say whether a folder is a logdir: settings, a log or a summary lie directly in it."""
  return any((folder / x).is_file() for x in (CONFIG, *upstream.LOGS, summary.FILE))


class Run:
  """What can be read of a logdir; `missing` are sentences about what cannot."""

  def __init__(self, folder):
    self.folder, self.missing = folder, []
    log = next((x for x in upstream.LOGS if (folder / x).is_file()), upstream.LOGS[0])
    self.rows = curves.metrics(folder, log)
    self.config = self._try(CONFIG, lambda: safe_yaml.load(folder / CONFIG), 'No settings.')
    self.settings = self._try(CONFIG, lambda: files.read(folder / CONFIG).decode(errors='replace'), '')
    self.stage = self.at('script') in STAGES
    left = self._try(summary.FILE, lambda: files.parse(folder, summary.FILE))
    self.summary = page.fitting(left, SUMMARY)
    reached = max([x['step'] for x in self.rows], default=0)
    if self.summary['env_steps'] is not None and self.summary['env_steps'] < reached:  # It has gone on since then.
      self.summary = page.fitting({k: x for k, x in left.items() if k not in FINAL}, SUMMARY)
    made = folder / 'teacher' / bundle.MANIFEST, folder / 'behaviours' / bundle.FACTS
    self.ended = any(x.is_file() for x in made) if self.stage else isinstance(left, dict)
    self.teacher = page.fitting(self._try(TEACHER, lambda: files.parse(folder, TEACHER), ''),
                                dict(hash=str, sources=[str]))
    self.along = page.fitting(
        self._try(evaluation.ALONG, lambda: files.parse(folder, evaluation.ALONG)), ALONG)
    self.film = self._try(evaluation.FILM, lambda: films.read(folder / evaluation.FILM))
    self.notes = notes.read(folder)
    self.owner = lock.owner(folder)
    for name, there in (('metrics.jsonl', self.rows), (notes.FILE, self.notes)):
      if not there:
        self.missing.append(FILES[name])

  def at(self, *path):
    """Return a setting, None where the run has none."""
    found = self.config
    for key in path:
      found = found.get(key) if isinstance(found, dict) else None
    return found

  @property
  def task(self):
    return self.summary['task'] or str(self.at('task') or 'an unknown task')

  @property
  def method(self):
    name = self.at('method')
    return str(self.at('agent', 'typ') or 'dreamerv3' if name in (None, 'name') else name)

  @property
  def step(self):
    return max([x['step'] for x in self.rows] + [self.summary['env_steps'] or 0])

  @property
  def unit(self):
    return 'updates' if self.stage else 'env steps'

  @property
  def wanted(self):
    """Return the env steps, or updates of a stage, that there are to be; None if not known."""
    if self.stage or self.at('script') == 'eval_only':
      return None
    steps, suite = self.at('run', 'steps'), self.task.split('_')[0]
    repeat = self.at('env', suite, 'repeat') or 1
    number = lambda x: isinstance(x, (int, float)) and abs(x) < curves.LARGEST
    return steps * repeat if number(steps) and number(repeat) else None

  @property
  def sources(self):
    listed = self.summary['sources'] or self.teacher['sources']
    acted = [x for x in self.summary['execution'] if x != 'policy']
    logged = [k.removeprefix(curves.RELEVANCE) for x in self.rows[-1:] for k in x
              if k.startswith(curves.RELEVANCE)]
    return list(dict.fromkeys([*listed, *self.summary['final_relevance'], *acted, *logged]))

  def last(self, key):
    """Return the newest value of a metric."""
    return next((x[key] for x in reversed(self.rows) if key in x), None)

  def picture(self, name):
    """Return the bytes of a PNG, None if there is none."""
    found = (self.folder / name).is_file() and self._try(name, lambda: files.read(self.folder / name))
    return found if found and found.startswith(PNG) else None

  def films(self):
    """Yield (name, film) of all films of open-loop predictions."""
    for path in sorted(self.folder.glob('openloop*.gif')):
      found = self._try(path.name, lambda path=path: films.read(path))
      if found:
        yield path.name, found

  def _try(self, name, read, absent=None):
    """Return what a file holds, None if it cannot be read, which is noted."""
    if not (self.folder / name).exists():
      said = FILES.get(name, '') * (not self.stage or name not in RUNS) if absent is None else absent
      self.missing += [said] * bool(said)
      return None
    try:
      return read()
    except Exception as e:  # Every reader has its own; a report shows what is left.
      self.missing.append(f'{name} cannot be read ({reason(e)}).')


def step(folder):
  """Return the env step that the log of a run has reached; 0 where it has none yet."""
  path = folder / 'metrics.jsonl'
  if not path.is_file():
    return 0
  with open(path, 'rb') as file:
    file.seek(max(0, path.stat().st_size - TAIL))
    found = re.findall(rb'"step": (\d{1,15})[,}]', file.read())
  return int(found[-1]) if found else 0
