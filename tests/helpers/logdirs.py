"""Logdirs as runs leave them, without a run: of any version, and with what is missing."""

import json

import numpy as np

from vid2act_plugin.common import images

SOURCES = 'metaworld_door-close', 'metaworld_reach'
STEPS = 20


def write(folder, task='metaworld_door-lock', method='vid2act_exec', sources=SOURCES, steps=STEPS):
  """Write the logdir of a finished run that acted for so many steps in its evaluation."""
  stock(folder, task, method)
  rows = []
  for i in range(6):
    row = {'step': 100 * i, 'eval/score': 2.0 * i, 'eval/success_any': i / 5, 'train/loss/image': 3.0 / (i + 1)}
    for k, name in enumerate(sources):
      row |= {f'train/relevance/{name}': 0.25 + 0.5 * k, f'train/execute/episodes/{name}': i + k,
              f'train/execute/earned/{name}': 1.5 * k}
    rows.append(row)
  with open(folder / 'metrics.jsonl', 'a', encoding='utf-8') as file:
    file.writelines(json.dumps(x) + '\n' for x in rows)
  _json(folder / 'summary.json', dict(
      stages={'collect': 0.0, 'pretrain': 61.5, 'train': 120.0}, env_steps=500, updates=250,
      pretrain_updates=100, sources=list(sources), seed=3, task=task, host='dreamer 3.3.0', jax='0.10.2',
      final_relevance={k: 0.25 + 0.5 * i for i, k in enumerate(sources)}, eval={'score': 10.0, 'success_any': 1.0},
      execution={'policy': {'episodes': 4.0, 'earned': 7.0}} | {
          k: {'episodes': 5.0 + 10 * i, 'earned': 1.5 * i} for i, k in enumerate(sources)}))
  _json(folder / 'teacher.json', dict(hash='ab' * 32, sources=list(sources)))
  images.gif(folder / 'eval.gif', frames(steps), fps=30)
  _json(folder / 'eval_episode.json', dict(
      step=500, by=sources[-1], reward=[float(t == steps - 2) for t in range(steps)], success=[0.0] * (steps - 1) + [1.0],
      relevance={k: [round((i + t / steps) / 2, 4) for t in range(steps)] for i, k in enumerate(sources)}))
  images.gif(folder / 'openloop_image.gif', frames(6, 24, 16))
  (folder / 'notes.jsonl').write_text(json.dumps(dict(
      time='2026-01-01 00:00:00', lines=[f'Initialised from the teacher as {sources[0]}: 3 matched'])) + '\n')
  return folder


def stock(folder, task='metaworld_door-lock', method='name'):
  """Write the logdir of a run of DreamerV3 alone, or of one that has only begun."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'config.yaml').write_text(json.dumps(dict(
      task=task, method=method, seed=3, batch_size=4, batch_length=8, run={'steps': 250},
      env={task.split('_')[0]: {'repeat': 2, 'size': [16, 16]}}, agent={'typ': 'dreamerv3'})))
  rows = [{'step': 100 * i, 'episode/score': float(i)} for i in range(5)]
  (folder / 'metrics.jsonl').write_text(''.join(json.dumps(x) + '\n' for x in rows))
  return folder


def frames(count, height=16, width=16):
  """Return frames `[T, H, W, 3]` uint8 of which each is one grey, the first two the same."""
  levels = np.maximum(1, np.arange(count)) * (255 // count)
  return np.broadcast_to(levels.astype(np.uint8)[:, None, None, None], (count, height, width, 3))


def _json(path, content):
  path.write_text(json.dumps(content), encoding='utf-8')
