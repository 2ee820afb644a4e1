"""What is fuzzed: how a good input of every kind is made, and how it is read."""

import contextlib
import functools
import io
import json
import os
import pathlib
import shutil
import tempfile

import numpy as np

from . import cameras, films, makers


def recording(folder):
  """Read a recording as pretraining does."""
  from vid2act_plugin.sources import recording
  from vid2act_plugin.sources.dataset import Sources
  recording.count(folder)
  manifest, episodes = recording.load(folder)
  for entry, x in zip(manifest['episodes'], episodes):
    recording.check(x, entry['file'])
  Sources([folder], act_width=max(1, min(99, manifest['act_size'])))


def bundle(folder):
  """Read a bundle as training and `vid2act inspect` do."""
  from vid2act_plugin.teacher import bundle
  from vid2act_plugin.tools import inspect
  bundle.load(folder)
  (report,), _ = inspect.inspect([folder])
  assert report['kind'] == 'teacher', report


def overlay(folder):
  """Read an overlay and apply it as the host does."""
  import elements
  host = makers.presets()
  config = elements.Config(host['defaults']).update(host[str(folder / 'mine.yaml')])
  config.save(folder.parent / 'config.yaml')
  elements.Config.load(folder.parent / 'config.yaml')
  (folder.parent / 'config.yaml').unlink()


def checkpoint(folder):
  """Read a checkpoint; it may hold plain things alone."""
  from vid2act_plugin.common import safe_pickle
  todo, seen = [safe_pickle.load(folder / 'agent.pkl')], set()
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
  from vid2act_plugin.sources import formats, importing, recording
  out = folder.parent / 'out'
  with contextlib.suppress(UserError):
    formats.find(folder)
  try:
    importing.run(folder, out, kind)
    for line in recording.load(out)[0]['skipped']:
      assert faults(line, folder, []) == [], line
  except UserError:
    if {x.name for x in out.glob('*')} - {lock.FILE}:
      recording.load(out)
    raise
  finally:
    assert not list(folder.parent.rglob('*.part'))
    shutil.rmtree(out, ignore_errors=True)


def unlabelled(folder):
  """Label films, at their rate and at another one; what is left behind is a whole recording, or nothing."""
  from vid2act_plugin.common.errors import UserError
  from vid2act_plugin.sources import recording, shots
  shots.check(folder)
  for rate in (0, 5):
    out = folder.parent / f'out{rate}'
    try:
      for line in films.label(folder, out, rate)['skipped']:
        assert faults(line, folder, []) == [], line
      recording.load(out)
    except UserError as e:
      assert not (out / recording.MANIFEST).exists() and 'could be labelled' in str(e), e
    finally:
      shutil.rmtree(out, ignore_errors=True)


def labelled(folder):
  """Continue a copy of a labelled recording."""
  from vid2act_plugin.sources import recording
  with away(folder) as out:
    shutil.copytree(folder, out / folder.name, symlinks=True, copy_function=os.link)  # Pipes too.
    made = out / folder.name
    try:
      films.label(made / 'films', made / 'out')
    except SystemExit as e:
      e.args = str(e).replace(str(made), str(folder)),
      e.code = e.args[0]
      raise
    recording.load(made / 'out')


def inverse(folder):
  """Read an inverse dynamics model."""
  from vid2act_plugin.teacher import inverse
  inverse.read(folder / 'inverse')(np.zeros((3, 16, 16, 3), np.uint8))


def run(folder):
  """Read a run as `vid2act teacher import` does, and make a bundle of it."""
  from vid2act_plugin.teacher import from_runs, runs
  with away(folder) as out:
    from_runs.build([folder], out / 'teacher', guide=False)
    runs.windows(runs.read(folder), 4, 10)


def teacher(folder):
  """Read a bundle and build its models, as training does."""
  from vid2act_plugin.teacher import behaviours, bundle
  loaded = bundle.load(folder)
  loaded.check()
  loaded.model()
  behaviours.of(loaded)


def ablation(folder):
  """Read an ablation file, and list and write what it asks for."""
  from vid2act_plugin.studies import matrix
  plan = matrix.Matrix(folder / 'matrix.yaml')
  with away(folder) as out:
    plan.write(out)
    assert [plan.names(x.method, out) for x in plan.runs]


def scores(folder):
  """Read score files as `vid2act plot` does."""
  from vid2act_plugin.training import scores
  scores.read([folder])


def command(folder):
  """Run the command lines of a folder in another one, which has a pipe in it."""
  from vid2act_plugin import cli
  with away(folder) as out, contextlib.chdir(out):
    os.mkfifo('pipe')
    for file in sorted(folder.glob('*.argv')):
      words = json.loads(file.read_bytes())
      with contextlib.redirect_stderr(io.StringIO()):
        cli.main([str(folder / x[3:]) if x.startswith('IN/') else x for x in words])


def flags(folder):
  """Read a command line of the host's as it does, up to the whole configuration."""
  import elements
  words = json.loads((folder / 'dreamerv3.argv').read_bytes())
  known = makers.presets(tuple(words))
  parsed, other = elements.Flags(configs=['defaults']).parse_known(words)
  config = elements.Config(known['defaults'])
  for name in parsed.configs:
    config = config.update(known[name])
  elements.Flags(config).parse(other)


@contextlib.contextmanager
def away(folder):
  """Yield a folder beside `folder` that is gone afterwards."""
  out = folder.parent / 'out'
  out.mkdir()
  try:
    yield out
  finally:
    shutil.rmtree(out)


IMPORTS = {
    'dreamerv2': makers.dreamerv2, 'dreamerv3': makers.dreamerv3, 'video': makers.video,
    **{x: functools.partial(makers.exported, x) for x in ('lerobot', 'minari')}}
CAMERAS = {'tables': 'video', 'shots': 'video', 'films': 'video', 'arrays': 'dreamerv2'}
NAMELESS = 'command', 'flags'  # Their faults are in no file.
COLUMNS = 'arrow', 'parquet'  # Forms of Minari's data sets beside HDF5.

# Kind -> what writes a good input, what reads it, and which of its files are spoiled.
KINDS = {
    'manifest': (makers.recording, recording, '.json'),
    'episode': (makers.recording, recording, '.npz'),
    **{read.__name__: (getattr(makers, read.__name__), read, '') for read in (
        bundle, overlay, checkpoint, run, teacher, ablation, scores)},
    **{read.__name__: (getattr(films, read.__name__), read, '') for read in (unlabelled, inverse)},
    'labelled': (films.labelled, labelled, '.json'),
    'early': (makers.early, functools.partial(importing, kind='minari'), '.hdf5'),
    'logdir': (makers.logdir, scores, ''), 'command': (makers.command, command, '.argv'), 'flags': (makers.flags, flags, ''),
    **{k: (write, functools.partial(importing, kind=k), '') for k, write in IMPORTS.items()},
    **{k: (getattr(cameras, k), functools.partial(importing, kind=x), '') for k, x in
       CAMERAS.items()},
    **{k: (functools.partial(makers.columns, k), functools.partial(importing, kind='minari'), k)
       for k in COLUMNS}}


def make(kind):
  """Return a good input of a kind."""
  with tempfile.TemporaryDirectory() as folder:
    with contextlib.redirect_stdout(open(os.devnull, 'w')):
      KINDS[kind][0](pathlib.Path(folder))
    return load(pathlib.Path(folder))


def faults(sentence, folder, names):
  """Return what is wrong with an error's sentence, which has to name one of the files."""
  found = [] if sentence.isprintable() else ['it is not one line of plain characters']
  found += [] if sentence.endswith(('.', '?')) else ['it is no sentence']
  named = str(folder) in sentence or any(x in sentence for x in names)
  return found + ([] if named or not names else ['it names no file']) + (
      ['it asked for too much memory'] if 'MemoryError' in sentence else [])


def load(folder):
  """Return the files in a folder as an input."""
  files = [x for x in sorted(folder.rglob('*')) if x.is_file()]
  return {str(x.relative_to(folder)): x.read_bytes() for x in files}
