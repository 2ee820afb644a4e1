"""Recordings of all sources in memory, and batches drawn from them.

Axes: B batch, T time, L steps of all episodes of a source, A `vid2act.act_width`.
"""

import numpy as np

from ..common import progress
from ..common.errors import UserError
from ..common.output import say
from . import recording
from .recording import content_key, load_manifest

KEYS = ('image', 'action', 'reward', 'is_first', 'is_last', 'is_terminal')
SPLITS = ('train', 'holdout')


class Sources:
  """The recordings of several sources; a source's index is its place in `folders`.

  holdout: share of each source's episodes, its last ones and at least one, that
  are kept out of `train`; a source with a single episode uses it for both.
  Attributes: `names`, `act_sizes` (actions before padding), `image` (shape of
  one), `envs` (settings of each source's environment), `key` (hash of the content), `random` (per split
  and source: of which of its episodes all actions are random).
  Raises a `UserError` for damaged recordings, for differing image sizes, and
  for more than `act_width` actions.
  """

  def __init__(self, folders, holdout=0.1, act_width=16, seed=0):
    manifests = [load_manifest(x) for x in folders]
    self.seed, self.act_width, self.holdout = seed, act_width, holdout
    self.names = [x['source'] for x in manifests]
    self.act_sizes = [x['act_size'] for x in manifests]
    self.key = content_key(manifests)
    self.envs = [x['env'] for x in manifests]
    self.streams = {split: [] for split in SPLITS}
    self.worth = {split: [] for split in SPLITS}  # Per source and episode: success and return.
    self.random = {split: [] for split in SPLITS}
    self.held = []  # Per source: whether any episode is held out; a single one is in both parts.
    self._check(manifests)
    limit = recording.budget(folders, manifests)
    with progress.bar(
        'loading recordings', sum(len(x['episodes']) for x in manifests), 'episodes') as bar:
      for folder, manifest in zip(folders, manifests):
        self._load(folder, holdout, limit)
        bar.advance(len(manifest['episodes']))
    self._check_images()
    self.image = self.streams['train'][0]['image'].shape[1:]

  def sample(self, step, batch, length, split='train', more=()):
    """Draw windows of the sources' streams, evenly from each, and always the same at one `step`.

    Returns `[B, T, ...]`: image uint8, action float32 padded with zeros to A,
    reward float32, is_first, is_last, is_terminal bool, source int32, and with
    `more` confidence float32, 1 of actions that were not inferred. Windows may
    cross episodes; the first step of each is marked is_first. Raises a
    `UserError` if a source has fewer than `length` steps.
    """
    rng = np.random.default_rng([self.seed, SPLITS.index(split), step])
    windows = []
    for source in self._draw(rng, batch):
      stream = self.streams[split][source]
      start = rng.integers(0, self._room(source, split, length))
      windows.append({k: v[start: start + length] for k, v in stream.items()})
      windows[-1]['source'] = np.full(length, source, np.int32)
    data = {k: np.stack([x[k] for x in windows]) for k in (*KEYS, 'source', *more)}
    data['is_first'][:, 0] = True
    return data

  def check_windows(self, length, key='vid2act.pretrain.batch_length'):
    """Raise a `UserError` if any source has fewer than `length` steps, the value of `key`, in a part."""
    for split in SPLITS:
      for source in range(len(self.names)):
        self._room(source, split, length, key)

  def sequences(self, split='train'):
    """Yield (source index, episode `{key: [T, ...]}`) for every whole episode of the split."""
    for source, stream in enumerate(self.streams[split]):
      starts = np.flatnonzero(stream['is_first'])
      for start, stop in zip(starts, [*starts[1:], len(stream['is_first'])]):
        yield source, {k: v[start: stop] for k, v in stream.items()}

  def only(self, episodes):
    """Keep of `train` only some `episodes`, counted over all sources as `sequences` yields them.

    They become one source, so that windows are drawn evenly from their steps.
    """
    wanted = set(episodes)
    kept = [x for i, (_, x) in enumerate(self.sequences()) if i in wanted]
    self.streams['train'] = [{k: np.concatenate([x[k] for x in kept]) for k in kept[0]}]
    self.names = ['the nearest episodes']

  def only_demonstrations(self):
    """Keep of `train` only the episodes that are worth repeating, of every source."""
    for k, episodes in enumerate(self.demonstrations()):
      stream = self.streams['train'][k]
      self.streams['train'][k] = {
          key: np.concatenate([v[start: stop] for start, stop in episodes]) for key, v in stream.items()}

  def demonstrations(self, split='train'):
    """Return for each source (start, stop) in its stream of the episodes that are worth repeating.

    Those that succeeded; of a source that did not while it trains, or where nothing tells, the better
    half by return. Held out there may be none.
    """
    found = []
    for k, (stream, worth) in enumerate(zip(self.streams[split], self.worth[split])):
      starts = np.flatnonzero(stream['is_first'])
      success, gained = np.transpose(worth)
      told = any(won for won, _ in self.worth['train'][k])  # The parts are to agree on what is good.
      good = success > 0 if told else gained >= np.median(gained)
      bounds = zip(starts, [*starts[1:], len(stream['is_first'])])
      found.append([x for x, keep in zip(bounds, good) if keep])
    return found

  def _draw(self, rng, batch):
    each, rest = divmod(batch, len(self.names))
    drawn = list(range(len(self.names))) * each
    return drawn + rng.permutation(len(self.names))[:rest].tolist()

  def _room(self, source, split, length, key='vid2act.pretrain.batch_length'):
    have = len(self.streams[split][source]['reward'])
    if have < length:
      raise UserError(
          f"The windows are {length} steps long, but the source '{self.names[source]}' has "
          f'{have} in its part {split}; collect more or longer episodes, or lower the key {key}.')
    return have - length + 1

  def _load(self, folder, holdout, limit):
    manifest, episodes = recording.load(folder, limit=limit)
    random = [x.get('behaviour', {}).get('policy') == 'random' for x in manifest['episodes']]
    worth = [(x['success'].any(), x['reward'].sum()) for x in episodes]
    for episode in episodes:
      pad = self.act_width - episode['action'].shape[1]
      episode['action'] = np.pad(episode['action'], ((0, 0), (0, pad)))
      episode.setdefault('confidence', np.ones(len(episode['reward']), np.float32))
    train = len(episodes) - held_out(len(episodes), holdout)
    self.held.append(bool(episodes[train:]))
    stream = lambda part: {k: np.concatenate([x[k] for x in part]) for k in (*KEYS, 'confidence')}
    learned = stream(episodes[:train])
    rest = slice(train, None) if self.held[-1] else slice(None)
    # What nothing is held out of is both parts, and once in memory.
    for split, part, made in zip(
        SPLITS, (slice(train), rest), (learned, stream(episodes[train:]) if self.held[-1] else learned)):
      self.streams[split].append(made)
      self.worth[split].append(worth[part])
      self.random[split].append(random[part])

  def _check(self, manifests):
    for manifest in manifests:
      name, size = manifest['source'], manifest['act_size']
      if not manifest['episodes']:
        raise UserError(f"The source '{name}' has no episode yet; repeat `vid2act collect`.")
      if size > self.act_width:
        raise UserError(
            f"The key vid2act.act_width is {self.act_width}, but the source '{name}' has {size} "
            f'actions; set it to {size} or more.')
    for other in manifests[1:]:
      keys = [k for k, v in manifests[0]['env'].items() if other['env'].get(k, v) != v]
      if keys:
        say(
            f"Note: the sources '{self.names[0]}' and '{other['source']}' were recorded with "
            f"different {', '.join(keys)}.")

  def _check_images(self):
    shapes = [x['image'].shape[1:] for x in self.streams['train']]
    for name, shape in zip(self.names, shapes):
      if shape != shapes[0]:
        raise UserError(
            f"The sources '{self.names[0]}' and '{name}' have images of {shapes[0][:2]} and "
            f'{shape[:2]} pixels; collect both at one size.')


def held_out(episodes, holdout):
  """Return how many of so many episodes of a source are kept out of `train`."""
  if episodes < 2 or not holdout:
    return 0
  return min(max(1, round(episodes * holdout)), episodes - 1)
