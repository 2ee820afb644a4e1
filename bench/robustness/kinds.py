"""What is fuzzed: how a good input of every kind is made, and how it is read."""

import contextlib
import functools
import os
import pathlib
import pickle
import shutil
import tempfile

import numpy as np


def recording(folder):
  """Read a recording as pretraining does."""
  from vid2act_plugin.sources import recording as recordings
  from vid2act_plugin.sources.dataset import Sources
  recordings.count(folder)
  manifest, episodes = recordings.load(folder)
  for entry, x in zip(manifest['episodes'], episodes):
    recordings.check(x, entry['file'])
  Sources([folder], act_width=max(1, min(99, manifest['act_size'])))


def bundle(folder):
  """Read a bundle as training and `vid2act inspect` do."""
  from vid2act_plugin.teacher import bundle
  from vid2act_plugin.tools import inspect as inspection
  bundle.load(folder)
  (report,), _ = inspection.inspect([folder])
  assert report['kind'] == 'teacher', report


def overlay(folder):
  """Read an overlay and apply it as the host does."""
  import elements
  host = presets()
  config = elements.Config(host['defaults']).update(host[str(folder / 'mine.yaml')])
  config.save(folder.parent / 'config.yaml')
  elements.Config.load(folder.parent / 'config.yaml')
  (folder.parent / 'config.yaml').unlink()


@functools.cache
def presets():
  """Return the host's presets, our defaults and overlays included."""
  import dreamerv3
  from dreamerv3 import plugins
  return plugins.configs(pathlib.Path(dreamerv3.__path__[0]) / 'configs.yaml')


def checkpoint(folder):
  """Read a checkpoint; it may hold plain things alone."""
  from vid2act_plugin.common import safe_pickle as pickles
  todo, seen = [pickles.load(folder / 'agent.pkl')], set()
  while todo:
    x = todo.pop()
    if id(x) in seen:
      continue
    seen.add(id(x))
    assert not callable(x) or isinstance(x, type), x
    assert not isinstance(x, np.ndarray) or x.dtype.kind in 'biufcV' and not x.dtype.hasobject
    todo += x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else ()


def importing(folder, kind):
  """Import what others recorded; what is left behind is a whole recording, or nothing."""
  from vid2act_plugin.common import lock
  from vid2act_plugin.common.errors import UserError
  from vid2act_plugin.sources import formats
  from vid2act_plugin.sources import importing as imports
  from vid2act_plugin.sources import recording as recordings
  out = folder.parent / 'out'
  with contextlib.suppress(UserError):
    formats.find(folder)
  try:
    imports.run(folder, out, kind)
    for line in recordings.load(out)[0]['skipped']:
      assert faults(line, folder, []) == [], line
  except UserError:
    if {x.name for x in out.glob('*')} - {lock.FILE}:
      recordings.load(out)
    raise
  finally:
    assert not list(folder.parent.rglob('*.part'))
    shutil.rmtree(out, ignore_errors=True)


def make_recording(folder, **changes):
  """Write two episodes and their manifest."""
  from vid2act_plugin.sources import recording as recordings
  entries = [recordings.write_episode(folder, i, episode(i)) for i in range(2)]
  recordings.write_manifest(folder, dict(
      source='one', suite='fake', task='one', behaviour={}, seed=0, env=dict(repeat=2, size=[16,
          16]),
      versions={}, act_size=2, episodes=entries, **changes))


def make_bundle(folder):
  from vid2act_plugin.teacher.bundle import Bundle
  rng, M = np.random.default_rng(0), 5
  Bundle(
      {'dyn/a': rng.normal(size=(3, 4)).astype(np.float32), 'enc/b': np.zeros(5, np.float32)},
      dict(deter=np.zeros((M, 8), np.float16), stoch=np.zeros((M, 4), np.uint8),
           action=np.zeros((M, 3), np.float32), source=np.arange(M, dtype=np.int32) % 2),
      dict(sources=['a', 'b'], act_sizes=[3, 2], act_width=3, image=[16, 16, 3], updates=7,
           agent=dict(dyn=dict(rssm=dict(deter=8, stoch=4, classes=6))), env={}, recordings='abc',
           host='host', jax='0')).save(folder)


def make_overlay(folder):
  from vid2act_plugin.common import resources as paths
  shutil.copy(paths.data('configs') / 'quickstart.yaml', folder / 'mine.yaml')


def make_checkpoint(folder):
  params = {f'dyn/{i}': np.full((2, i), i, np.float32) for i in range(4)}
  (folder / 'agent.pkl').write_bytes(pickle.dumps(
      dict(params=params, counters=dict(updates=3, x=np.int64(4)))))


def make_dreamerv2(folder):
  for i in range(2):
    np.savez_compressed(folder / f'{i}.npz', **episode(i))


def make_dreamerv3(folder):
  ids = ['a' * 22, 'b' * 22, '0' * 22]
  for i in range(2):
    name = f'20240101T00000{i}F000000-{ids[i]}-{ids[i + 1]}-6.npz'
    np.savez_compressed(folder / name, **episode(i))


def make_exported(name, folder):
  from vid2act_plugin.sources import export
  make_recording(folder / 'one')
  export.export([folder / 'one'], name, folder / 'made-v0')
  shutil.rmtree(folder / 'one')
  shutil.copytree(folder / 'made-v0', folder, dirs_exist_ok=True)
  shutil.rmtree(folder / 'made-v0')


def make_video(folder):
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


# Kind -> what writes a good input, what reads it, and which of its files are spoiled.
KINDS = {
    'manifest': (make_recording, recording, '.json'), 'episode': (make_recording, recording,
        '.npz'),
    'bundle': (make_bundle, bundle, ''), 'overlay': (make_overlay, overlay, ''),
    'checkpoint': (make_checkpoint, checkpoint, ''),
    **{kind: (write, functools.partial(importing, kind=kind), '') for kind, write in (
        ('dreamerv2', make_dreamerv2), ('dreamerv3', make_dreamerv3), ('video', make_video),
        *((x, functools.partial(make_exported, x)) for x in ('lerobot', 'minari')))}}


def make(kind):
  """Return a good input of a kind."""
  with tempfile.TemporaryDirectory() as folder:
    with contextlib.redirect_stdout(open(os.devnull, 'w')):
      KINDS[kind][0](pathlib.Path(folder))
    return load(pathlib.Path(folder))


def faults(sentence, folder, names):
  """Return what is wrong with an error's sentence."""
  found = [] if sentence.isprintable() else ['it is not one line of plain characters']
  found += [] if sentence.endswith(('.', '?')) else ['it is no sentence']
  named = str(folder) in sentence or any(x in sentence for x in names)
  return found + ([] if named or not names else ['it names no file']) + (
      ['it asked for too much memory'] if 'MemoryError' in sentence else [])


def load(folder):
  """Return the files in a folder as an input."""
  files = [x for x in sorted(folder.rglob('*')) if x.is_file()]
  return {str(x.relative_to(folder)): x.read_bytes() for x in files}


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
