"""What the manifest of a collection says, and when a collection is continued. Episodes are of numbers."""

import contextlib
import sys
import types

import numpy as np
import pytest
from helpers import recordings as made

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.envs import suites
from vid2act_plugin.sources import collect, entries, play
from vid2act_plugin.sources import recording as recordings


@pytest.fixture
def gather(tmp_path, monkeypatch):
  """Return a function (episodes, how many until Ctrl-C) -> what the manifest said after each, and says now."""
  def fn(episodes, stop=99, name='metaworld_reach', renderer='none'):
    said, folder = [], tmp_path / entries.parse(name).name
    tell = lambda: recordings.load_manifest(folder).get('complete')

    @contextlib.contextmanager
    def workers(jobs, *rest):
      def results():
        for i, job in enumerate(jobs):
          if i == stop:
            raise KeyboardInterrupt
          entry = recordings.write_episode(job['folder'], job['index'], made.episode(value=job['index']))
          yield job, dict(entry=entry, renderer=renderer, act_size=2, success=True)
          said.append(tell())
      yield results()
    monkeypatch.setattr(collect, '_workers', workers)
    with contextlib.suppress(KeyboardInterrupt):
      collect.collect([name], tmp_path, {}, episodes=episodes)
    return [*said, tell()]
  return fn


def test_a_manifest_tells_whether_all_episodes_asked_for_are_there(gather, tmp_path):
  folder = tmp_path / 'metaworld_reach'
  assert gather(4, stop=2) == [False, False, False]
  assert gather(4, stop=0) == [False]
  assert gather(2) == [True]  # Fewer are asked for, and these are there.
  manifest = recordings.load_manifest(folder)
  assert (manifest['renderer'], manifest['act_size'], manifest['success']) == ('none', 2, True)
  assert gather(4) == [False, True, True] and gather(3) == [True]


@pytest.mark.parametrize('gives, words', [
    ([np.inf, -np.inf], 'an action that is not finite'), ([np.nan, 0], 'an action that is not finite'),
    (0.5, r'an action of shape \(\) instead of \(2,\)'), ([0.5], r'of shape \(1,\)'), ([[0.5, 0]], r'of shape \(1, 2\)')])
@pytest.mark.parametrize('noise', [0.0, 0.3])
def test_what_a_behaviour_gives_has_to_be_an_action(gives, words, noise):
  steps = []
  env = types.SimpleNamespace(act_space={'action': np.zeros(2)}, step=lambda x: steps.append(x) or {'is_last': len(steps) > 3})
  with pytest.raises(ValueError, match=words):
    play.record(env, lambda env, obs, rng: gives, dict(policy='expert', noise=noise), np.random.default_rng(0))
  assert len(steps) == 1  # The simulator was given none of it.


def test_both_renderers_of_a_collection_are_kept(gather, tmp_path):
  renderer = lambda: recordings.load_manifest(tmp_path / 'metaworld_reach')['renderer']
  gather(2, renderer='egl, 256 bits')
  gather(3, renderer='osmesa')
  assert renderer() == 'egl, 256 bits; osmesa'
  gather(4, renderer='osmesa')
  assert renderer() == 'egl, 256 bits; osmesa'


def test_an_earlier_recording_stays_as_it_is(gather, tmp_path):
  folder = tmp_path / 'metaworld_reach'
  gather(3)
  manifest = recordings.load_manifest(folder)
  del manifest['complete']
  recordings.write_manifest(folder, manifest)
  before, hashed = (folder / recordings.MANIFEST).read_bytes(), recordings.content_key([manifest])
  assert gather(3) == [None] and (folder / recordings.MANIFEST).read_bytes() == before
  assert gather(4)[-1] and recordings.content_key([manifest]) == hashed


TOY = '''import gymnasium
class Toy(gymnasium.Env):
  action_space = gymnasium.spaces.Box(-1, 1, (2,))
gymnasium.register('Toy-v0', entry_point=Toy)
'''


def test_an_environment_that_was_edited_is_not_mixed(gather, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(sys, 'path', [str(tmp_path), *sys.path])
  module, name = tmp_path / 'edited_toy.py', 'gymnasium_edited_toy:Toy-v0'
  module.write_text(TOY)
  folder = tmp_path / suites.filename(name)
  with monkeypatch.context() as patch:
    patch.setattr(collect.importlib.metadata, 'version', lambda x: '0.1')
    assert gather(2, name=name) == [False, True, True]
  versions = recordings.load_manifest(folder)['versions']
  module.write_text(TOY + '# Edited.\n')
  capsys.readouterr()
  with pytest.raises(UserError, match=f'another file of the environment {name}; restore it as it was .*--out'):
    gather(3, name=name)
  assert recordings.load_manifest(folder)['versions'] == versions and recordings.count(folder) == 2
  assert gather(2, name=name) == [True]  # Nothing is added.
  assert f'was begun with {name} {versions[name]}; this is' in capsys.readouterr().out
  module.write_text(TOY)
  assert gather(3, name=name)[-1]
  mixed = recordings.load_manifest(folder)['versions']
  assert mixed[name] == versions[name] and mixed['gymnasium'].startswith('0.1, ')
  assert gather(4, name=name)[-1] and recordings.load_manifest(folder)['versions'] == mixed
  sys.modules.pop('edited_toy')


def test_a_recording_of_a_module_that_was_edited(gather, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, 'path', [str(tmp_path), *sys.path])
  module = tmp_path / 'edited_moves.py'
  module.write_text('def push(env, obs, rng): pass\n')
  name = 'metaworld_reach@edited_moves:push'
  gather(1, name=name)
  module.write_text(module.read_text() + '# Edited.\n')
  with pytest.raises(UserError, match='restore the modules of edited_moves:push as they were, or name another') as e:
    gather(2, name=name)
  assert '--digest' not in str(e.value)
  module.write_text('def push(env, obs, rng): pass\n')
  assert gather(2, name=name)[-1]
  sys.modules.pop('edited_moves')
