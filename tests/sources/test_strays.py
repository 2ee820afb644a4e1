"""What lies beside episodes and is of none: pictures, and .npz files that are no episodes."""

import shutil

import numpy as np
import pytest
from helpers.cameras import pictures
from helpers.foreign import (
  chain,
  check,
  play,
  skipped,
  write_gif,
  write_mp4,
  write_png,
  write_v2,
  write_v3,
)

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import importing as imports
from vid2act_plugin.sources.formats import dreamerv2, find, places

PLAYS = [play(8, i) for i in range(3)]
WHITE = np.full((9, 32, 32, 3), 255, np.uint8)


def rows(plays, head='', number='{i},'):
  return '\n'.join([head, *(f'{number.format(i=i)}{u},{v}' for i, x in enumerate(plays) for u, v in x['action'])])


def drawn(folder, name='ep{i}', write=write_png):
  for i, x in enumerate(PLAYS):
    write(folder / name.format(i=i), x['image'])


def acted(folder, name):
  for i, x in enumerate(PLAYS):
    np.save(folder / name.format(i=i), x['action'])


def shared(folder):
  (folder / 'actions.csv').write_text(rows(PLAYS, 'episode,a,b', 'ep{i},'))


def side_by_side(folder):
  drawn(folder)
  acted(folder, 'ep{i}.npy')


def inside(folder, name='actions'):
  drawn(folder)
  acted(folder, f'ep{{i}}/{name}.npy')


def of_all(folder):
  drawn(folder)
  shared(folder)


def with_camera(folder):
  drawn(folder, 'ep{i}/cam0')
  acted(folder, 'ep{i}/actions.npy')


def films(folder):
  drawn(folder, 'ep{i}.mp4', write_mp4)
  acted(folder, 'ep{i}.npy')


def films_of_all(folder):
  drawn(folder, 'ep{i}.mp4', write_mp4)
  shared(folder)


def films_inside(folder):
  drawn(folder, 'ep{i}/video.mp4', write_mp4)
  acted(folder, 'ep{i}/data.npy')


FORMS = [side_by_side, inside, of_all, with_camera, films, films_of_all, films_inside]
KINDS = {
    'a picture': lambda x: pictures(x, WHITE[:1], names=['overview.png']),
    'several': lambda x: pictures(x, WHITE[:3], names='overview{}.png'),
    'as many as images': lambda x: pictures(x, WHITE[:8], names='view_{}.png'),
    'a calibration': lambda x: np.savez(x / 'calib.npz', K=np.eye(3)),
    'two and a picture': lambda x: [np.savez(x / y, K=np.eye(3)) for y in ('a.npz', 'z.npz')] + [
        pictures(x, WHITE[:1], names=['a.jpg'])],
    'a damaged one': lambda x: (x / 'calib.npz').write_bytes(b'nothing')}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('form', FORMS)
def test_beside_episodes(tmp_path, form, kind):
  form(tmp_path / 'in')
  KINDS[kind](tmp_path / 'in')
  manifest = imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', PLAYS, False, False, atol=0.03)
  assert manifest['imported']['format'] == 'video' and not skipped(tmp_path / 'out')


def test_what_is_no_film_is_told(tmp_path, capsys):
  """As one of a suffix that is not known may be an episode; folders that are links are read."""
  films(tmp_path / 'in')
  inside(tmp_path / 'away')
  (tmp_path / 'in/ep9').symlink_to('../away/ep1')
  for name in ('a.mpg', 'b.MPG', '.hidden.mpg', 'away/x.tif'):
    (tmp_path / 'in' / name).parent.mkdir(exist_ok=True)
    (tmp_path / 'in' / name).write_bytes(b'x')
  (tmp_path / 'away/ep1/notes').write_bytes(b'x')
  imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', [*PLAYS, PLAYS[1]], False, False, atol=0.03)
  said = [x for x in capsys.readouterr().out.splitlines() if x.startswith('Left out')]
  assert said == ['Left out: 2 files .mpg.', 'Left out: 1 file .tif.', 'Left out: 1 file without a suffix.']


@pytest.mark.parametrize('table', ['actions', 'data'])
@pytest.mark.parametrize('camera', ['cam0', 'front.mp4'])
@pytest.mark.parametrize('kind', ['a picture', 'a calibration', 'two and a picture', 'a damaged one'])
def test_inside_an_episode(tmp_path, table, camera, kind):
  """Of several, and of it alone."""
  for i, x in enumerate(PLAYS):
    (write_mp4 if '.' in camera else write_png)(tmp_path / 'in' / f'ep{i}' / camera, x['image'])
    np.save(tmp_path / 'in' / f'ep{i}' / f'{table}.npy', x['action'])
    KINDS[kind](tmp_path / 'in' / f'ep{i}')
  for name, plays in (('', PLAYS), ('ep1', PLAYS[1:2])):
    layout, = imports.run(tmp_path / 'in' / name, tmp_path / f'out{name}')['columns']
    check(tmp_path / f'out{name}', plays, False, False, atol=0.03)
    assert layout['taken']['image'][0].endswith(f' {camera}')


def test_a_list_beside_the_folders_is_no_table_of_pictures(tmp_path):
  inside(tmp_path / 'in')
  KINDS['several'](tmp_path / 'in')
  (tmp_path / 'in' / 'list.csv').write_text('name,length\nep0,8\nep1,8\nep2,8\n')
  imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', PLAYS, False, False)


@pytest.mark.parametrize('table', ['in.npy', 'in/actions.npy', 'in/data.npy'])
@pytest.mark.parametrize('other', ['masks', 'tabled', 'both'])
def test_pictures_with_a_table_are_an_episode_beside_folders_too(tmp_path, table, other):
  """Such as one of masks, with a table of its own or without."""
  good = PLAYS[0]
  write_png(tmp_path / 'in', good['image'])
  np.save(tmp_path / table, good['action'])
  pictures(tmp_path / 'in' / 'masks', WHITE[:8])
  if other != 'masks' and 'data' not in table:
    (tmp_path / 'in' / 'masks' / 'colours.csv').write_text('r,g\n' + '0.5,0.5\n' * 8)
  KINDS['a calibration'](tmp_path / 'in') if other == 'both' else None
  imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', [good], False, False)


@pytest.mark.parametrize('count', [1, 3])
def test_pictures_without_any_table(tmp_path, count, capsys):
  """Of several it is they that lack one."""
  pictures(tmp_path / 'in', WHITE[:count])
  pictures(tmp_path / 'in' / 'thumbs', WHITE[:3])
  with pytest.raises(UserError, match='no episode that can be imported'):
    imports.run(tmp_path / 'in', tmp_path / 'out')
  assert f"put them into {'thumbs' if count == 1 else 'in'}.csv" in capsys.readouterr().out
  assert places.sources(tmp_path / 'in' / 'thumbs', False) == [tmp_path / 'in' / 'thumbs']


def log(folder):
  (folder / 'progress.csv').write_text('step,return\n1,2\n2,3\n')


LOGS = {
    'a log': log, 'a film': lambda x: write_gif(x / 'eval.gif', WHITE),
    'a film and a log': lambda x: (write_gif(x / 'eval.gif', WHITE), log(x)),
    'films in a folder and a log': lambda x: (write_mp4(x / 'videos' / 'eval.mp4', WHITE), log(x)),
    'logs of its folders': lambda x: [(x / f'{y}.csv').write_text('step\n1\n') for y in ('train', 'eval')],
    'pictures and a log': lambda x: (pictures(x, WHITE[:2]), log(x)), 'a picture': lambda x: pictures(x, WHITE[:1]),
    'a calibration': lambda x: np.savez(x / 'calib.npz', K=np.eye(3))}


@pytest.mark.parametrize('kind', LOGS)
def test_a_run_of_dreamerv2_stays_one(tmp_path, kind):
  for i, x in enumerate(PLAYS):
    write_v2(tmp_path / 'in' / ('train' if i else 'eval') / f'{i}.npz', x)
  LOGS[kind](tmp_path / 'in')
  imports.run(tmp_path / 'in', tmp_path / 'out')
  check(tmp_path / 'out', PLAYS)
  assert find(tmp_path / 'in') == ('dreamerv2', dreamerv2)


def test_where_the_format_cannot_be_told_the_cure_is_to_name_it(tmp_path, capsys):
  """Of films without tables nothing says that they are the data."""
  films(tmp_path / 'in')
  np.savez(tmp_path / 'in' / 'calib.npz', K=np.eye(3))
  for x in (tmp_path / 'in').glob('*.npy'):
    shutil.move(x, tmp_path)
  with pytest.raises(UserError, match='no episode that can be imported'):
    imports.run(tmp_path / 'in', tmp_path / 'out')
  assert "no key 'image', only K; name the right one with --key image=THEIRS, or another format with --format (in " \
      'vid2act.sources: FORMAT:PATH).' in capsys.readouterr().out
  for x in tmp_path.glob('*.npy'):
    shutil.move(x, tmp_path / 'in')
  imports.run(tmp_path / 'in', tmp_path / 'out', 'video')
  check(tmp_path / 'out', PLAYS, False, False, atol=0.03)


@pytest.mark.parametrize('place', ['.ipynb_checkpoints/a-checkpoint.npz', '._0.npz', 'train/.old/x/0.npz'])
@pytest.mark.parametrize('write', ['v2', 'v3'])
def test_what_is_hidden_is_of_no_one(tmp_path, write, place):
  """Also in a folder that lies in one whose name begins with a dot."""
  folder, hidden = tmp_path / '.data' / 'in', tmp_path / '.data' / 'in' / place
  if write == 'v3':
    write_v3(folder, [PLAYS])
    time, _, _, length = chain(folder)[0].stem.split('-')
    hidden = hidden.with_name('-'.join((time, 'h' * 22, '0' * 22, length)) + '.npz')
    hidden = hidden.with_name('.' + hidden.name) if place.startswith('._') else hidden
  else:
    for i, x in enumerate(PLAYS):
      write_v2(folder / f'{i}.npz', x)
  hidden.parent.mkdir(parents=True, exist_ok=True)
  shutil.copy(sorted(folder.glob('[0-9]*.npz'))[0], hidden)
  manifest = imports.run(folder, tmp_path / 'out')
  check(tmp_path / 'out', PLAYS, success=write == 'v2')
  assert not manifest['skipped'] and len(manifest['episodes']) == len(PLAYS)
