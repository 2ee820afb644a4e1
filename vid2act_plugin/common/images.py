"""Pictures of runs: open-loop predictions, relevance over time, learning curves."""

import json
import pathlib

import jax.numpy as jnp
import numpy as np

f32 = jnp.float32
COLORS = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189),
          (140, 86, 75), (227, 119, 194), (127, 127, 127), (188, 189, 34), (23, 190, 207))
AXES = {
    'Success rate': dict(ylim=(-0.05, 1.05)), 'World-model losses': dict(yscale='log'),
    'Relevance': dict(ylim=(0, 1))}


def openloop(true, pred, half):
  """Stack truth over prediction, with a red edge from frame `half` on, where none is shown.

  true, pred: `[B, T, H, W, 3]` float32 in [0, 1] -> video `[T, 2 * H, B * W, 3]` uint8.
  """
  red = jnp.array([1.0, 0.0, 0.0])
  pred = jnp.clip(pred, 0, 1).at[:, half:, :2].set(red)
  grid = jnp.concatenate([true, pred], 2)
  B, T, H, W, C = grid.shape
  grid = grid.transpose((1, 2, 0, 3, 4)).reshape((T, H, B * W, C))
  return (255 * grid).astype(jnp.uint8)


def timeline(image, weights, height=10):
  """Draw the frames of one sequence above one bar per source, brightest where relevance is highest.

  image `[T, H, W, 3]` uint8, weights `[T, N]` -> `[H + N * height, T * W, 3]` uint8.
  """
  T, H, W, C = image.shape
  frames = image.transpose((1, 0, 2, 3)).reshape((H, T * W, C))
  colors = jnp.array([COLORS[i % len(COLORS)] for i in range(weights.shape[1])])
  bars = (f32(weights) / jnp.max(weights)).T[:, :, None] * colors[:, None]  # [N, T, 3]
  bars = bars.astype(jnp.uint8).repeat(height, 0).repeat(W, 1)
  return jnp.concatenate([frames, bars], 0)


def episode(frames, weights):
  """Draw an episode: some of its frames `[T, H, W, 3]`, below them relevance over time.

  weights: `{source: [T]}`, drawn as a stacked area that fills 0 to 1. Returns
  an image `[h, w, 3]` uint8.
  """
  plt = pyplot()
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


def gif(path, video, fps=10):
  """Write a video `[T, H, W, 3]` uint8 as an animated GIF."""
  import imageio.v3 as iio
  iio.imwrite(str(path), np.asarray(video), extension='.gif', duration=1000 / fps, loop=0)


def png(path, image):
  import imageio.v3 as iio
  iio.imwrite(str(path), np.asarray(image), extension='.png')


def curves(logdir):
  """Draw `curves.png` of a run: score, success, losses and relevance over env steps.

  Success and relevance are left out where the run has none.
  """
  plt = pyplot()
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


def pyplot():
  """Return matplotlib's pyplot, drawing without a display."""
  import matplotlib
  matplotlib.use('Agg')
  import matplotlib.pyplot as plt
  return plt


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
