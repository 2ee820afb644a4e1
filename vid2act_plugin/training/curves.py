"""Curves and pictures of a run, drawn when it ends."""

import json
import pathlib

import numpy as np

from ..common import images

AXES = {
    'Success rate': dict(ylim=(-0.05, 1.05)), 'World-model losses': dict(yscale='log'),
    'Relevance': dict(ylim=(0, 1))}


def curves(logdir):
  """Draw `curves.png` of a run: score, success, losses and relevance over env steps.

  Success and relevance are left out where the run has none.
  """
  plt = images.pyplot()
  rows = metrics(logdir)
  panels = {
      'Episode score': {'episode/score': 'train', 'eval/score': 'evaluation'},
      'Success rate': {'eval/success_any': 'at any step', 'eval/success_last': 'at the last step'},
      'World-model losses': {f'train/loss/{k}': k for k in ('image', 'rew', 'dyn')},
      'Relevance': {k: k.split('/')[-1] for k in _keys(rows, 'train/relevance/')}}
  for title in ('Success rate', 'Relevance'):
    if not any(k in x for x in rows for k in panels[title]):
      del panels[title]
  fig, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.4), squeeze=False)
  for ax, (title, names) in zip(axes[0], panels.items()):
    for key, name in names.items():
      xs, ys = zip(*[(x['step'], x[key]) for x in rows if key in x] or [((), ())])
      ax.plot(xs, ys, marker='o', markersize=3, label=name)
    ax.set_title(title)
    ax.set_xlabel('env steps')
    ax.grid(alpha=0.3)
    if ax.has_data():
      ax.legend(fontsize=7)
    ax.set(**AXES.get(title, {}))
  fig.tight_layout()
  fig.savefig(pathlib.Path(logdir) / 'curves.png', dpi=110)
  plt.close(fig)


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
  bottom.stackplot(range(T), *weights.values(), labels=list(weights), alpha=0.85)
  bottom.set(xlim=(0, T - 1), ylim=(0, 1), xlabel='step of the episode', ylabel='relevance')
  bottom.legend(fontsize=7, loc='upper right')
  fig.canvas.draw()
  image = np.array(fig.canvas.buffer_rgba())[..., :3]
  plt.close(fig)
  return image


def metrics(logdir):
  """Return the rows of `metrics.jsonl`; a torn last line is left out."""
  path = pathlib.Path(logdir) / 'metrics.jsonl'
  rows = []
  for line in path.read_text().splitlines() if path.exists() else ():
    try:
      rows.append(json.loads(line))
    except ValueError:
      continue
  return rows


def _keys(rows, prefix):
  return sorted({k for x in rows for k in x if k.startswith(prefix)})
