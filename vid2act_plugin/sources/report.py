"""What became of other people's data: columns, episodes and steps taken or left, and why."""

import dataclasses

from ..common.errors import printable
from ..common.output import count, say

PARTIAL = 3  # Status of an import that left most of the data out; 1 and 2 are those of errors.
SHOWN = 20  # Kinds of episodes, columns of one, and characters of a name: of more, only the number.
WIDE = 80


@dataclasses.dataclass
class Report:
  """Of one import, filled in while it runs.

  data, folder, format: what was read, into where, and as what. columns: as
  `layouts` returns them. steps: `{name: T}` of the episodes that can be read.
  found: names of the episodes, without the number `unasked` that options leave out. skipped: `{name: sentence}`.
  taken: `{name: steps in the recording}`. limit: as of the command line.
  """

  data: str = ''
  folder: str = ''
  format: str = ''
  columns: list = dataclasses.field(default_factory=list)
  steps: dict = dataclasses.field(default_factory=dict)
  found: list = dataclasses.field(default_factory=list)
  skipped: dict = dataclasses.field(default_factory=dict)
  taken: dict = dataclasses.field(default_factory=dict)
  limit: int = 0
  unasked: int = 0

  @property
  def partial(self):
    """Say whether more than half of the episodes, or of their steps, were left out for faults."""
    total = self._steps(self.taken) + self._steps(self.skipped)
    return (2 * len(self.skipped) > len(self.skipped) + len(self.taken)
            or 2 * self._steps(self.skipped) > total)

  def counts(self):
    """Return `{episodes: {...}, steps: {...}}` with plain numbers."""
    whole = {k: self.steps.get(k, v) for k, v in self.taken.items()}
    within = {k: min(v, self.limit + 1) if self.limit else v for k, v in whole.items()}
    unasked = self.unasked + len(self.found) - len(self.taken) - len(self.skipped)
    return dict(
        episodes=dict(
            found=len(self.found) + self.unasked, taken=len(self.taken), left=len(self.skipped),
            not_asked_for=unasked),
        steps=dict(
            taken=sum(self.taken.values()), left=self._steps(self.skipped),
            beyond_limit=sum(whole.values()) - sum(within.values()),
            joined=sum(within.values()) - sum(self.taken.values()),
            unknown_episodes=sum(x not in self.steps for x in self.skipped)))

  def machine(self, manifest):
    """Return all of it as a value of JSON; `manifest`: that of the recording, {} if none is whole."""
    facts = {k: manifest.get(k) for k in ('act_size', 'fps', 'reward', 'success')}
    return dict(
        status=PARTIAL * self.partial if manifest else 1, data=self.data, recording=self.folder, format=self.format,
        size=manifest.get('env', {}).get('size'), **facts, columns=self.columns, **self.counts(),
        skipped=[dict(episode=k, reason=printable(v)) for k, v in self.skipped.items()])

  def say_columns(self):
    """Print one line for each way in which episodes were read."""
    for layout in self.columns[:SHOWN]:
      taken = '; '.join(f'{k} from {_list(v)}' for k, v in layout['taken'].items())
      left = ', '.join(f"{k} ({v})" for k, v in [*layout['left'].items()][:SHOWN])
      more = len(layout['left']) - SHOWN
      say(f"Columns of {count(layout['episodes'], 'episode')}: {taken}. Left: {left or 'none'}"
          + f' and {more} more' * (more > 0) + '.')
    if len(self.columns) > SHOWN:
      say(f'Columns: and {count(len(self.columns) - SHOWN, "more kind")} of episodes.')

  def say_end(self):
    """Print the last line, which counts what was taken and left."""
    episodes, steps = (self.counts()[k] for k in ('episodes', 'steps'))
    left = [f"{count(episodes['left'], 'episode')} ({count(steps['left'], 'step')}"
            + f" and those of {steps['unknown_episodes']} that cannot be read"
            * bool(steps['unknown_episodes']) + ') for the reasons above'] * bool(episodes['left'])
    for number, what, why in (
        (episodes['not_asked_for'], 'episode', 'not asked for'),
        (steps['beyond_limit'], 'step', 'beyond --limit'), (steps['joined'], 'step', 'by --repeat')):
      left += [f'{count(number, what)} {why}'] * bool(number)
    say(f"Taken: {episodes['taken']} of {count(episodes['found'], 'episode')}, {count(steps['taken'], 'step')}. "
        f"Left: {', '.join(left) or 'nothing'}."
        + f' Most of the data was left out: the status is {PARTIAL}.' * self.partial)

  def _steps(self, names):
    return sum(self.steps.get(x, 0) for x in names)


def layout(episode):
  """Return which columns of a `formats.Episode` became what, and which were left, as a key."""
  names = episode.names or {k: k for k in ('image', *episode.arrays)}
  taken = tuple((k, tuple(map(_name, [v] if isinstance(v, str) else v))) for k, v in names.items())
  return taken, tuple((_name(k), _name(v)) for k, v in episode.left.items())


def layouts(counts):
  """Return `[{episodes, taken: {ours: [theirs]}, left: {theirs: why}}]` of `{layout: episodes}`."""
  return [
      dict(episodes=n, taken={k: list(v) for k, v in taken}, left=dict(left))
      for (taken, left), n in sorted(counts.items(), key=lambda x: -x[1])]


def _name(text):
  text = printable(str(text))
  return text if len(text) <= WIDE else f'{text[:WIDE - 1]}…'


def _list(names):
  return ', '.join(names[:SHOWN]) + f' and {len(names) - SHOWN} more' * (len(names) > SHOWN)
