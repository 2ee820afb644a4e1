"""The command `vid2act label`: films and recordings become recordings with inferred actions."""

import json
import os
import pathlib
import re
import shutil
import signal

import numpy as np
import pytest
from helpers import cameras, moves

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import dataset, labelling, recording
from vid2act_plugin.teacher import inverse
from vid2act_plugin.training import invert

SMALL = dict(batch_size=32, networks=2, channels=8, hidden=32, shift=0)
SIZE = 32  # Films of fewer pixels are none that FFmpeg writes.


@pytest.fixture(scope='module', autouse=True)
def small():
  before = dict(invert.SETTINGS)
  invert.SETTINGS.update(SMALL)
  yield
  invert.SETTINGS.update(before)


@pytest.fixture(scope='module')
def given(tmp_path_factory):
  """Two recordings to learn from, one to be labelled, a folder of films, and what was learned."""
  root = tmp_path_factory.mktemp('label')
  for i, name in enumerate(('one', 'two')):
    moves.write(root / 'from' / name, seed=i, size=SIZE)
  moves.write(root / 'target', count=4, seed=7, size=SIZE)
  scenes = [moves.play(50 + i, 12 + i, SIZE, 20 + 60 * i) for i in range(3)]
  moves.film(root / 'films' / 'cut.mkv', np.concatenate([x for x, _ in scenes]))
  moves.film(root / 'films' / 'other.mkv', moves.play(60, 20, SIZE)[0].repeat(2, 1), fps=10)
  label(root / 'target', root)
  return root


def label(path, root, *options, out='out'):
  cli.main(['label', str(path), '--from', str(root / 'from'), '--out', str(root / out),
            '--updates', '400', '--model', str(root / 'model'), *map(str, options)])
  return recording.load(root / out / path.name)


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


def test_films_are_cut_and_labelled(given, capsys):
  manifest, found = label(given / 'films', given)
  said = capsys.readouterr().out
  assert 'cut.mkv: 39 images, cut at 12, 25' in said and 'other.mkv: 20 images, cut at no image' in said
  assert [x['name'] for x in manifest['episodes']] == [
      'cut.mkv#0-11', 'cut.mkv#12-24', 'cut.mkv#25-38', 'other.mkv#0-19']
  for i, episode in enumerate(found[:3]):
    image, action = moves.play(50 + i, 12 + i, SIZE, 20 + 60 * i)
    np.testing.assert_array_equal(episode['image'], image)
    assert np.square(episode['action'] - action).mean() < 0.1
  assert found[3]['image'].shape[1:] == (SIZE, SIZE, 3)
  assert not manifest['reward'] and not found[0]['reward'].any()
  data = dataset.Sources([given / 'from/one', given / 'out/films'], act_width=5)
  assert data.names == ['one', 'films'] and 0 < data.streams['train'][1]['confidence'].min() < 1


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


def test_a_signal_keeps_every_clip(given, monkeypatch, capsys):
  """Within a film too; what a killed command wrote before is kept as well."""
  write, calls = labelling.Labels._write, []
  def signalled(self, name, *rest):
    write(self, name, *rest)
    calls.append(name)
    assert len(calls) == 1 or len(recording.load_manifest(self.folder)['episodes']) == len(calls) - 1
    if len(calls) == 2:
      os.kill(os.getpid(), signal.SIGTERM)
  monkeypatch.setattr(labelling.Labels, '_write', signalled)
  monkeypatch.setattr(labelling, 'PAUSE', -1)
  with pytest.raises(SystemExit) as e:
    label(given / 'films', given, out='signalled')
  assert e.value.code == 143 and 'what is learned and labelled is kept' in capsys.readouterr().out
  assert len(recording.load_manifest(given / 'signalled/films')['episodes']) == 2
  label(given / 'films', given, out='signalled')
  assert calls == ['cut.mkv#0-11', 'cut.mkv#12-24', 'cut.mkv#25-38', 'other.mkv#0-19']


def test_films_that_change_or_go(given, tmp_path, monkeypatch, capsys):
  shutil.copytree(given / 'films', tmp_path / 'films')
  write = labelling.Labels._write
  def stopped(self, name, *rest):
    if name.endswith('25-38'):
      raise KeyboardInterrupt
    write(self, name, *rest)
  run = lambda: cli.main([
      'label', str(tmp_path / 'films'), '--from', str(given / 'from'), '--out', str(tmp_path / 'out'),
      '--updates', '400', '--model', str(given / 'model')])
  with monkeypatch.context() as m, pytest.raises(SystemExit):
    m.setattr(labelling.Labels, '_write', stopped)
    run()
  content = (tmp_path / 'films/cut.mkv').read_bytes()
  shutil.copy(tmp_path / 'films/other.mkv', tmp_path / 'films/cut.mkv')
  with pytest.raises(UserError, match='cut.mkv has changed since it was labelled'):
    run()
  assert len(recording.load_manifest(tmp_path / 'out/films')['episodes']) == 2
  (tmp_path / 'films/cut.mkv').write_bytes(content)
  run()
  (tmp_path / 'films/other.mkv').unlink()
  capsys.readouterr()
  run()
  assert 'there is no other.mkv any more; what was labelled of it is kept' in capsys.readouterr().out
  assert len(recording.load_manifest(tmp_path / 'out/films')['episodes']) == 4


def test_rates_are_those_of_the_recordings_where_films_have_them(given, tmp_path, capsys):
  for i in range(2):
    moves.write(tmp_path / 'from' / str(i), seed=i, size=SIZE, facts=dict(fps=20))
  images = moves.play(70, 24, SIZE)[0]
  moves.film(tmp_path / 'films/fast.mkv', images.repeat(2, 0), fps=40)
  moves.film(tmp_path / 'films/slow.mkv', images, fps=5)
  cameras.pictures(tmp_path / 'films/shots', images, names='{}.png')
  def run(*options):
    shutil.rmtree(tmp_path / 'out', ignore_errors=True)
    cli.main(['label', str(tmp_path / 'films'), '--from', str(tmp_path / 'from'), '--out', str(tmp_path / 'out'),
              '--updates', '2', '--model', str(tmp_path / 'model'), *options])
    said = capsys.readouterr().out
    return said, {x['name'].split('#')[0]: x['steps'] for x in recording.load_manifest(tmp_path / 'out/films')['episodes']}
  said, found = run()
  assert found == {'fast.mkv': 24, 'shots': 24, 'slow.mkv': 24} and 'Films are taken at 20 images/s' in said
  assert 'slow.mkv: it has 5 images/s, and all are taken' in said and 'shots: it tells no images/s' in said
  assert run('--repeat', '2')[1] == dict.fromkeys(found, 12)
  assert run('--rate', '0')[1] == {**found, 'fast.mkv': 48}
  said, _ = run('--rate', '20')
  assert 'slow.mkv has 5 images/s, and --rate is 20; give 5 or less, or 0' in said
  assert 'shots does not tell how many images/s it has, and --rate is 20; give --rate 0' in said


def test_pictures_of_a_series_alone_decide(given, tmp_path):
  cameras.pictures(tmp_path / 'pics', moves.play(70, 12, SIZE)[0], names='{}.png')
  first, _ = label(tmp_path / 'pics', given, out='pictures')
  (tmp_path / 'pics/.DS_Store').write_bytes(b'x')
  assert label(tmp_path / 'pics', given, out='pictures')[0] == first


def test_a_recording_that_was_labelled_is_not_learned_from(given, tmp_path, capsys):
  """Also where it is the first of its folder."""
  shutil.copytree(given / 'from', tmp_path / 'all')
  run = lambda: cli.main([
      'label', str(given / 'films'), '--from', str(tmp_path / 'all'), '--out', str(tmp_path / 'all'), '--name', 'a',
      '--updates', '400', '--model', str(given / 'model')])
  run()
  before = recording.load_manifest(tmp_path / 'all/a')
  capsys.readouterr()
  run()
  assert "Left out: The recording 'a' has inferred actions itself" in capsys.readouterr().out
  assert recording.load_manifest(tmp_path / 'all/a') == before


def test_episodes_keep_their_own_behaviour(given, tmp_path):
  shutil.copytree(given / 'target', tmp_path / 'mixed')
  manifest = recording.load_manifest(tmp_path / 'mixed')
  manifest['episodes'][1]['behaviour'] = {'policy': 'random'}
  recording.write_manifest(tmp_path / 'mixed', manifest)
  made, _ = label(tmp_path / 'mixed', given, out='behaved')
  assert [x['behaviour'] for x in made['episodes']] == [x['behaviour'] for x in manifest['episodes']]


def test_bad_films_cost_no_other(given, tmp_path, capsys):
  shutil.copytree(given / 'films', tmp_path / 'films')
  content = (given / 'films/cut.mkv').read_bytes()
  (tmp_path / 'films/broken.mp4').write_bytes(b'nothing' * 100)
  (tmp_path / 'films/empty.mkv').write_bytes(b'')
  moves.film(tmp_path / 'films/one.mkv', moves.play(1, 1, SIZE)[0])
  moves.film(tmp_path / 'films/still.mkv', np.full((9, SIZE, SIZE, 3), 77, np.uint8))
  damaged = bytearray(content)
  damaged[len(damaged) // 2: len(damaged) // 2 + 200] = b'\0' * 200
  (tmp_path / 'films/damaged.mkv').write_bytes(damaged)
  cli.main(['label', str(tmp_path / 'films'), '--from', str(given / 'from'), '--out', str(tmp_path / 'out'),
            '--updates', '400', '--model', str(given / 'model')])
  said, manifest = capsys.readouterr().out, recording.load_manifest(tmp_path / 'out/films')
  assert len(manifest['episodes']) == 4 and len(manifest['skipped']) == 5
  for name in ('broken.mp4', 'empty.mkv', 'one.mkv', 'still.mkv', 'damaged.mkv'):
    lines = [x for x in said.splitlines() if x.startswith('Skipped: ') and name in x]
    assert len(lines) == 1, (name, said)
  assert 'images 0-8 left out: still' in said and 'images 0-0 left out: fewer than 4 images' in said


@pytest.mark.parametrize('change, said', [
    (dict(actions=3), "act_size is 3 and not 2"), (dict(size=16), r'size is \[16, 16\] and not \[32, 32\]'),
    (dict(env=dict(camera='top')), 'camera is top and not corner'), (dict(suite='else'), 'suite is else'),
    (dict(facts=dict(labels='inferred')), 'has inferred actions itself'),
    (dict(facts=dict(fps=30)), 'has 30 steps/s and not 10'), (dict(facts=dict(fps=10), env=dict(repeat=3)), '3.333 steps/s'),
    (dict(facts=dict(action_low=[-1, -5], action_high=[1, 5])), r'action_low is \[-1, -5\] and not \[-1, -1\]')])
def test_other_bodies_and_cameras_are_left_out(given, tmp_path, change, said):
  if 'actions' in change:
    folder = moves.write(tmp_path / 'odd', count=2, size=SIZE)
    manifest = recording.load_manifest(folder)
    recording.write_manifest(folder, {**manifest, 'act_size': 3})
  else:
    folder = moves.write(tmp_path / 'odd', count=2, **{'size': SIZE, **change})
  target = moves.write(tmp_path / 'target', count=2, size=SIZE, facts=dict(
      fps=10, action_low=[-1, -1], action_high=[1, 1]))
  with pytest.raises(UserError, match='no labelled recordings of that body') as e:
    cli.main(['label', str(target), '--from', str(folder), '--out', str(tmp_path / 'out')])
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


def test_the_rest_is_learned_from(given, tmp_path, capsys):
  odd = moves.write(tmp_path / 'odd', count=2, size=16)
  cli.main(['label', str(given / 'target'), '--from', str(odd), str(given / 'from'), '--out', str(tmp_path),
            '--updates', '400', '--model', str(given / 'model')])
  assert "Left out: The recording 'odd' has other images" in capsys.readouterr().out
  cli.main(['label', str(given / 'target'), '--from', str(given), str(given / 'from'), '--out', str(tmp_path),
            '--updates', '400', '--model', str(given / 'model')])
  assert 'target is what is to be labelled, and nothing is learned from it' in capsys.readouterr().out


@pytest.mark.parametrize('path, options, said', [
    ('nowhere', [], 'There is no .*nowhere'), ('from', [], 'There are no films in'),
    ('target', ['--rate', '5'], 'are for films'), ('films', ['--repeat', '0'], '--repeat is 0'),
    ('films', ['--updates', '0'], '--updates is 0'), ('films', ['--name', 'a/b'], '--name is'),
    ('films', ['--from', 'none'], 'There is no recording in .*none'),
    ('films', ['--from', 'random:metaworld_rech'], 'metaworld_rech')])
def test_options_that_are_refused(given, tmp_path, path, options, said):
  with pytest.raises(UserError, match=said):
    cli.main(['label', str(given / path), '--from', str(given / 'from'), '--out', str(tmp_path / 'out'),
              *options])
  assert not (tmp_path / 'out').exists()


def test_what_was_made_otherwise_is_not_continued(given, tmp_path):
  label(given / 'films', given)
  with pytest.raises(UserError, match='was labelled with repeat = 1, not 2'):
    label(given / 'films', given, '--repeat', 2)
  with pytest.raises(UserError, match='was learned from other recordings or with other settings'):
    label(given / 'films', given, '--updates', 5)
  with pytest.raises(UserError, match='would lie in'):
    cli.main(['label', str(given / 'films'), '--from', str(given / 'from'), '--out', str(given / 'films')])
  with pytest.raises(UserError, match='whose actions were not inferred'):
    cli.main(['label', str(given / 'films'), '--from', str(given / 'from'), '--out', str(given / 'from'),
              '--name', 'one', '--model', str(given / 'model'), '--updates', '400'])
  assert json.loads((given / 'from/one/manifest.json').read_text()).get('labels') is None


def test_labels_that_are_worth_nothing_are_called_so(given, tmp_path, capsys):
  cli.main(['label', str(given / 'target'), '--from', str(given / 'from'), '--out', str(tmp_path),
            '--updates', '1'])
  assert 'Note: these labels are worth nothing: R2 is' in capsys.readouterr().out
  assert not recording.load_manifest(tmp_path / 'target')['inferred']['worth']


def test_random_actions_in_a_task_are_collected_as_the_recording_was(tmp_path, capsys):
  given = pathlib.Path(__file__).parents[1] / (
      'data/660db1a/cache/recordings/f3e5c54620f8/metaworld_door-close')
  cli.main(['label', str(given), '--from', 'random:metaworld_reach', '--episodes', '2', '--updates', '2',
            '--out', str(tmp_path), '--workers', '1'])
  before, found = recording.load_manifest(given), recording.load_manifest(tmp_path / given.name)
  (played,) = (tmp_path / 'random').glob('*/metaworld_reach')
  play = recording.load_manifest(played)
  assert [x['behaviour'] for x in play['episodes']] == [{'policy': 'random'}] * 2
  assert play['env']['size'] == before['env']['size'] and play['env']['limit'] == before['env']['limit']
  assert found['inferred']['sources'] == ['metaworld_reach'] and found['env'] == before['env']
  assert [x['steps'] for x in found['episodes']] == [x['steps'] for x in before['episodes']]
  assert 'as a task not learned from' not in capsys.readouterr().out
