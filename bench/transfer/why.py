"""What the parts of vid2act carry on the target task, after some updates on the fixed stream.

    python -m bench.transfer.why [--out DIR] [--seeds N...]

For each seed the whole method learns as in `dynamics.py`, and then, on held-out
target episodes: the open-loop image error of the teacher told that it is in each
source, and of the student; the adapter's error as a share of the variance of the
student's features; how much of the variance of the noisy expert's actions a linear
probe (ridge, fitted on the other episodes) reads from the student's feature e, from
the guide's hidden units u, and from both; and each loss's share of the gradient at
the student's features. The last line of the output is a JSON object of the means.
"""

import json
import pathlib

import numpy as np

from vid2act_plugin.teacher.model import unpack

from . import dynamics, study

UPDATES = 1000
RIDGE = 1.0  # Weight of the penalty, on standardised features.


def main():
  args = study.arguments(__doc__, ['vid2act'], 'why', [UPDATES], keeps=False)
  if args.one:
    return one(args)
  rows = study.run('why', args, dynamics.prepare)
  keys = [k for k in rows[0] if k not in ('method', 'seed')]
  means = {k: round(float(np.mean([x[k] for x in rows])), 5) for k in keys}
  means.update(seeds=len(rows), updates=max(args.updates))
  (pathlib.Path(args.out) / 'why.json').write_text(json.dumps(means, indent=1))
  print(json.dumps(means))


def one(args):
  """Train with one seed, and write what is found then."""
  config, data = dynamics.prepare(args, study.one(args), **{'agent.vid2act.gradshare': True})
  agent = dynamics.build(config, data)
  batches = iter(agent.stream(dynamics.stream(agent, data)))
  for _ in dynamics.learn(args, agent, batches):
    pass
  _, report = agent.report(agent.init_report(dynamics.BATCH), next(batches))
  found = {k: float(v) for k, v in report.items() if k.startswith('gradshare/')}
  found['student_openloop'] = dynamics.measurement(agent, data)()['openloop_image']
  for name, value in zip(agent.model.bundle.manifest['sources'], teacher_errors(agent, data)):
    found[f'teacher_openloop/{name}'] = value
  found.update(probes(agent, data))
  study.write(args, **found)


def teacher_errors(agent, data):
  """Return the teacher's open-loop image error on held-out target episodes, as each source."""
  import jax
  import jax.numpy as jnp
  import ninjax as nj
  batch, model = dynamics.heldout(agent, data), agent.teacher.model
  B, T = batch['reward'].shape

  def fn(data, source):
    head, tail = (lambda x: x[:, :dynamics.LOOK]), (lambda x: x[:, dynamics.LOOK:])
    source = jnp.full((B, T), source)
    tokens = model.encode(data['image'], source, False)
    acts = model.prevacts(agent.teacher._pad(data['action']), source)
    state, _, _ = model.dyn.observe(
        model.dyn.initial(B), head(tokens), jax.tree.map(head, acts), head(data['is_first']), False)
    _, dreamt, _ = model.dyn.imagine(
        state, jax.tree.map(tail, acts), T - dynamics.LOOK, False)
    image = model.dec({}, dreamt, jnp.zeros((B, T - dynamics.LOOK), bool), False)[2]['image'].pred()
    return jnp.square(image - tail(data['image']) / 255).mean()

  call = jax.jit(lambda params, data, k, seed: nj.pure(fn)(params, data, k, seed=seed)[1])
  put = lambda x: jax.device_put(x, agent.train_mirrored)
  batch, seed = put(batch), put(np.array([0, 0], np.uint32))
  return [float(jax.device_get(call(agent.teacher.params, batch, put(np.int32(k)), seed)))
          for k in range(model.sources)]


def probes(agent, data):
  """Return what linear probes read of the expert's actions, and the adapter's relative error."""
  train, test = (features(agent, data, x) for x in ('train', 'holdout'))
  views = {'e': ['e'], 'u': ['u'], 'e and u': ['e', 'u']}
  join = lambda found, keys: np.concatenate([found[k] for k in keys], -1)
  found = {
      f'probe/{name}': explained(
          join(train, keys), train['action'], join(test, keys), test['action'])
      for name, keys in views.items()}
  return {**found, 'adapter_error': float(test['error'].mean() / test['e'].var(0).mean())}


def features(agent, data, split):
  """Return student feature, guide units, the action there and the adapter's error, `[M, ...]`."""
  import jax.numpy as jnp
  model = agent.model
  batch = dynamics.whole(agent, [x for _, x in data.sequences(split) if expert(x)])

  def fn(data, seen):
    e = model.feat2tensor(dynamics.observed(model, data)[2])
    best = jnp.argmax(model.strategy.weigh(e), -1)
    u = model.vae.hidden(e, jnp.zeros((*e.shape[:-1], model.vae.noise)), best)
    weights = model.weigh(seen, e)
    adapted = model.adapter(unpack(seen, model.bundle.config.dyn.rssm.classes))
    error = (weights * jnp.square(adapted - e[..., None, :]).mean(-1)).sum(-1)
    return {'e': e, 'u': u, 'error': error}

  found = {**dynamics.beside(agent, fn, batch)(), 'action': batch['action']}
  return {k: np.float64(v[:, :-1]).reshape((-1, *v.shape[2:])) for k, v in found.items()}


def expert(episode):
  """Whether an episode is an expert's: random ones earn little."""
  return episode['reward'].sum() > 100


def explained(x, y, x_test, y_test):
  """Return the share of variance of `y_test` that ridge regression from x to y explains."""
  mean, std = x.mean(0), x.std(0) + 1e-6
  x, x_test = (np.append((z - mean) / std, np.ones((len(z), 1)), 1) for z in (x, x_test))
  weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y)
  return float(1 - np.square(x_test @ weights - y_test).mean() / y_test.var(0).mean())


if __name__ == '__main__':
  main()
