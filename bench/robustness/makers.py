"""How a good input of every kind is made: small, and by the programs that usually write it."""

import functools
import json
import pathlib
import pickle
import shutil

import numpy as np

FLAGS = (
    '--configs vid2act metaworld quickstart --task metaworld_door-open --seed 3 --logdir made '
    '--run.steps 100 --agent.vid2act.floor 0.1 --env.metaworld.size 16 16 --agent.vid2act.guide False '
    '--vid2act.sources auto --method x')
COMMANDS = (
    'import IN/data --out made --name x --format dreamerv2 --resize 8 --repeat 1 --limit 3 '
    '--episodes 1 --key reward=reward image=image',
    'inspect IN/one --no-pictures --json', 'export IN/one --format minari --out made/x-v0',
    'ablate IN/matrix.yaml --out runs --jobs 1 --minutes 1 --dry-run')


@functools.lru_cache(maxsize=2)
def presets(argv=()):
  """Return the host's presets, our defaults and overlays included."""
  import dreamerv3
  from dreamerv3 import plugins
  return plugins.configs(pathlib.Path(dreamerv3.__path__[0]) / 'configs.yaml', argv)


def recording(folder, **changes):
  """Write two episodes and their manifest."""
  from vid2act_plugin.sources import recording
  entries = [recording.write_episode(folder, i, episode(i)) for i in range(2)]
  recording.write_manifest(folder, dict(
      source='one', suite='fake', task='one', behaviour={}, seed=0, env=dict(repeat=2, size=[16,
          16]),
      versions={}, act_size=2, episodes=entries, **changes))


def bundle(folder):
  from vid2act_plugin.teacher.bundle import Bundle
  rng, M = np.random.default_rng(0), 5
  Bundle(
      {'dyn/a': rng.normal(size=(3, 4)).astype(np.float32), 'enc/b': np.zeros(5, np.float32)},
      dict(deter=np.zeros((M, 8), np.float16), stoch=np.zeros((M, 4), np.uint8),
           action=np.zeros((M, 3), np.float32), source=np.arange(M, dtype=np.int32) % 2),
      dict(sources=['a', 'b'], act_sizes=[3, 2], act_width=3, image=[16, 16, 3], updates=7,
           agent=dict(dyn=dict(rssm=dict(deter=8, stoch=4, classes=6))), env={}, recordings='abc',
           host='host', jax='0')).save(folder)


def overlay(folder):
  from vid2act_plugin.common import resources as paths
  shutil.copy(paths.data('configs') / 'quickstart.yaml', folder / 'mine.yaml')


def checkpoint(folder):
  params = {f'dyn/{i}': np.full((2, i), i, np.float32) for i in range(4)}
  (folder / 'agent.pkl').write_bytes(pickle.dumps(
      dict(params=params, counters=dict(updates=3, x=np.int64(4)))))


def dreamerv2(folder):
  for i in range(2):
    np.savez_compressed(folder / f'{i}.npz', **episode(i))


def dreamerv3(folder):
  ids = ['a' * 22, 'b' * 22, '0' * 22]
  for i in range(2):
    name = f'20240101T00000{i}F000000-{ids[i]}-{ids[i + 1]}-6.npz'
    np.savez_compressed(folder / name, **episode(i))


def exported(name, folder):
  """Write a recording as a data set of another project."""
  from vid2act_plugin.sources import export
  recording(folder / 'one')
  export.export([folder / 'one'], name, folder / 'made-v0')
  shutil.rmtree(folder / 'one')
  shutil.copytree(folder / 'made-v0', folder, dirs_exist_ok=True)
  shutil.rmtree(folder / 'made-v0')


def early(folder):
  """Write a Minari data set as versions before 0.5 have it."""
  exported('minari', folder)
  (folder / 'data' / 'metadata.json').unlink()


def logdir(folder):
  """Write what a run of DreamerV3 itself leaves of its scores."""
  (folder / 'config.yaml').write_text('task: dmc_walker_walk\nseed: 3\nmethod: name\n')
  (folder / 'metrics.jsonl').write_text(''.join(
      json.dumps({'step': 10 * i, 'episode/score': i / 7, 'x': 'y'}) + '\n' for i in range(9)))


def columns(form, folder):
  """Write a Minari data set of one episode in Arrow or Parquet files."""
  import gymnasium as gym
  from minari.data_collector import EpisodeBuffer
  from minari.dataset.minari_storage import MinariStorage
  made, box = episode(), gym.spaces.Box
  storage = MinariStorage.new(
      folder / 'data', box(0, 255, made['image'].shape[1:], np.uint8), box(-1, 1, (2,), np.float32),
      jpeg_encoding=False, data_format=form)
  storage.update_episodes([EpisodeBuffer(
      observations=made['image'], actions=made['action'][:-1], rewards=made['reward'][1:],
      terminations=made['is_terminal'][1:], truncations=made['is_last'][1:])])


def video(folder):
  import av
  from PIL import Image
  for i, suffix in enumerate(('.mp4', '.gif')):
    made = episode(i, size=32)
    with av.open(str(folder / f'{i}{suffix}'), 'w') as film:
      stream = film.add_stream('libx264' if suffix == '.mp4' else 'gif', rate=10)
      stream.height = stream.width = 32
      stream.pix_fmt = 'yuv420p' if suffix == '.mp4' else 'rgb8'
      for x in made['image']:
        film.mux(stream.encode(av.VideoFrame.from_ndarray(x, 'rgb24')))
      film.mux(stream.encode())
    rows = [f'{x},{y},{r}' for (x, y), r in zip(made['action'], made['reward'])]
    (folder / f'{i}.csv').write_text('\n'.join(['action_x,action_y,reward', *rows]))
  (folder / 'png').mkdir()
  for t, x in enumerate(episode(2, size=32)['image']):
    Image.fromarray(x).save(folder / 'png' / f'{t}.png')
  np.save(folder / 'png.npy', episode(2)['action'])


def tiny():
  """Return a configuration of the host with as small a model as there is."""
  import elements
  return elements.Config(presets()['defaults']).update({
      'task': 'metaworld_reach', r'.*\.rssm': {'deter': 16, 'hidden': 8, 'classes': 4, 'stoch': 4},
      r'.*\.mults': [1, 2], r'.*\.depth': 4, r'.*\.units': 16, r'.*\.layers': 1, r'.*\.bins': 15})


def agent():
  """Return what of a configuration shapes the model."""
  from vid2act_plugin.teacher.bundle import MODEL
  return {k: dict(tiny().agent[k]) for k in MODEL}


def run(folder):
  """Write a run of the host: configuration, checkpoint and replay."""
  import elements

  from vid2act_plugin.teacher import separate
  config = tiny()
  elements.Config(
      task=config.task, agent=agent(), env=dict(metaworld=dict(size=[16, 16]))).save(
          folder / 'config.yaml')
  shapes = separate.shapes(config.agent, (16, 16, 3), 2)
  made = folder / 'ckpt' / '20240101T000000F000000'
  made.mkdir(parents=True)
  (folder / 'ckpt' / 'latest').write_text(made.name)
  (made / 'done').touch()
  (made / 'agent.pkl').write_bytes(pickle.dumps(dict(
      params={k: np.zeros(v, np.float32) for k, v in shapes.items()},
      counters=dict(updates=3, batches=3, actions=9))))
  (folder / 'replay').mkdir()
  dreamerv3(folder / 'replay')


def teacher(folder):
  """Write a bundle whose tensors a model has, and behaviours."""
  from vid2act_plugin.teacher import behaviours, bundle, model
  M, manifest = 6, dict(
      sources=['a', 'b'], act_sizes=[3, 2], act_width=3, image=[16, 16, 3], updates=7,
      agent=agent(), env={}, recordings='abc')
  made = bundle.Bundle({}, {}, manifest)
  made.params = {
      k: np.zeros(v, np.float32) for k, v in model.shapes(made.model(), (16, 16, 3), 3).items()}
  made.memory = dict(
      deter=np.zeros((M, 16), np.float16), stoch=np.zeros((M, 4), np.uint8),
      action=np.zeros((M, 3), np.float32), source=np.arange(M, dtype=np.int32) % 2)
  facts = manifest['behaviours'] = dict(
      **{k: manifest[k] for k in ('sources', 'act_sizes', 'act_width', 'image', 'env', 'recordings')},
      settings=dict(updates=1, batch_size=1, frames=2, shift=0, channels=2, hidden=4, episodes=0),
      error=[0.5, 0.5], success=[None, [1.0, 0.5]])
  made.clones = {k: np.zeros(v, np.float32) for k, v in behaviours.shapes(facts).items()}
  made.save(folder)


def ablation(folder):
  (folder / 'matrix.yaml').write_text(
      'configs: [metaworld, quickstart, {batch_size: 3}]\n'
      'variants:\n  stock: []\n  ours: [vid2act, {run: {envs: 1}}]\n'
      'tasks: [metaworld_door-lock]\nseeds: [0, 7]\nagainst: stock\n')


def scores(folder):
  from vid2act_plugin.training import scores
  rows = [dict(task='metaworld_reach', method=x, seed=i, xs=[1, 2, 3, 4], ys=[0.5, 1, i, 2])
          for x in ('stock', 'ours') for i in range(2)]
  scores.save(folder / 'score.json.gz', rows)


def command(folder):
  """Write what command lines ask for, and these; IN is the folder."""
  (folder / 'data').mkdir()
  dreamerv2(folder / 'data')
  recording(folder / 'one')
  ablation(folder)
  for line in COMMANDS:
    words = line.split()
    (folder / f'{words[0]}.argv').write_text(json.dumps(words))


def flags(folder):
  (folder / 'dreamerv3.argv').write_text(json.dumps(FLAGS.split()))


def episode(seed=0, steps=6, size=16, actions=2):
  """Return a small episode in the format of recordings."""
  rng, flags = np.random.default_rng(seed), np.zeros((3, steps), bool)
  flags[0, 0] = flags[1, -1] = True
  action = rng.uniform(-1, 1, (steps, actions)).astype(np.float32)
  action[-1] = 0
  return dict(
      image=rng.integers(0, 256, (steps, size, size, 3), np.uint8), action=action,
      reward=np.arange(steps, dtype=np.float32), is_first=flags[0], is_last=flags[1],
      is_terminal=flags[2], success=np.zeros(steps, np.float32))
