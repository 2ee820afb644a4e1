"""Curves and pictures of a run, drawn when it ends."""

import json
import pathlib

import numpy as np

from ..common import images

AXES = {
    'Success rate': dict(ylim=(-0.05, 1.05)), 'World-model losses': dict(yscale='log'),
    'Relevance': dict(ylim=(0, 1))}
RELEVANCE, EPISODES, EARNED = 'train/relevance/', 'train/execute/episodes/', 'train/execute/earned/'
LARGEST = 2 ** 53  # Steps; beyond, they are not told apart.
LIMIT = 1e100  # Of a number, either way; beyond, sums and the scale of a picture overflow.


def curves(logdir):
  """Draw `curves.png` of a run: score, success, losses and relevance over env steps.

  Success, relevance, and who carried out episodes are left out where the run has none.
  """
  rows = metrics(logdir)
  shown = panels(rows)
  with images.figure(
      pathlib.Path(logdir) / 'curves.png', 1, len(shown), figsize=(4.2 * len(shown), 3.4),
      squeeze=False, layout='tight') as (_, axes):
    for ax, (title, names) in zip(axes[0], shown.items()):
      for key, name in names.items():
        xs, ys = zip(*[(x['step'], x[key]) for x in rows if key in x] or [((), ())])
        ax.plot(xs, ys, marker='o', markersize=3, label=images.label(name))
      ax.set_title(title)
      ax.set_xlabel('env steps')
      ax.grid(alpha=0.3)
      if ax.has_data():
        ax.legend(fontsize=7)
      ax.set(**AXES.get(title, {}))


def panels(rows):
  """Return what is drawn of the rows of a log, `{title: {metric: name}}`."""
  found = {
      'Episode score': {'episode/score': 'train', 'eval/score': 'evaluation',
                        'policy/score': 'evaluation of the policy alone'},
      'Success rate': {'eval/success_any': 'at any step', 'eval/success_last': 'at the last step',
                       'policy/success_any': 'of the policy alone'},
      # Pretraining's image loss is `rec`.
      'World-model losses': {f'train/loss/{k}': k for k in _images(rows) + ('rew', 'dyn')},
      'Relevance': {k: k.split('/')[-1] for k in _keys(rows, RELEVANCE)},
      'Episodes carried out by': _names(rows, EPISODES),
      'Mean return of these': _names(rows, EARNED)}
  always = 'Episode score', 'World-model losses'
  return {k: v for k, v in found.items() if k in always or any(x in row for row in rows for x in v)}


def _images(rows):
  return ('rec',) if any('train/loss/rec' in x for x in rows) else ('image',)


def _names(rows, prefix):
  return {k: k.removeprefix(prefix) for k in _keys(rows, prefix)}


def episode(frames, weights):
  """Draw an episode: some of its frames `[T, H, W, 3]`, below them relevance over time.

  weights: `{source: [T]}`, drawn as a stacked area that fills 0 to 1. Returns
  an image `[h, w, 3]` uint8.
  """
  plt = images.pyplot()
  T = len(frames)
  shown = np.linspace(0, T - 1, min(T, 12)).round().astype(int)
  fig, (top, bottom) = plt.subplots(
      2, 1, figsize=(12, 3.6), height_ratios=[1, 2.2], layout='constrained')
  top.imshow(np.concatenate([frames[t] for t in shown], 1), aspect='auto')
  top.set_axis_off()
  bottom.stackplot(range(T), *weights.values(), labels=list(map(images.label, weights)), alpha=0.85)
  bottom.set(xlim=(0, T - 1), ylim=(0, 1), xlabel='step of the episode', ylabel='relevance')
  bottom.legend(fontsize=7, loc='upper right')
  fig.canvas.draw()
  image = np.array(fig.canvas.buffer_rgba())[..., :3]
  plt.close(fig)
  return image


def metrics(logdir, name='metrics.jsonl'):
  """Return the rows of a log: `step`, a whole number, and all else that is a number.

  Left out is what has no step, such as the torn last line of a killed run, and
  what a run gave up when it continued from a checkpoint of an earlier step.
  """
  path = pathlib.Path(logdir) / name
  rows = []
  for line in path.read_bytes().splitlines() if path.is_file() else ():
    try:
      row = json.loads(line)
    except (ValueError, RecursionError):
      continue
    if isinstance(row, dict) and type(row.get('step')) is int and 0 <= row['step'] < LARGEST:
      numbers = {k: float(v) for k, v in row.items() if number(v)}
      while rows and rows[-1]['step'] > row['step']:
        rows.pop()
      rows.append({**numbers, 'step': row['step']})
  return rows


def number(value):
  """Say whether a value of JSON is a number that can be drawn, or NaN, which leaves a gap."""
  return type(value) in (int, float) and not abs(value) > LIMIT


def relevance(rows):
  """Return (step, `{source: relevance}`) of each row that tells it."""
  found = ((x['step'], {k.removeprefix(RELEVANCE): v for k, v in x.items() if k.startswith(RELEVANCE)}) for x in rows)
  return [x for x in found if x[1]]


def _keys(rows, prefix):
  return sorted({k for x in rows for k in x if k.startswith(prefix)})
