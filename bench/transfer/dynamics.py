"""How fast the world model learns the target's dynamics: the data fixed, the method varied.

    python -m bench.transfer.dynamics [--out DIR] [--methods NAME...] [--seeds N...]

One recording of the target task is replayed in the same order to every method;
all make the same updates as in a run, actor included, and nothing acts. After
250, 500, 1000, 2000 and 4000 updates the world model looks at the first 10 steps
of held-out episodes and predicts the rest from the actions alone. Measured are
the image error (squared, mean over pixels in [0, 1]), the reward error (absolute,
mean) and the KL of posterior and prior along the whole episode, in nats.
"""

import json
import pathlib

import numpy as np

from vid2act_plugin.common import progress
from vid2act_plugin.sources import dataset as sources

from . import study

UPDATES = 250, 500, 1000, 2000, 4000
METHODS = 'stock', 'finetune', 'vid2act_noguide', 'vid2act_uniform'
METRICS = 'openloop_image', 'openloop_reward', 'kl'
LOOK = 10  # Steps that are seen before the prediction.
EPISODES, HOLDOUT = 60, 0.2
BATCH = 4  # Sequences, half of those in control: a fixed stream has no acting to wait for.
LEVEL, AIM = 2000, 0.5  # The error that stock has after so many updates, in this share of them.


def main():
  args = study.arguments(__doc__, METHODS, 'dynamics', UPDATES, more=True)
  if args.one:
    return one(args)
  report(study.save(args, study.run('dynamics', args, prepare), METRICS), args)


def report(curves, args):
  """Draw curves; print means, and how soon each method has stock's error of 2000 updates.

  The last line is a JSON object: per method the share of stock's updates, for
  every seed against stock of that seed and of the mean curves; null if the method
  did not get there within its updates.
  """
  study.draw(curves, pathlib.Path(args.out) / 'dynamics.png', 'updates')
  found = {}
  for metric in METRICS:
    table(metric, curves[metric])
  for metric in METRICS[:2]:
    stock = {x['seed']: x for x in curves[metric] if x['method'] == 'stock'}
    for method in dict.fromkeys(x['method'] for x in curves[metric]):
      mine = [x for x in curves[metric] if x['method'] == method and x['seed'] in stock]
      if method == 'stock' or not mine or any(max(x['xs']) < LEVEL for x in stock.values()):
        continue
      level = lambda x: float(np.interp(LEVEL, x['xs'], x['ys']))
      each = [reach(x['xs'], x['ys'], level(stock[x['seed']])) / LEVEL for x in mine]
      xs, ys = mean_curve(mine)
      mean = reach(xs, ys, np.mean([level(stock[x['seed']]) for x in mine])) / LEVEL
      finite = lambda x: round(x, 3) if np.isfinite(x) else None
      found[f'{metric}/{method}'] = dict(mean_curve=finite(mean), seeds=[*map(finite, each)])
      print(f"{method} has stock's {metric} of {LEVEL} updates after {mean:.2f} as many; "
            f'seeds {np.round(each, 2).tolist()}; trained for {xs[-1] / LEVEL:.2f}')
  figure = found.get('openloop_image/vid2act_noguide', {}).get('mean_curve')
  print(json.dumps(dict(figure=figure, aim=AIM, each=found)))


def mean_curve(rows):
  """Return the numbers of updates at which all rows were measured, and the means there."""
  found = [dict(zip(x['xs'], x['ys'])) for x in rows]
  xs = sorted(set.intersection(*map(set, found)))
  return xs, np.mean([[x[at] for at in xs] for x in found], 0)


def table(metric, rows):
  """Print the mean curve of each method."""
  for method in dict.fromkeys(x['method'] for x in rows):
    mine = [x for x in rows if x['method'] == method]
    means = ', '.join(f'{y:.3g} after {x:.0f}' for x, y in zip(*mean_curve(mine)))
    print(f'{metric} of {method}, {len(mine)} seeds: {means} updates')


def reach(xs, ys, level):
  """Return the first x, interpolated, at which a falling curve is at the level or below it."""
  for i, y in enumerate(ys):
    if y <= level:
      return float(np.interp(level, [y, ys[i - 1]], [xs[i], xs[i - 1]]) if i else xs[0])
  return float('inf')


def one(args):
  """Train one method with one seed on the fixed stream, and write what was measured."""
  config, data = prepare(args, study.one(args))
  agent = build(config, data)
  measured, measure = {x: [] for x in METRICS}, measurement(agent, data)
  for bar in learn(args, agent, iter(agent.stream(stream(agent, data)))):
    for key, value in measure().items():
      measured[key].append(value)
    bar.text(f"image error {measured['openloop_image'][-1]:.5f}")
  study.write(args, updates=sorted(args.updates), **measured)


def learn(args, agent, batches):
  """Update on batches; yield the progress bar after each number of updates in `args.updates`."""
  carry = agent.init_train(agent.config.batch_size)
  with progress.bar(args.one, max(args.updates), 'updates') as bar:
    for i in range(1, max(args.updates) + 1):
      carry, _, _ = agent.train(carry, next(batches))
      bar.advance()
      if i in args.updates:
        yield bar


def prepare(args, run, **changes):
  """Return config and target data of a run, some keys changed; make recordings and teacher."""
  config = study.configured(args, run, batch_size=BATCH, **changes)
  folder = study.target(config, EPISODES)
  return config, sources.Sources([folder], holdout=HOLDOUT, seed=0)


def build(config, data):
  from ..timings import agents
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
  return whole(agent, [x for _, x in data.sequences('holdout')])


def whole(agent, episodes):
  """Return episodes as one batch, cut to the shortest, with the task's own actions."""
  T = min(len(x['reward']) for x in episodes)
  keys = 'image', 'action', 'reward', 'is_first'
  batch = {k: np.stack([x[k][:T] for x in episodes]) for k in keys}
  return {**batch, 'action': batch['action'][..., :agent.act_space['action'].shape[0]]}


def observed(model, data):
  """Return tokens, the actions that led to each image, and the student's features of a batch."""
  import jax.numpy as jnp
  B, first = len(data['image']), data['is_first']
  acts = {'action': jnp.concatenate([0 * data['action'][:, :1], data['action'][:, :-1]], 1)}
  tokens = model.enc(model.enc.initial(B), {'image': data['image']}, first, False)[2]
  return tokens, acts, model.dyn.observe(model.dyn.initial(B), tokens, acts, first, False)[2]


def beside(agent, fn, batch):
  """Return a function that gives `fn(data, seen)` of a batch; seen: the teacher's features."""
  import jax
  import ninjax as nj
  teacher = agent.teacher

  def call(params, frozen, data, seed):
    _, seen = nj.pure(teacher.model.features)(
        frozen, data['image'], teacher._pad(data['action']), data['is_first'], seed=seed)
    return nj.pure(fn)(params, data, seen, seed=seed)[1]

  call, put = jax.jit(call), lambda x: jax.device_put(x, agent.train_mirrored)
  batch, seed = put(batch), put(np.array([0, 0], np.uint32))
  return lambda: jax.device_get(call(agent.params, teacher.params, batch, seed))


def measurement(agent, data):
  """Return a function that measures the agent's world model on the held-out episodes."""
  import jax
  import jax.numpy as jnp
  import ninjax as nj
  batch, model = heldout(agent, data), agent.model
  T = batch['reward'].shape[1]

  def fn(data):
    B = len(data['image'])
    head, tail = (lambda x: x[:, :LOOK]), (lambda x: x[:, LOOK:])
    tokens, acts, feat = observed(model, data)
    prior = model.dyn._dist(model.dyn._prior(feat['deter']))
    kl = model.dyn._dist(feat['logit']).kl(prior).mean()
    state, _, _ = model.dyn.observe(
        model.dyn.initial(B), head(tokens), jax.tree.map(head, acts), head(data['is_first']), False)
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
