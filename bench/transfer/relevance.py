"""Do the weights rank sources by kinship, and does an irrelevant source harm?

    python -m bench.transfer.relevance [--out DIR] [--seeds N...] [--jobs N]

The sources are the target task itself, two other tasks of the same robot, another
body (walker) and noise images. One teacher of all of them, and one of only the
last two, each stand beside a student that learns from the same fixed stream of
target data as in `dynamics.py`; `flat` is `graded` with a higher floor of the weights.
Printed are the mean weights on held-out target episodes; Spearman's correlation of
weight and kinship, of the means, at every step of an episode, and after fewer updates;
and the open-loop image error of the student with irrelevant sources minus that of
stock. The last line of the output is a JSON object.
"""

import gzip
import json
import os
import pathlib

import numpy as np
import scipy.stats

from vid2act_plugin.common import images as pictures
from vid2act_plugin.sources import locate
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.studies import comparison
from vid2act_plugin.studies.matrix import Run

from . import dynamics, study

UPDATES = 250, 500, 1000
PRETRAIN = 5000  # Updates of either teacher.
EPISODES = 40
OTHERS = 'metaworld_reach-wall', 'metaworld_window-close'
BODY = 'dmcontrol_walker_walk@bench.transfer.wander:act'
KINDS = 'graded', 'flat', 'irrelevant', 'stock'
# At 0.6 / N, the published 0.1 of six sources, weights stop sinking before all but the first have
# an order.
FLOOR = 0.6


def main():
  args = study.arguments(__doc__, KINDS, 'relevance', UPDATES)
  # Behaviours are looked up by name in the processes that collect.
  os.environ['PYTHONPATH'] = os.pathsep.join(
      filter(None, [str(study.ROOT), os.environ.get('PYTHONPATH')]))
  if args.one:
    return one(args)
  rows = study.run('relevance', args, prepare)
  curves = study.save(args, rows, dynamics.METRICS)
  weights = study.merge(pathlib.Path(args.out) / 'weights.json.gz', [
      {k: x[k] for k in ('method', 'seed', 'updates', 'kinship', 'weights')}
      for x in rows if x.get('kinship')], load)  # A stock run has none.
  report(args, weights, curves['openloop_image'])


def load(path):
  """Return the rows of a file of weights."""
  return json.loads(gzip.decompress(path.read_bytes()))


def one(args):
  """Train one student on the fixed stream, and write weights and errors on held-out episodes."""
  run = study.one(args)
  config, data = prepare(args, run)
  agent = dynamics.build(config, data)
  measure = dynamics.measurement(agent, data)
  weigh = None if run.method == 'stock' else weights(agent, data)
  measured = {x: [] for x in (*dynamics.METRICS, 'weights')}
  for _ in dynamics.learn(args, agent, iter(agent.stream(dynamics.stream(agent, data)))):
    found = measure()
    if weigh:
      found['weights'] = np.asarray(weigh()).round(5).tolist()
    for key, value in found.items():
      measured[key].append(value)
  study.write(
      args, updates=sorted(args.updates), kinship=kinship(config) if weigh else [], **measured)


def prepare(args, run):
  """Return config and target data of a run; recordings and teacher of its sources are made."""
  if run.method == 'stock':
    return dynamics.prepare(args, run)
  base = study.configured(args, Run('stock', run.task, 0), batch_size=dynamics.BATCH)
  noise = f'{noise_images(base)}{os.sep}'
  names = [BODY, noise] if run.method == 'irrelevant' else [run.task, *OTHERS, BODY, noise]
  floor = {'agent.vid2act.floor': FLOOR} if run.method == 'flat' else {}
  return dynamics.prepare(args, Run('vid2act_noguide', run.task, run.seed), **floor, **{
      'vid2act.sources': names, 'vid2act.pretrain.updates': PRETRAIN,
      'vid2act.pretrain.batch_size': dynamics.BATCH * 2})


def kinship(config):
  """Return the kinship of every source: 3 the same task, 2 the same body, 1 another, 0 noise."""
  ranks = []
  for source in locate.locate(config):
    same = source.entry.task.split('_')[0] == config.task.split('_')[0]
    task = source.entry.task
    ranks.append(3 if task == config.task else 2 if same else 1 if task else 0)
  return ranks


def noise_images(config):
  """Return a recording of images, actions and rewards that are noise, made if need be."""
  size = tuple(config.env[config.task.split('_')[0]].size)
  folder = locate.cache(config) / 'targets' / f'noise-{size[0]}x{size[1]}'
  if (folder / recordings.MANIFEST).exists():
    return folder
  rng, T, entries = np.random.default_rng(0), 60, []
  for i in range(EPISODES):
    action = rng.uniform(-1, 1, (T, 4)).astype(np.float32)
    action[-1] = 0
    at = lambda k: np.arange(T) == k
    entries.append(recordings.write_episode(folder, i, dict(
        image=rng.integers(0, 256, (T, *size, 3), np.uint8), action=action,
        reward=rng.uniform(0, 1, T).astype(np.float32), is_first=at(0), is_last=at(T - 1),
        is_terminal=at(-1), success=np.zeros(T, np.float32))))
  recordings.write_manifest(folder, dict(
      source='noise', suite='none', task='noise', seed=0, behaviour={}, env={}, versions={},
      act_size=4, episodes=entries))
  return folder


def weights(agent, data):
  """Return a function that gives the mean weights `[T, N]` along held-out target episodes."""
  model = agent.model

  def fn(data, seen):
    feat = dynamics.observed(model, data)[2]
    return model.weigh(seen, model.feat2tensor(feat)).mean(0)

  return dynamics.beside(agent, fn, dynamics.heldout(agent, data))


def report(args, rows, curves):
  """Print weights, rank correlations and what irrelevant sources change; draw weights."""
  result = {}
  for kind in ('graded', 'flat'):
    mine = [x for x in rows if x['method'] == kind]
    if mine:
      result[kind] = ranks(mine, pathlib.Path(args.out) / f'{kind}.png')
  for x in comparison.compare(curves, 'stock', 'openloop_image'):
    if x['method'] == 'irrelevant' and x['task'] == 'all' and 'paired' in x['metric']:
      result['irrelevant_minus_stock'] = {k: x[k] for k in ('mean', 'low', 'high', 'seeds')}
  print(json.dumps(dict(aim=0.8, **result)))


def ranks(rows, path):
  """Print and draw the last weights of one kind's rows; return their correlations with kinship."""
  found, kin = np.array([x['weights'] for x in rows]), rows[0]['kinship']  # [S, updates, T, N]
  names = ['same task', *(f'same body: {x}' for x in OTHERS), 'other body', 'noise']
  for i, name in enumerate(names):
    seeds = found[:, -1, :, i].mean(1)
    print(f"{rows[0]['method']}: weight of {name}: {seeds.mean():.3f} "
          f'(seeds {seeds.min():.3f} to {seeds.max():.3f})')
  draw(found[:, -1], names, path)
  rho = np.array([[spearman(x.mean(0), kin) for x in seed] for seed in found])
  along = [np.mean([spearman(step, kin) for step in x]) for x in found[:, -1]]
  return dict(
      figure=round(float(rho[:, -1].mean()), 3), seeds=rho[:, -1].round(3).tolist(),
      along_episode=round(float(np.mean(along)), 3),
      after={str(n): round(x, 3) for n, x in zip(rows[0]['updates'], rho.mean(0).tolist())})


def draw(weights, names, path):
  """Draw the weights `[S, T, N]` along the episodes: mean over seeds, and their range."""
  plt = pictures.pyplot()
  fig, ax = plt.subplots(figsize=(7, 3.4), layout='constrained')
  for i, name in enumerate(names):
    ax.plot(weights[:, :, i].mean(0), label=name)
    ax.fill_between(
        range(weights.shape[1]), weights[:, :, i].min(0), weights[:, :, i].max(0), alpha=0.15)
  ax.set(xlabel='step of a held-out target episode', ylabel='relevance', ylim=(0, None))
  ax.legend(fontsize=7)
  ax.grid(alpha=0.3)
  fig.savefig(path, dpi=110)
  plt.close(fig)


def spearman(weights, ranks):
  return float(scipy.stats.spearmanr(weights, ranks).statistic)


if __name__ == '__main__':
  main()
