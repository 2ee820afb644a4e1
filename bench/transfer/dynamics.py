"""How fast the world model learns the target's dynamics: the data fixed, the method varied.

    python bench/transfer/dynamics.py [--out DIR] [--methods NAME...] [--seeds N...]

One recording of the target task is replayed in the same order to every method;
all make the same updates as in a run, actor included, and nothing acts. After
250, 500, 1000, 2000 and 4000 updates the world model looks at the first 10 steps
of held-out episodes and predicts the rest from the actions alone. Measured are
the image error (squared, mean over pixels in [0, 1]), the reward error (absolute,
mean) and the KL of posterior and prior along the whole episode, in nats.
"""

import argparse
import json
import pathlib

import numpy as np
import study

from vid2act_plugin import progress, sources
from vid2act_plugin.matrix import Matrix, Run

UPDATES = 250, 500, 1000, 2000, 4000
METHODS = 'stock', 'finetune', 'vid2act_noguide', 'vid2act_uniform'
METRICS = 'openloop_image', 'openloop_reward', 'kl'
LOOK = 10  # Steps that are seen before the prediction.
EPISODES, HOLDOUT = 60, 0.2
BATCH = 4  # Sequences, half of those in the control study: a fixed stream has no acting to wait for.
LEVEL, AIM = 2000, 0.5  # The error that stock has after so many updates, in this share of them.


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  study.arguments(parser, METHODS, 'dynamics')
  parser.add_argument('--updates', type=int, nargs='+', default=UPDATES)
  args = parser.parse_args()
  if args.one:
    return one(args)
  task = Matrix(args.matrix).tasks[0]
  for method in args.methods:  # Once, and not in every process at the same time.
    prepare(args, Run(method, task, 0))
  names = [Run(m, task, s).name for s in args.seeds for m in args.methods]
  rows = study.run(__file__, args, names, ['--updates', *args.updates])
  report(study.save(args, rows, task, METRICS), args)


def report(curves, args):
  """Draw the curves, and print how soon each method has the error that stock has after 2000 updates.

  The last line is a JSON object: per method the share of stock's updates, for
  every seed against stock of that seed and of the mean curves; null if the method
  did not get there within its updates.
  """
  study.draw(curves, pathlib.Path(args.out) / 'dynamics.png', 'updates')
  found = {}
  for metric in METRICS[:2]:
    stock = {x['seed']: x for x in curves[metric] if x['method'] == 'stock'}
    for method in dict.fromkeys(x['method'] for x in curves[metric]):
      mine = [x for x in curves[metric] if x['method'] == method and x['seed'] in stock]
      if method == 'stock' or not mine or any(max(x['xs']) < LEVEL for x in stock.values()):
        continue
      level = lambda x: float(np.interp(LEVEL, x['xs'], x['ys']))
      each = [reach(x['xs'], x['ys'], level(stock[x['seed']])) / LEVEL for x in mine]
      mean = reach(mine[0]['xs'], np.mean([x['ys'] for x in mine], 0),
                   np.mean([level(stock[x['seed']]) for x in mine])) / LEVEL
      finite = lambda x: round(x, 3) if np.isfinite(x) else None
      found[f'{metric}/{method}'] = dict(mean_curve=finite(mean), seeds=[*map(finite, each)])
      print(f"{method} has stock's {metric} of {LEVEL} updates after {mean:.2f} as many; "
            f'seeds {np.round(each, 2).tolist()}; trained for {max(mine[0]["xs"]) / LEVEL:.2f}')
  figure = found.get('openloop_image/vid2act_noguide', {}).get('mean_curve')
  print(json.dumps(dict(figure=figure, aim=AIM, each=found)))


def reach(xs, ys, level):
  """Return the first x, interpolated, at which a falling curve is at the level or below it."""
  for i, y in enumerate(ys):
    if y <= level:
      return float(np.interp(level, [y, ys[i - 1]], [xs[i], xs[i - 1]]) if i else xs[0])
  return float('inf')


def one(args):
  """Train one method with one seed on the fixed stream, and write what was measured."""
  method, task, seed = args.one.split('/')
  config, data = prepare(args, Run(method, task, int(seed)))
  agent = build(config, data)
  measured = {x: [] for x in METRICS}
  batches, measure = iter(agent.stream(stream(agent, data))), measurement(agent, data)
  carry = agent.init_train(agent.config.batch_size)
  with progress.bar(args.one, max(args.updates), 'updates') as bar:
    for i in range(1, max(args.updates) + 1):
      carry, _, _ = agent.train(carry, next(batches))
      bar.advance()
      if i in args.updates:
        for key, value in measure().items():
          measured[key].append(value)
        bar.text(f"image error {measured['openloop_image'][-1]:.5f}")
  study.write(args, dict(method=method, seed=int(seed), updates=sorted(args.updates), **measured))


def prepare(args, run):
  config = study.configured(args, run, batch_size=BATCH)
  folder = study.target(config, EPISODES)
  return config, sources.Sources([folder], holdout=HOLDOUT, seed=0)


def build(config, data):
  import agents
  space, flag = agents.elements.Space, agents.elements.Space(bool)
  obs = {
      'image': space(np.uint8, tuple(data.image)), 'reward': space(np.float32),
      'is_first': flag, 'is_last': flag, 'is_terminal': flag}
  return agents.build(config, (obs, {'action': space(np.float32, data.act_sizes[0], -1, 1)}))


def stream(agent, data):
  """Return the fixed stream: every method and seed sees the same windows in the same order."""
  import embodied
  context, step = agent.config.replay_context, iter(range(10 ** 9))
  shape = agent.config.batch_size, agent.config.batch_length + context
  def sample():
    drawn = data.sample(next(step), *shape)
    drawn['action'] = drawn['action'][..., :agent.act_space['action'].shape[0]]
    drawn['is_first'][:, context] = True  # No states are stored with a recording.
    zeros = {k: np.zeros((*shape, *v.shape), v.dtype) for k, v in agent.spaces.items()
             if not k.startswith(('teacher/', 'memory/'))}
    return {**zeros, **{k: drawn[k] for k in zeros if k in drawn}}
  return embodied.streams.Stateless(sample)


def heldout(agent, data):
  """Return the held-out episodes, cut to the length of the shortest, `{key: [B, T, ...]}`."""
  episodes = [x for _, x in data.sequences('holdout')]
  T = min(len(x['reward']) for x in episodes)
  keys = 'image', 'action', 'reward', 'is_first'
  batch = {k: np.stack([x[k][:T] for x in episodes]) for k in keys}
  return {**batch, 'action': batch['action'][..., :agent.act_space['action'].shape[0]]}


def measurement(agent, data):
  """Return a function that measures the agent's world model on the held-out episodes."""
  import jax
  import jax.numpy as jnp
  import ninjax as nj
  batch, model = heldout(agent, data), agent.model
  T = batch['reward'].shape[1]

  def fn(data):
    B = len(data['image'])
    before = jnp.concatenate([0 * data['action'][:, :1], data['action'][:, :-1]], 1)
    head, tail = (lambda x: x[:, :LOOK]), (lambda x: x[:, LOOK:])
    first, acts = data['is_first'], {'action': before}
    tokens = model.enc(model.enc.initial(B), {'image': data['image']}, first, False)[2]
    start = model.dyn.initial(B)
    _, _, feat = model.dyn.observe(start, tokens, acts, first, False)
    prior = model.dyn._dist(model.dyn._prior(feat['deter']))
    kl = model.dyn._dist(feat['logit']).kl(prior).mean()
    state, _, _ = model.dyn.observe(
        start, head(tokens), jax.tree.map(head, acts), head(first), False)
    _, dreamt, _ = model.dyn.imagine(state, jax.tree.map(tail, acts), T - LOOK, False)
    image = model.dec({}, dreamt, jnp.zeros((B, T - LOOK), bool), False)[2]['image'].pred()
    reward = model.rew(model.feat2tensor(dreamt), 2).pred()
    return {
        'openloop_image': jnp.square(image - tail(data['image']) / 255).mean(),
        'openloop_reward': jnp.abs(reward - tail(data['reward'])).mean(), 'kl': kl}

  call = jax.jit(lambda params, data, seed: nj.pure(fn)(params, data, seed=seed)[1])
  put = lambda x: jax.device_put(x, agent.train_mirrored)
  batch, seed = put(batch), put(np.array([0, 0], np.uint32))
  return lambda: {k: float(v) for k, v in jax.device_get(call(agent.params, batch, seed)).items()}


if __name__ == '__main__':
  main()
