"""Data that are imported again after they changed, and recordings of ours that are taken for data of others."""

import os

import imageio.v3 as iio
import numpy as np
import pytest
from helpers.foreign import check, play, three, write_mp4, write_v2
from helpers.inspecting import write

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import entries, locate, recording
from vid2act_plugin.sources import importing as imports


def content(folder):
  return {x: x.read_bytes() for x in folder.rglob('*') if x.is_file() and x.name != '.lock'}


@pytest.mark.parametrize('change, words', [
    (lambda path: write_v2(path / 'good1.npz', play(seed=7)), 'it has another episode good1.npz'),
    (lambda path: write_v2(path / 'good1.npz', play(seed=1), reward=np.ones(7, np.float32)), 'another episode good1.npz'),
    (lambda path: (path / 'good2.npz').unlink(), 'it lacks the episode good2.npz')])
def test_changed_data_are_not_taken_for_those_that_were_imported(tmp_path, change, words):
  path, _ = three(tmp_path / 'in')
  imports.run(path, tmp_path / 'out')
  before = content(tmp_path / 'out')
  change(path)
  with pytest.raises(UserError, match=f'has changed since .*{words}; name another folder'):
    imports.run(path, tmp_path / 'out')
  assert content(tmp_path / 'out') == before
  imports.run(path, tmp_path / 'another')
  imports.run(path, tmp_path / 'another')  # As it was: nothing is to be said.


@pytest.mark.parametrize('data, out', [('in/episode-000000.npz', 'in'), ('in/deep', 'in'), ('in', 'in'), ('in', 'in/x')])
def test_a_recording_around_its_data_or_in_them_is_refused(tmp_path, data, out):
  write_v2(tmp_path / (data if data.endswith('npz') else f'{data}/episode-000000.npz'), play())
  before = content(tmp_path)
  with pytest.raises(UserError, match='would lie in the data .*, or around it; name another folder'):
    imports.run(tmp_path / data, tmp_path / out)
  assert content(tmp_path) == before


def test_episodes_that_nothing_says_are_ours_are_not_overwritten(tmp_path):
  path, _ = three(tmp_path / 'in')
  write(tmp_path / 'out')
  (tmp_path / 'out' / recording.MANIFEST).rename(tmp_path / 'manifest')
  before = content(tmp_path)
  with pytest.raises(UserError, match='holds episode-000000.npz, but no manifest.json that says whose it is; copy that'):
    imports.run(path, tmp_path / 'out')
  assert content(tmp_path) == before
  (tmp_path / 'out' / '.mine-0.part').write_text('Of the user.')
  for x in (tmp_path / 'out').glob('*.npz'):  # As the sentence says.
    x.rename(tmp_path / x.name)
  (tmp_path / 'out' / '.episode-000000.npz-01ab23cd.part').touch()
  (tmp_path / 'out' / '.begun').touch()  # We were killed in the first episode.
  (tmp_path / 'out' / 'episode-000000.npz').touch()
  imports.run(path, tmp_path / 'out')
  assert {x.name for x in (tmp_path / 'out').glob('.*')} == {'.lock', '.mine-0.part'}
  assert len(recording.load(tmp_path / 'out')[1]) == len(recording.load_manifest(tmp_path / 'out')['episodes'])


def test_another_format_is_another_import(configure, tmp_path):
  path, _ = three(tmp_path / 'in')
  config = configure('vid2act', 'metaworld', **{'vid2act.cache': str(tmp_path / 'cache')})
  folders = [locate._located(config, entries.parse(f'{x}{path}')).folder for x in ('', 'dreamerv2:', 'minari:')]
  assert len({*folders}) == 3


@pytest.mark.parametrize('key', ['reward', 'success'])
@pytest.mark.parametrize('gone', [True, False])
def test_what_most_but_one_have_is_used_in_all_or_in_none(tmp_path, key, gone):
  """Where the episode that lacks it goes, or comes, what is there has zeros or values that the rest would not."""
  for i, name in enumerate('abz'):
    write_v2(tmp_path / 'in' / f'{name}.npz', play(seed=i), **({key: None} if name == 'z' else {}))
  other = tmp_path / 'z.npz'
  if not gone:
    (tmp_path / 'in' / 'z.npz').rename(other)
  assert imports.run(tmp_path / 'in', tmp_path / 'out', episodes=1)[key] == (not gone)
  before = content(tmp_path / 'out')
  other.rename(tmp_path / 'in' / 'z.npz') if other.exists() else (tmp_path / 'in' / 'z.npz').rename(other)
  with pytest.raises(UserError, match=f'{key} was {not gone} and is {gone}; name another folder'):
    imports.run(tmp_path / 'in', tmp_path / 'out')
  assert content(tmp_path / 'out') == before
  imports.run(tmp_path / 'in', tmp_path / 'another')
  found = recording.load(tmp_path / 'another')[1]
  assert [bool(x[key].any()) for x in found] == [gone] * len(found)


def test_an_import_by_an_earlier_version_is_kept(tmp_path):
  path, _ = three(tmp_path / 'in')
  manifest = imports.run(path, tmp_path / 'out')
  for entry in manifest['episodes']:
    assert len(entry.pop('data')) == 16
  recording.write_manifest(tmp_path / 'out', manifest)
  assert imports.run(path, tmp_path / 'out')['episodes'] == manifest['episodes']


def test_what_links_lead_to_is_part_of_the_data(configure, tmp_path):
  """Once, however many lead there, and with an end where one leads back; what lies in the data has its own name."""
  plays = [play(seed=i) for i in range(3)]
  for name, x in zip(('in/a/0.npz', 'away/b/1.npz', 'away/deep/c/2.npz'), plays):
    write_v2(tmp_path / name, x)
  where = {'A': '../in/a', 'b': '../away/b', 'c': '../away/b', 'd': '../away/deep', 'z': 'nowhere'}
  loops = {'loop': '..', 'a/loop': '../../in'}
  config = configure('vid2act', 'metaworld', **{
      'vid2act.sources': [str(tmp_path / 'in')], 'vid2act.cache': str(tmp_path / 'cache')})
  one = tmp_path / 'in/a/0.npz'
  assert locate._files(tmp_path / 'in') == [(str(one), one.stat().st_size, one.stat().st_mtime_ns)]
  for name, target in {**where, **loops}.items():
    (tmp_path / 'in' / name).symlink_to(target)
  (tmp_path / 'away/deep/c/back').symlink_to(tmp_path / 'away/deep')
  manifest = imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', plays)
  assert [x['name'] for x in manifest['episodes']] == ['a/0.npz', 'b/1.npz', 'd/c/2.npz']
  found = []
  for i in (1, 1, 2):
    write_v2(tmp_path / 'away/b/1.npz', play(6 + i))
    os.utime(tmp_path / 'away/b/1.npz', (i, i))
    locate._files.cache_clear()
    found.append(locate.locate(config)[0].folder)
  assert found[0] == found[1] != found[2]
  write(tmp_path / 'away/b/ours')
  with pytest.raises(UserError, match='holds recordings of ours already: b/ours; name these'):
    imports.run(tmp_path / 'in', tmp_path / 'another')


def test_what_refuses_the_folder_does_so_before_all_data_are_read(tmp_path, capsys):
  for i in range(3):
    write_v2(tmp_path / 'in' / f'{i}.npz', play(seed=i, scale=2))
  imports.run(tmp_path / 'in', tmp_path / 'out')
  assert (read := 'Note: actions are scaled') in capsys.readouterr().out
  write(tmp_path / 'ours')
  (tmp_path / 'file').touch()
  for folder, options, words in (
      ('out', dict(repeat=2), 'was imported with repeat = 1, not 2; use the former'),
      ('out', dict(keys={'reward': ''}), 'was imported with key = {}, not'),
      ('ours', {}, 'a recording that was not imported'), ('file/out', {}, 'cannot be written')):
    with pytest.raises(UserError, match=words):
      imports.run(tmp_path / 'in', tmp_path / folder, **options)
    assert read not in capsys.readouterr().out


def test_a_table_beside_a_film_is_part_of_the_data(configure, tmp_path):
  """Its actions are."""
  good = play()
  write_mp4(tmp_path / 'demo.mp4', good['image'])
  np.savetxt(tmp_path / 'demo.csv', good['action'], delimiter=',', header='a,b', comments='')
  config = configure('vid2act', 'metaworld', **{
      'vid2act.sources': [str(tmp_path / 'demo.mp4')], 'vid2act.cache': str(tmp_path / 'cache')})
  places = []
  for factor in (1, 1, 0.5):
    np.savetxt(tmp_path / 'demo.csv', factor * good['action'], delimiter=',', header='a,b', comments='', fmt='%.9f')
    locate._files.cache_clear()
    places.append(locate.locate(config)[0].folder)
  [first, _, other] = places
  assert other not in places[:2] and first.name == other.name


def test_recordings_of_ours_are_no_data_of_others(configure, tmp_path, capsys):
  """Their actions would be shifted by a step, as DreamerV2's have to be."""
  for name in ('metaworld_push', 'metaworld_reach'):
    write(tmp_path / 'sources' / name)
  config = configure('vid2act', 'metaworld', **{'vid2act.sources': [str(tmp_path / 'sources')]})
  for act in (lambda: imports.run(tmp_path / 'sources', tmp_path / 'out'),
              lambda: locate.check(config, locate.locate(config))):
    with pytest.raises(UserError, match='holds recordings of ours already: metaworld_push, metaworld_reach; name these'):
      act()
  push = tmp_path / 'sources' / 'metaworld_push'
  for damage in (b'{', None):  # One that lost its manifest is none.
    (push / 'manifest.json').write_bytes(damage) if damage else (push / 'manifest.json').unlink()
    for path in (push, push / 'episode-000000.npz'):
      with pytest.raises(UserError, match='no episode that can be imported'):
        imports.run(path, tmp_path / 'out')
      assert 'of a recording of ours, whose manifest.json is missing or damaged' in capsys.readouterr().out
  assert not list((tmp_path / 'out').glob('episode*'))


def test_files_of_the_user_are_not_taken_for_a_killed_writer_s(tmp_path):
  path, _ = three(tmp_path / 'in')
  (tmp_path / 'out').mkdir()
  (tmp_path / 'out' / 'film.mp4.part').write_text('half of it')
  cli.main(['import', str(path), '--out', str(tmp_path), '--name', 'out'])
  assert (tmp_path / 'out' / 'film.mp4.part').read_text() == 'half of it'


def test_a_behaviour_made_of_another_is_recorded_anew_where_either_changes(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / 'basic_moves_here.py').write_text('def move(env, obs, rng, speed=1): return [speed]\n')
  (tmp_path / 'fast_moves_here.py').write_text(
      'import functools\nimport basic_moves_here\nmove = functools.partial(basic_moves_here.move, speed=2)\n'
      'same = basic_moves_here.move\n')
  for text in ('fast_moves_here:move', 'fast_moves_here:same'):
    seen = {entries.digest(text)}
    for name in ('basic_moves_here.py', 'fast_moves_here.py'):
      with open(tmp_path / name, 'a') as file:
        file.write('# Changed.\n')
      seen.add(entries.digest(text))
    assert len(seen) == 3


def test_of_two_columns_that_may_be_the_success_neither_need_be(tmp_path):
  good = play()
  write_mp4(tmp_path / 'in' / 'ep.mp4', good['image'])
  rows = np.column_stack([good['action'], good['success'], good['success']])
  np.savetxt(tmp_path / 'in' / 'ep.csv', rows, delimiter=',', header='action_0,action_1,success,is_success', comments='')
  with pytest.raises(UserError, match='no episode that can be imported'):
    imports.run(tmp_path / 'in', tmp_path / 'out')
  assert imports.run(tmp_path / 'in', tmp_path / 'out', keys={'success': ''})['success'] is False


def test_pictures_beside_films_are_their_previews(tmp_path):
  for i in range(2):
    write_mp4(tmp_path / 'in' / f'ep{i}.mp4', play(seed=i)['image'])
    np.savetxt(tmp_path / 'in' / f'ep{i}.csv', play(seed=i)['action'], delimiter=',', header='a,b', comments='')
    iio.imwrite(tmp_path / 'in' / f'ep{i}.png', play(seed=i)['image'][0])
  assert [x['name'] for x in imports.run(tmp_path / 'in', tmp_path / 'out')['episodes']] == ['ep0.mp4', 'ep1.mp4']


def test_a_recording_that_was_interrupted_is_told(configure, tmp_path, capsys):
  path, _ = three(tmp_path / 'in')
  manifest = imports.run(path, tmp_path / 'out')
  config = configure('vid2act', 'metaworld', **{
      'vid2act.sources': [str(tmp_path / 'out')], 'env.metaworld.size': [32, 32]})
  for complete in (True, False):
    recording.write_manifest(tmp_path / 'out', {**manifest, 'complete': complete})
    locate.check(config, locate.locate(config))
    assert ('was interrupted, so that it may lack' in capsys.readouterr().out) == (not complete)
