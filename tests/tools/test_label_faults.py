"""What `vid2act label` leaves as it was, leaves out, or tells apart."""

import os
import re
import shutil

import numpy as np
import pytest
from helpers import moves
from helpers.labelling import SIZE, call, label

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import bodies, recording


def tree(folder):
  return {x: x.read_bytes() for x in folder.rglob('*') if x.is_file()}


@pytest.mark.parametrize('place', ['kept', 'from', 'file'])
def test_a_model_replaces_nothing_of_others(given, tmp_path, place):
  (tmp_path / 'kept').mkdir()
  for name in ('kept/notes.txt', 'file'):
    (tmp_path / name).write_text('precious')
  shutil.copytree(given / 'from', tmp_path / 'from')
  before = tree(tmp_path)
  with pytest.raises(UserError, match='which would be lost; name another one|is a file; name a folder'):
    call(given / 'films', '--from', tmp_path / 'from', '--out', tmp_path / 'out', '--model', tmp_path / place)
  assert tree(tmp_path) == before


@pytest.mark.parametrize('option', [('--env', '{nonsense'), ('--episodes', 9), ('--workers', 3)])
def test_options_of_random_play_without_it_are_refused(given, tmp_path, option):
  with pytest.raises(UserError, match='options --env, --episodes and --workers are of random:TASK, and --from names none; leave them out'):
    call(given / 'films', '--from', given / 'from', '--out', tmp_path / 'out', *option)
  assert not (tmp_path / 'out').exists()


def test_recordings_that_cannot_be_read_cost_no_other(given, tmp_path, capsys):
  shutil.copytree(given / 'from', tmp_path / 'from')
  for name in ('torn', 'short', 'empty'):
    moves.write(tmp_path / 'from' / name, count=3, seed=9, size=SIZE)
  (tmp_path / 'from/torn/episode-000001.npz').write_bytes(b'no episode')
  (tmp_path / 'from/short/manifest.json').write_text('{')
  manifest = recording.load_manifest(tmp_path / 'from/empty')
  recording.write_manifest(tmp_path / 'from/empty', {**manifest, 'episodes': []})
  shutil.copytree(given / 'from/one', tmp_path / 'from/zopy')
  call(given / 'films', '--from', tmp_path / 'from', tmp_path / 'from/two', '--out', tmp_path / 'out', '--updates', 2)
  said = capsys.readouterr().out
  for words in ('torn/episode-000001.npz is not the one in its manifest', 'short/manifest.json is not valid JSON',
                'from/empty has no episode', 'from/zopy is that in .*from/one'):
    assert re.search(f'Left out: .*{words}', said), words
  assert recording.load_manifest(tmp_path / 'out/films')['inferred']['sources'] == ['one', 'two']


def test_actions_that_never_change_tell_nothing(given, tmp_path, capsys):
  folder = moves.write(tmp_path / 'still', count=2, size=SIZE)
  manifest, episodes = recording.load(folder)
  recording.write_manifest(folder, {**manifest, 'episodes': [
      recording.write_episode(folder, i, {**x, 'action': 0 * x['action']}) for i, x in enumerate(episodes)]})
  made, _ = label(folder, given)
  assert len(made['episodes']) == 2 and 'its own actions never change' in capsys.readouterr().out


def test_what_the_first_recording_does_not_tell_the_next_one_does():
  facts = lambda name, **more: dict(
      source=name, suite='import', task=name, act_size=2, env={k: more.pop(k) for k in ('camera', 'repeat') if k in more}, **more)
  silent, fast, slow = facts('silent'), facts('fast', fps=20, camera='top'), facts('slow', fps=5)
  low = facts('low', camera='side')
  kept, known, faults = bodies.fitting([silent, fast, slow, low])
  assert kept == [0, 1] and known['pace'] == 20 and known['view'] == {'camera': 'top'}
  assert 'has 5 steps/s and not 20' in faults[0] and 'its camera is side and not top' in faults[1]
  for columns in (None, 3, [None], [{'taken': 4}], [{'taken': None}]):
    assert bodies.body({**silent, 'columns': columns}) == bodies.body(silent)


def test_films_beside_a_manifest_of_something_else(given, tmp_path):
  shutil.copytree(given / 'films', tmp_path / 'films')
  (tmp_path / 'films/manifest.json').write_text('{"videos": ["cut.mkv"]}')
  made, found = label(tmp_path / 'films', given, out='beside')
  assert {x['name'].split('#')[0] for x in made['episodes']} == {'cut.mkv', 'other.mkv'}


def test_names_that_look_alike_are_told_apart(given, tmp_path):
  for i, name in enumerate((b'caf\xe9.mkv', b'caf\xe8.mkv')):
    moves.film(tmp_path / 'films/a.mkv', moves.play(70 + i, 12, SIZE)[0])
    os.rename(tmp_path / 'films/a.mkv', os.fsencode(tmp_path / 'films') + b'/' + name)
  (tmp_path / 'films/d').mkdir()
  made, found = label(tmp_path / 'films', given, out='alike')
  assert len({x['name'] for x in made['episodes']}) == len(found) == 2
  assert {x['image'].tobytes() for x in found} == {moves.play(70 + i, 12, SIZE)[0].tobytes() for i in range(2)}
  assert label(tmp_path / 'films', given, out='alike')[0] == made


def test_what_is_no_film_is_told(given, tmp_path, capsys):
  shutil.copytree(given / 'films', tmp_path / 'films')
  for name in ('a.mpg', 'b.MPG', 'c.tif', 'notes', '.hidden.mpg', 'table.csv', 'deep/d.tif'):
    (tmp_path / 'films' / name).parent.mkdir(exist_ok=True)
    (tmp_path / 'films' / name).write_bytes(b'x')
  (tmp_path / 'films/link').symlink_to(tmp_path)
  label(tmp_path / 'films', given, out='passed')
  said = capsys.readouterr().out
  assert re.findall('Left out: (.*)\n', said) == [
      '2 files .mpg.', '2 files .tif.', f'the link {tmp_path}/films/link.', '1 file without a suffix.']


def test_pictures_that_are_none_of_the_others_are_told(given, tmp_path, capsys):
  from PIL import Image
  images = moves.play(80, 12, SIZE)[0]
  (tmp_path / 'films/a').mkdir(parents=True)
  for i, x in enumerate(images):
    Image.fromarray(x).save(tmp_path / f'films/a/{i}.png')
  Image.fromarray(255 - images[0]).save(tmp_path / 'films/a/cover.png')
  _, (found,) = label(tmp_path / 'films', given, out='drawn')
  np.testing.assert_array_equal(found['image'], images)
  assert 'not like those of the others: cover.png' in capsys.readouterr().out


def test_every_held_out_error_has_one_of_the_mean_beside_it(tmp_path, capsys, monkeypatch):
  from vid2act_plugin.teacher import inverting
  monkeypatch.setattr(inverting, 'ENOUGH', 20)
  for name, seed, random in (('play', 0, True), ('expert', 50, False)):
    folder = moves.write(tmp_path / 'from' / name, count=6, seed=seed, size=SIZE)
    manifest = recording.load_manifest(folder)
    for x in manifest['episodes']:
      x['behaviour'] = {'policy': 'random' if random else 'expert'}
    recording.write_manifest(folder, manifest)
  call(moves.write(tmp_path / 'target', count=2, seed=7, size=SIZE), '--from', tmp_path / 'from', '--out', tmp_path / 'out',
       '--updates', 2)
  lines = [x for x in capsys.readouterr().out.splitlines() if x.lstrip('| ').startswith(('play', 'expert'))]
  assert sum('held out' in x for x in lines if 'play' in x) == 1
  for name in ('play', 'expert'):
    assert any('by the mean action' in x for x in lines if name in x), lines
