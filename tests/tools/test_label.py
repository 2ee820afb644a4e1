"""The command `vid2act label`: films and recordings become recordings with inferred actions."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest
from helpers import moves
from helpers.labelling import SIZE, call, label

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import bodies, labelling, recording
from vid2act_plugin.teacher import inverse


def test_a_recording_gets_the_actions_that_it_had(given, capsys):
  manifest, found = label(given / 'target', given)
  said = re.search('R2 against the true actions, which it did not see: (.*), (.*)', capsys.readouterr().out)
  assert min(map(float, said.groups())) > 0.9
  _, wrote = recording.load(given / 'target')
  for ours, theirs in zip(found, wrote):
    np.testing.assert_array_equal(ours['image'], theirs['image'])
    assert np.square(ours['action'] - theirs['action']).mean() < 0.03
    assert not (ours['action'] == theirs['action'])[:-1].all()
    assert ours['confidence'].shape == (moves.LENGTH,) and ours['confidence'].mean() > 0.7
  assert manifest['labels'] == 'inferred' and manifest['env']['camera'] == 'corner'
  made = inverse.read(given / 'model')
  inferred = manifest['inferred']
  assert inferred['model'] == made.digest() and inferred['worth']
  assert inferred['sources'] == ['one', 'two'] and inferred['files'][0] == [
      x['sha256'] for x in recording.load_manifest(given / 'from/one')['episodes']]
  assert manifest['material']['episode-000002.npz']['sha256'] == recording.load_manifest(
      given / 'target')['episodes'][2]['sha256']


def test_interrupted_and_continued(given, monkeypatch, capsys):
  whole, _ = label(given / 'films', given)
  write, calls = labelling.Labels._write, []
  def stopped(self, name, *rest):
    calls.append(name)
    if len(calls) == 3:
      raise KeyboardInterrupt
    write(self, name, *rest)
  monkeypatch.setattr(labelling.Labels, '_write', stopped)
  with pytest.raises(SystemExit) as e:
    label(given / 'films', given, out='again')
  assert e.value.code == 130 and 'what is labelled is kept' in capsys.readouterr().out
  kept = recording.load_manifest(given / 'again/films')
  assert not kept['complete'] and len(kept['episodes']) == 2
  times = [(given / 'again/films' / x['file']).stat().st_mtime_ns for x in kept['episodes']]
  label(given / 'films', given, out='again')
  assert calls[3:] == ['cut.mkv#25-38', 'other.mkv#0-19']
  assert times == [(given / 'again/films' / x['file']).stat().st_mtime_ns for x in kept['episodes']]
  assert recording.load_manifest(given / 'again/films') == whole
  label(given / 'films', given, out='again')
  assert len(calls) == 5


def test_a_recording_that_was_labelled_is_not_learned_from(given, tmp_path, capsys):
  """Also where it is the first of its folder."""
  shutil.copytree(given / 'from', tmp_path / 'all')
  run = lambda: call(given / 'films', '--from', tmp_path / 'all', '--out', tmp_path / 'all', '--name', 'a',
      '--updates', 400, '--model', given / 'model')
  run()
  before = recording.load_manifest(tmp_path / 'all/a')
  capsys.readouterr()
  run()
  assert "Left out: The recording 'a' has inferred actions itself" in capsys.readouterr().out
  assert recording.load_manifest(tmp_path / 'all/a') == before


def test_images_are_written_at_the_size_of_a_run(given):
  """What is inferred from large images is of use to a run that sees small ones."""
  for path, size in ((given / 'films', [16]), (given / 'target', [16, 8])):
    (large, seen), (small, found) = label(path, given), label(path, given, '--resize', *size, out='small')
    assert small['env'] == {**large['env'], 'size': [size[0], size[-1]]} and len(found) == len(seen) > 3
    for ours, theirs in zip(found, seen):
      np.testing.assert_array_equal(ours['action'], theirs['action'])
      np.testing.assert_array_equal(ours['confidence'], theirs['confidence'])
      areas = theirs['image'].reshape((len(theirs['image']), size[0], SIZE // size[0], size[-1], SIZE // size[-1], 3))
      assert np.abs(ours['image'] - areas.mean((2, 4))).max() <= 1


def test_what_changed_since_it_was_labelled_costs_nothing(given, tmp_path):
  """Not even what is said of films that could not be read."""
  shutil.copytree(given / 'films', tmp_path / 'films')
  (tmp_path / 'films/bad.mkv').write_bytes(b'no film')
  before, _ = label(tmp_path / 'films', given, out='changed')
  assert len(before['skipped']) == 1 and before['complete']
  moves.film(tmp_path / 'films/other.mkv', moves.play(61, 20, SIZE)[0], fps=10)
  with pytest.raises(UserError, match='other.mkv has changed since it was labelled'):
    label(tmp_path / 'films', given, out='changed')
  assert recording.load_manifest(given / 'changed/films') == before


def test_episodes_keep_their_own_behaviour(given, tmp_path):
  shutil.copytree(given / 'target', tmp_path / 'mixed')
  manifest = recording.load_manifest(tmp_path / 'mixed')
  manifest['episodes'][1]['behaviour'] = {'policy': 'random'}
  recording.write_manifest(tmp_path / 'mixed', manifest)
  made, _ = label(tmp_path / 'mixed', given, out='behaved')
  assert [x['behaviour'] for x in made['episodes']] == [x['behaviour'] for x in manifest['episodes']]


@pytest.mark.parametrize('change, said', [
    (dict(actions=3), "act_size is 3 and not 2"), (dict(size=16), r'size is \[16, 16\] and not \[32, 32\]'),
    (dict(env=dict(camera='top')), 'camera is top and not corner'), (dict(suite='else'), 'suite is else'),
    (dict(facts=dict(labels='inferred')), 'has inferred actions itself'),
    (dict(facts=dict(fps=30)), 'has 30 steps/s and not 10'), (dict(facts=dict(fps=10), env=dict(repeat=3)), '3.333 steps/s')])
def test_other_bodies_and_cameras_are_left_out(given, tmp_path, change, said):
  if 'actions' in change:
    manifest, episodes = recording.load(moves.write(tmp_path / 'even', count=2, size=SIZE))
    folder, wider = tmp_path / 'odd', [{**x, 'action': np.pad(x['action'], ((0, 0), (0, 1)))} for x in episodes]
    recording.write_manifest(folder, {**manifest, 'act_size': 3, 'episodes': [
        recording.write_episode(folder, i, x) for i, x in enumerate(wider)]})
  else:
    folder = moves.write(tmp_path / 'odd', count=2, **{'size': SIZE, **change})
  target = moves.write(tmp_path / 'target', count=2, size=SIZE, facts=dict(fps=10))
  with pytest.raises(UserError, match='no labelled recordings of that body') as e:
    call(target, '--from', folder, '--out', tmp_path / 'out')
  assert re.search(said, str(e.value.code)), e.value.code
  assert not (tmp_path / 'out').exists() or not list((tmp_path / 'out').rglob('*.npz'))


def test_an_episode_of_another_size_costs_no_other(given, tmp_path, capsys):
  """Also where no manifest says so."""
  shutil.copytree(given / 'target', tmp_path / 'mixed')
  manifest = recording.load_manifest(tmp_path / 'mixed')
  manifest['episodes'][1] = recording.write_episode(tmp_path / 'mixed', 1, moves.episode(3, size=16))
  recording.write_manifest(tmp_path / 'mixed', manifest)
  made, _ = label(tmp_path / 'mixed', given)
  assert len(made['episodes']) == 3 and len(made['skipped']) == 1
  assert 'Skipped: ' in (said := capsys.readouterr().out) and 'has images of shape [16, 16, 3]' in said


def test_the_scale_of_actions_is_that_of_what_is_learned_from(tmp_path, capsys):
  scaled = lambda low, high: dict(action_low=[low] * 2, action_high=[high] * 2)
  teacher = moves.write(tmp_path / 'teacher', size=SIZE, facts=scaled(-2.0, 2.0))
  target = moves.write(tmp_path / 'target', count=2, seed=3, size=SIZE, facts=scaled(-1.0, 1.5))
  odd = moves.write(tmp_path / 'odd', size=SIZE, facts=scaled(-5.0, 2.0))
  call(target, '--from', teacher, odd, '--out', tmp_path / 'out', '--updates', 2)
  assert "Left out: The recording 'odd' has actions of another scale, its action_low is [-5" in capsys.readouterr().out
  made = recording.load_manifest(tmp_path / 'out/target')
  assert (made['action_low'], made['action_high']) == ([-2, -2], [2, 2])


@pytest.mark.parametrize('facts', [dict(env=dict(repeat=0)), dict(facts=dict(fps='10')), dict(facts=dict(
    fps=float('inf'))), dict(facts=dict(action_low='x', action_high=[None]))])
def test_a_manifest_that_says_anything_is_read(given, tmp_path, facts):
  odd = moves.write(tmp_path / 'odd', count=4, size=SIZE, **facts)
  call(odd, '--from', given / 'from', '--out', tmp_path / 'out', '--updates', 400, '--model', given / 'model')


def test_the_rest_is_learned_from(given, tmp_path, capsys):
  odd = moves.write(tmp_path / 'odd', count=2, size=16)
  call(given / 'target', '--from', odd, given / 'from', '--out', tmp_path, '--updates', 400, '--model',
      given / 'model')
  assert "Left out: The recording 'odd' has other images" in capsys.readouterr().out
  call(given / 'target', '--from', given, given / 'from', '--out', tmp_path, '--updates', 400, '--model',
      given / 'model')
  assert 'target is what is to be labelled, and nothing is learned from it' in capsys.readouterr().out


@pytest.mark.parametrize('path, options, said', [
    ('nowhere', [], 'There is no .*nowhere'), ('from', [], 'There are no films in'),
    ('target', ['--rate', '5'], 'are for films'), ('films', ['--repeat', '0'], '--repeat is 0'),
    ('films', ['--rate', '60'], 'cut.mkv has .* images/s, and --rate is 60; give .* or 0, which takes all images'),
    ('films', ['--updates', '0'], '--updates is 0'), ('films', ['--resize', '0'], r'--resize is \[0\]'),
    ('films', ['--resize', '8', '8', '8'], r'--resize is \[8, 8, 8\]'), ('films', ['--name', 'a/b'], '--name is'),
    ('films', ['--from', 'none'], 'There is no recording in .*none'),
    ('films', ['--from', 'random:metaworld_rech'], 'metaworld_rech')])
def test_options_that_are_refused(given, tmp_path, path, options, said):
  with pytest.raises(UserError, match=said):
    call(given / path, '--from', given / 'from', '--out', tmp_path / 'out', *options)
  assert not (tmp_path / 'out').exists()


def test_what_was_made_otherwise_is_not_continued(given, tmp_path):
  label(given / 'films', given)
  with pytest.raises(UserError, match='was labelled with repeat = 1, not 2; give --repeat 1, or'):
    label(given / 'films', given, '--repeat', 2)
  with pytest.raises(UserError, match='was labelled with resize = None, not .*; leave --resize out, or'):
    label(given / 'films', given, '--resize', 16)
  small, _ = label(given / 'films', given, '--resize', 16, out='small')
  with pytest.raises(UserError, match=r'was labelled with resize = \[16, 16\], not None; give --resize 16 16, or'):
    label(given / 'films', given, out='small')
  assert label(given / 'films', given, '--resize', 16, 16, out='small')[0] == small
  with pytest.raises(UserError, match='was learned from other recordings, with other settings'):
    label(given / 'films', given, '--updates', 5)
  with pytest.raises(UserError, match='would lie in'):
    call(given / 'films', '--from', given / 'from', '--out', given / 'films')
  with pytest.raises(UserError, match='whose actions were not inferred'):
    call(given / 'films', '--from', given / 'from', '--out', given / 'from', '--name', 'one', '--model',
        given / 'model', '--updates', 400)
  assert json.loads((given / 'from/one/manifest.json').read_text()).get('labels') is None


def test_bodies_of_gymnasium_are_told_by_their_names():
  body = lambda task: bodies.body(dict(act_size=6, suite='gymnasium', task=task))
  for alike in (('FetchPush-v4', 'FetchReach-v4'), ('my_envs:Walker2d-v5', 'Walker2d-v4'), ('ant-v1', 'ant')):
    assert body(alike[0]) == body(alike[1])
  assert len({body(x)['body'] for x in ('HalfCheetah-v5', 'Walker2d-v5', 'Ant-v5', 'ALE/Pong-v5', 'pong')}) == 5


def test_labels_that_are_worth_nothing_are_called_so(given, tmp_path, capsys):
  call(given / 'target', '--from', given / 'from', '--out', tmp_path, '--updates', 1)
  assert 'Note: these labels are worth nothing: R2 is' in capsys.readouterr().out
  assert not recording.load_manifest(tmp_path / 'target')['inferred']['worth']


def test_random_actions_in_a_task_are_collected_as_the_recording_was(tmp_path, capsys):
  given = pathlib.Path(__file__).parents[1] / (
      'data/660db1a/cache/recordings/f3e5c54620f8/metaworld_door-close')
  call(given, '--from', 'random:metaworld_reach', '--episodes', 2, '--updates', 2, '--out', tmp_path, '--workers', 1)
  before, found = recording.load_manifest(given), recording.load_manifest(tmp_path / given.name)
  (played,) = (tmp_path / 'random').glob('*/metaworld_reach')
  play = recording.load_manifest(played)
  assert [x['behaviour'] for x in play['episodes']] == [{'policy': 'random'}] * 2
  assert play['env']['size'] == before['env']['size'] and play['env']['limit'] == before['env']['limit']
  assert found['inferred']['sources'] == ['metaworld_reach'] and found['env'] == before['env']
  assert [x['steps'] for x in found['episodes']] == [x['steps'] for x in before['episodes']]
  assert 'as a task not learned from' not in capsys.readouterr().out
