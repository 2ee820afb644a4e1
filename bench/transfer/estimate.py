"""Does imagination know which source is worth carrying out? Imagined beside real returns.

    python -m bench.transfer.estimate --rank FILE --teacher DIR LOGDIR [LOGDIR ...]

For each run, and for each source of `vid2act rank --task ITS_TASK --out ...`: the world model
of its newest checkpoint begins in the first images of some episodes, imagines what the
source's behaviour would do, which sees the decoded images, and sums up the predicted rewards
of a whole episode. The last line of the output is a JSON list of, per run, task, env steps,
both returns by source, and their rank correlation (Spearman) over the sources.
"""

import argparse
import json
import pathlib

import elements
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import scipy.stats
from dreamerv3 import main as hostmain

from vid2act_plugin.common import safe_yaml
from vid2act_plugin.host import checkpoints, platform
from vid2act_plugin.tools import rank
from vid2act_plugin.training.trials import Trials

EPISODES = 20


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('logdir', nargs='+', type=pathlib.Path)
  parser.add_argument('--rank', type=pathlib.Path, required=True)
  parser.add_argument('--teacher', type=pathlib.Path, required=True)
  args = parser.parse_args()
  found, real = rank.behaviours_in(args.teacher), json.loads(args.rank.read_text())
  rows = []
  for logdir in args.logdir:
    rows.append(one(logdir, found, real))
    print(json.dumps(rows[-1]), flush=True)
  print(json.dumps(rows))


def one(logdir, found, real):
  """Return what is known of one run."""
  config = platform.resolve(elements.Config(safe_yaml.load(logdir / 'config.yaml')))
  # Neither update nor report is asked for.
  config = elements.Config({**config, 'jax': {**config.jax, 'precompile': False}})
  content = checkpoints.last(logdir)
  steps = checkpoints.step(checkpoints.newest(logdir))
  agent = hostmain.make_agent(config)
  agent.load(content)
  trials = Trials(config.task, real['settings']['env'])
  images = []
  for episode in range(EPISODES):
    trials.env.episode = episode
    images.append(trials.env.step({'reset': True})['image'])
  repeat = trials.env.repeat
  length = -(-trials.env.limit // repeat)
  trials.close()
  names = found.facts['sources']
  imagined = dict(zip(names, returns(agent, found, np.stack(images), length)))
  earned = {k: float(np.mean([x for x, _ in v]))
            for k, v in real['episodes'][config.task].items() if k in names}
  won = {k: float(np.mean([x for _, x in v]))
         for k, v in real['episodes'][config.task].items() if k in names}
  correlation = lambda real: round(float(scipy.stats.spearmanr(
      [imagined[k] for k in real], list(real.values())).statistic), 3)
  return dict(
      task=config.task, env_steps=steps * repeat, imagined={k: round(v, 4) for k, v in imagined.items()},
      earned=earned, success=won, correlation=correlation(earned),
      correlation_success=correlation(won))


def returns(agent, found, images, length):
  """Return for every source the mean imagined return `[N]` from first images `[E, H, W, 3]`."""
  model, act, frames = agent.model, found.actor(), found.facts['settings']['frames']
  width, E = agent.act_space['action'].shape[0], len(images)

  def begin(images):
    first = jnp.ones(E, bool)
    obs = {'image': images}
    _, _, tokens = model.enc(model.enc.initial(E), obs, first, training=False, single=True)
    carry, _, feat = model.dyn.observe(
        model.dyn.initial(E), tokens, {'action': jnp.zeros((E, width))}, first, training=False,
        single=True)
    return carry, feat

  def step(carry, action):
    carry, feat, _ = model.dyn.imagine(carry, {'action': action[:, None]}, 1, training=False)
    reward = model.rew(model.feat2tensor(feat), 2).pred()[:, 0]
    image = model.dec({}, feat, jnp.zeros((E, 1), bool), training=False)[2]['image'].pred()[:, 0]
    return carry, reward, (255 * jnp.clip(image, 0, 1)).astype(jnp.uint8)

  def call(fn):
    jitted = jax.jit(nj.pure(fn))
    return lambda *args, seed: jitted(params, *args, seed=jax.random.PRNGKey(seed))[1]

  with jax.transfer_guard('allow'):
    params = jax.device_put(jax.device_get(agent.params))
    start, advance, result = call(begin), call(step), []
    for source in range(len(found.facts['sources'])):
      carry, _ = start(images, seed=source)
      seen, total = np.repeat(images[:, None], frames, 1), np.zeros(E)
      for t in range(length - 1):
        action = act(seen, np.full(E, source))[:, :width]
        carry, reward, image = advance(carry, action, seed=1000 * source + t)
        seen = np.concatenate([seen[:, 1:], np.asarray(image)[:, None]], 1)
        total += np.asarray(reward)
      result.append(float(total.mean()))
  return result


if __name__ == '__main__':
  main()
