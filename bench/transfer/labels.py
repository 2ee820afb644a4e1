"""How well are actions inferred in tasks that nobody learned from, and what decides it?

    python -m bench.transfer.labels RECORDING... [--new RECORDING...] [--updates N] [--seed N] [--out FILE]

Three networks learn from recordings of several tasks with random episodes, once from these alone
and once from all episodes. Of each task, a network that did not learn from it infers what experts
do in held-out episodes, as `vid2act label` does; with --new, all infer what experts do there.
Printed are R2 per action, mean over tasks.

    python -m bench.transfer.labels --hand [--out FILE]

Instead of images, a linear map sees where Meta-World's hand and fingers are, exactly or with an
error: two steps before the action, and until three after it. More cannot be in any image.

    python -m bench.transfer.labels --joints TASK... [--out FILE]

The same of the joints of bodies of DeepMind Control that act at random.
"""

import argparse
import functools
import json
import pathlib

import numpy as np

from vid2act_plugin.common.output import table
from vid2act_plugin.teacher import inverting

LEARNED = 'button-press', 'drawer-close', 'door-close', 'faucet-open', 'plate-slide', 'window-close'
NEW = 'handle-press', 'reach'
NOISES = -1, 0.0, 0.1, 0.3, 0.5  # Of experts, -1: random actions; in turn.
ERRORS = 0, 2, 5, 10  # Millimetres, standard deviation.
EPISODES = 10
STEPS, LONG, HELD = 7500, 100, 15  # With --joints: steps in all and of an episode; episodes held out.


def main():
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  add = parser.add_argument
  add('recordings', nargs='*', metavar='RECORDING')
  add('--new', nargs='+', metavar='RECORDING', help='of tasks that none learns from, no more of them than of the others')
  add('--hand', action='store_true', help='positions of the hand instead of recordings')
  add('--joints', nargs='+', metavar='TASK', help='positions of joints, such as of dmcontrol_walker_walk')
  add('--updates', type=int, default=1000)
  add('--seed', type=int, default=0)
  add('--out', type=pathlib.Path, help='gets the figures as JSON')
  args = parser.parse_args()
  if bool(args.recordings) + args.hand + bool(args.joints) != 1:
    parser.error('name recordings, or --hand, or --joints')
  if 0 < len(args.recordings) < 3 and not args.new:
    parser.error('name three recordings or more, or tasks that none learns from with --new')
  rows = hand(args.seed) if args.hand else joints(args.joints, args.seed) if args.joints else images(args)
  size = max(len(x['r2']) for x in rows)
  table('R2 in tasks not learned from', ['seen', 'learned from', 'labelled', *[f'action {i}' for i in range(size)]], [
      [x['seen'], x['learned'], x['labelled'], *[f'{y:.2f}' for y in x['r2']]] for x in rows])
  if args.out:
    args.out.write_text(json.dumps(rows, indent=1) + '\n')


def images(args):
  """Return the figures of networks that see images."""
  import jax.numpy as jnp

  from vid2act_plugin.common import progress
  from vid2act_plugin.host import internals
  from vid2act_plugin.sources import dataset, recording
  from vid2act_plugin.training import invert
  internals.compute_in(jnp.float32)
  size = recording.load_manifest(args.recordings[0])['act_size']
  data = dataset.Sources(args.recordings, invert.HOLDOUT, size, args.seed)
  # All but an episode of each is held out of what is new.
  new = dataset.Sources(args.new, 0.99, size, args.seed) if args.new else data
  rows, settings = [], {**invert.SETTINGS, 'updates': args.updates}
  for learned, enough in (('random episodes', 0), ('all episodes', np.inf)):
    if learned == 'all episodes' and all(all(x) for x in data.random['train']):
      break
    inverting.ENOUGH = enough
    training = inverting.Training(data, settings, {})
    training.new = inverting.Steps(new, 'holdout', [[not y for y in x] for x in new.random['holdout']])
    if args.new:
      training.new.counts += [0] * (len(data.names) - len(new.names))
      training.apart = [range(settings['networks'])] * len(training.apart)
    with progress.bar(learned, args.updates, 'updates') as bar:
      for number in range(args.updates):
        training(number)
        bar.advance()
    each = [x for x in training.result().facts['r2_unseen'] if x]
    rows.append(dict(
        seen=f'{data.image[0]}x{data.image[1]} pixels', learned=learned, labelled='experts', steps=sum(training.steps.counts),
        r2=mean(each), updates=args.updates, sources=data.names, new=new.names))
  return rows


def hand(seed):
  """Return the figures of a linear map that sees positions."""
  rng = np.random.default_rng(seed)
  played = {task: play(task, rng) for task in (*LEARNED, *NEW)}
  rows = []
  for millimetres in ERRORS:
    see = functools.partial(seen, rng=rng, error=1e-3 * millimetres)
    learned = [x for task in LEARNED for x in played[task]]
    weights = np.linalg.lstsq(
        np.concatenate([see(x) for _, x, _ in learned]), np.concatenate([x for *_, x in learned]))[0]
    for whose, chosen in (('experts', lambda noise: noise >= 0), ('random actions', lambda noise: noise < 0)):
      each = []
      for task in NEW:
        found = [x for x in played[task] if chosen(x[0])]
        guess = np.concatenate([see(x) @ weights for _, x, _ in found])
        action = np.concatenate([x for *_, x in found])
        each.append(inverting.explained(guess, action))
      rows.append(dict(
          seen=f'positions, {millimetres} mm off', learned='all episodes', labelled=whose, r2=mean(each)))
  return rows


def joints(tasks, seed):
  """Return the figures of linear maps that see where the joints of a body are, which acts at random."""
  from vid2act_plugin.envs.dmcontrol import DMControl
  rng, rows = np.random.default_rng(seed), []
  for task in tasks:
    env = DMControl(task.removeprefix('dmcontrol_'), size=(16, 16), limit=2 * LONG, render='fast', seed=seed)
    played = [move(env, rng) for _ in range(STEPS // LONG)]
    env.close()
    (known, actions), (see, wanted) = (tuple(map(np.concatenate, zip(*x))) for x in (played[:-HELD], played[-HELD:]))
    r2 = inverting.explained(see @ np.linalg.lstsq(known, actions)[0], wanted)
    rows.append(dict(seen='joints', learned='random actions', labelled=task, r2=mean([r2])))
  return rows


def move(env, rng):
  """Return what is seen of the joints in an episode of random actions, `[T, S]`, and these, `[T, A]`."""
  obs = env.step({'reset': True})
  positions, actions = [env.physics.data.qpos.copy()], []
  while not obs['is_last']:
    actions.append(rng.uniform(-1, 1, env.act_space['action'].shape))
    obs = env.step({'action': actions[-1], 'reset': False})
    positions.append(env.physics.data.qpos.copy())
  return seen(np.array(positions), rng, 0), np.array(actions)


def seen(positions, rng, error):
  """Return for each step how far the positions around it are from that one, `[T, 6 * N + 1]`, with an error."""
  noisy = positions + error * rng.standard_normal(positions.shape)
  steps = np.arange(len(positions) - 1)
  index = np.clip(steps[:, None] + np.arange(-2, 4), 0, len(steps))
  return np.c_[(noisy[index] - noisy[steps][:, None]).reshape(len(steps), -1), np.ones(len(steps))]


def play(task, rng):
  """Return (noise, positions `[T + 1, 4]` in metres, actions `[T, 4]`) of some episodes."""
  from vid2act_plugin.envs.metaworld import MetaWorld
  env, found = MetaWorld(task, size=(16, 16), repeat=2, limit=200, render='fast'), []
  for episode in range(EPISODES):
    noise = NOISES[episode % len(NOISES)]
    env.episode = episode
    obs = env.step({'reset': True})
    positions, actions = [env.state[:4]], []
    while not obs['is_last']:
      action = rng.uniform(-1, 1, 4) if noise < 0 else (
          env.expert_action() + noise * rng.standard_normal(4)).clip(-1, 1)
      obs = env.step({'action': action, 'reset': False})
      actions.append(action)
      positions.append(env.state[:4])
    found.append((noise, np.array(positions), np.array(actions)))
  env.close()
  return found


def mean(rows):
  """Return the mean of rows of figures, in which None is no figure."""
  return [round(float(np.nanmean([np.nan if x[i] is None else x[i] for x in rows])), 3) for i in range(len(rows[0]))]


if __name__ == '__main__':
  main()
