"""What `vid2act inspect` tells of recordings and bundles, through the command line."""

import contextlib
import json
import math
import os
import pty
import re
import subprocess
import sys

import av
import numpy as np
import pytest
from PIL import Image

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.teacher.bundle import Bundle
from vid2act_plugin.tools import inspect as inspection
from vid2act_plugin.tools import preview

EXPERT, RANDOM = dict(policy='expert', noise=0.1), dict(policy='random')


def episode(value, length, actions=2, size=(8, 8)):
  """An episode of grey images; every action is `value / 100` and every reward `value`."""
  flags = np.zeros((3, length), bool)
  flags[0, 0] = flags[1, -1] = True
  action = np.full((length, actions), value / 100, np.float32)
  action[-1] = 0
  success = np.zeros(length, np.float32)
  success[1] = value > 10
  return dict(
      image=np.full((length, *size, 3), value, np.uint8), action=action,
      reward=np.full(length, value, np.float32), is_first=flags[0], is_last=flags[1],
      is_terminal=flags[2], success=success)


@pytest.fixture
def make(tmp_path):
  """Write the recording `all/NAME` of an expert's and a random episode, worth 40 and 10 a step."""
  def fn(name, lengths=(7, 5), actions=2, fields=(), **kwargs):
    folder = tmp_path / 'all' / name
    entries = [
        recordings.write_episode(folder, i, episode(value, length, actions, **kwargs), behaviour)
        for i, (value, length, behaviour) in enumerate(zip(
            (40, 10) * len(lengths), lengths, (EXPERT, RANDOM) * len(lengths)))]
    recordings.write_manifest(folder, dict(
        source=name, suite='fake', task=name, behaviour={}, seed=0, env=dict(size=[8, 8]),
        versions=dict(simulator='1.2'), act_size=actions, episodes=entries) | dict(fields))
    return folder
  return fn


@pytest.fixture
def teacher(tmp_path):
  """A bundle of arrays that no model has; nothing of it has to be compiled."""
  made = Bundle(
      {'dyn/a': np.zeros((3, 4), np.float32), 'enc/b': np.zeros(5, np.float32)},
      dict(deter=np.zeros((5, 2), np.float16), source=np.array([0, 1, 1, 1, 0], np.int32)),
      dict(sources=['near', 'far'], act_sizes=[4, 2], act_width=16, image=[64, 48, 3], updates=70,
           agent=dict(dyn=dict(rssm=dict(deter=8, stoch=4, classes=6))), env=dict(repeat=2),
           actions=False, recordings='abc', host='host 3', jax='0.9'))
  made.save(tmp_path / 'all' / 'teacher')
  return tmp_path / 'all' / 'teacher'


def damage(folder, index=0):
  path = folder / recordings.name(index)
  path.write_bytes(path.read_bytes()[:-9])
  return path


def read(capsys, *args):
  """Run the command with --json and return (reports of the first path, status)."""
  status = 0
  try:
    cli.main(['inspect', '--json', *map(str, args)])
  except SystemExit as e:
    status = e.code
  return json.loads(capsys.readouterr().out)['paths'][0], status


def frames(path):
  with av.open(str(path)) as file:
    stream = file.streams.video[0]
    assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ('h264', 'yuv420p')
    return np.stack([x.to_ndarray(format='rgb24') for x in file.decode(stream)])


def test_a_recording_in_numbers(make, capsys, tmp_path):
  folder = make('one', (7, 5))
  report, status = read(capsys, folder, '--no-pictures')
  x, = report['found']
  assert status == 0 and report['pictures'] == [] and x['damaged'] == []
  assert (x['source'], x['episodes'], x['steps']) == ('one', 2, 12)
  assert x['return'] == dict(mean=165, min=50, max=280)
  assert x['success']['experts'] == dict(episodes=1, any=1, last=0)
  assert x['success']['all'] == dict(episodes=2, any=1, last=0)
  assert x['behaviours'] == {'expert, noise 0.1': 1, 'random': 1}
  # The zeros at is_last are not actions.
  np.testing.assert_allclose(x['actions']['low'], [0.1, 0.1], rtol=1e-6)
  np.testing.assert_allclose(x['actions']['high'], [0.4, 0.4], rtol=1e-6)
  assert (x['image'], x['act_size'], x['env']) == ([8, 8, 3], 2, {'size': [8, 8]})
  assert x['bytes'] == sum(y.stat().st_size for y in folder.glob('*.npz'))
  assert [y.name for y in tmp_path.iterdir()] == ['all']


@pytest.mark.parametrize('fields, returned, won', [
    (dict(suite='import', reward=False, success=True, imported=dict(format='video')), False, True),
    (dict(suite='import', reward=True, success=False), True, False),
    (dict(suite='dmcontrol'), True, False), (dict(suite='metaworld'), True, True)])
def test_zeros_for_want_of_data_are_not_counted(make, capsys, tmp_path, fields, returned, won):
  folder = make('one', fields=fields)
  report, _ = read(capsys, folder, '--no-pictures')
  x, = report['found']
  assert (x['return']['mean'] is not None, x['success']['all'] is not None) == (returned, won)
  cli.main(['inspect', str(folder), '--out', str(tmp_path)])
  output = capsys.readouterr().out
  assert ('165.0' in output, '1, 0 of 2' in output) == (returned, won)
  assert ('format video' in output) == ('imported' in fields)


def test_piped_tables_are_whole(make, tmp_path):
  name = 'a-source-of-a-name-that-is-much-longer-than-a-terminal-' + 'x' * 90
  make(name, actions=12)
  make('two', fields=dict(skipped=['clip-7: no actions']))
  done = subprocess.run(
      [sys.executable, '-m', 'vid2act_plugin.cli', 'inspect', tmp_path / 'all', '--no-pictures'],
      capture_output=True, text=True, timeout=60)
  assert done.returncode == 0, done.stderr
  line, = [x for x in done.stdout.splitlines() if name in x and '280.0' in x]
  assert line.split()[1:] == '2 12 165.0 (50.0 to 280.0) 1, 0 of 1 1, 0 of 2 0.0'.split()
  assert ', '.join(['0.10 to 0.40'] * 12) in done.stdout
  for text in ('expert, noise 0.1: 1', 'random: 1', 'size 8 x 8', 'simulator 1.2', 'checking: 4/4',
               'clip-7: no actions'):
    assert text in done.stdout
  assert '\x1b' not in done.stdout and '…' not in done.stdout


def test_a_narrow_terminal_folds_instead_of_cutting(make):
  folder = make('a-long-name', actions=12)
  main, sub = pty.openpty()
  process = subprocess.Popen(
      [sys.executable, '-m', 'vid2act_plugin.cli', 'inspect', folder, '--no-pictures'],
      stdout=sub, env={**os.environ, 'COLUMNS': '50', 'TERM': 'xterm'})
  os.close(sub)
  output = b''
  with contextlib.suppress(OSError):  # Where the other end is closed.
    while part := os.read(main, 4096):
      output += part
  os.close(main)
  text = re.sub(r'\x1b\[[0-9;?]*[a-zA-Z]', '', output.decode())
  assert process.wait() == 0 and 'Settings' in text and '…' not in text
  assert max(map(len, text.split('Episodes')[1].splitlines())) <= 50


@pytest.mark.parametrize('hurt, word', [
    (damage, 'incomplete'), (lambda x: (x / recordings.name(0)).unlink(), 'cannot be read')])
def test_a_damaged_episode_costs_the_others_nothing(make, capsys, hurt, word):
  hurt(make('one'))
  make('two')
  report, status = read(capsys, make('three').parent, '--no-pictures')
  one, three, two = report['found']
  assert status == 1
  sentence, = one['damaged']
  assert str(recordings.name(0)) in sentence and word in sentence
  assert (one['episodes'], one['steps'], one['return']['mean']) == (1, 5, 50)
  assert three['episodes'] == two['episodes'] == 2 and not three['damaged'] + two['damaged']


def test_damage_is_shown_below_the_tables_and_drawn_without(make, capsys, tmp_path):
  path = damage(make('one'))
  with pytest.raises(SystemExit) as error:
    cli.main(['inspect', str(path.parent), '--out', str(tmp_path)])
  output = capsys.readouterr().out
  assert error.value.code == 1 and f'Damaged: The file {path}' in output
  assert output.index('Settings') < output.index('Damaged') < output.index('Pictures')
  assert len(frames(tmp_path / 'one-episodes.mp4')) == 5


def test_an_unreadable_manifest_and_an_odd_episode_are_damage(make, capsys):
  make('one')
  (make('two') / recordings.MANIFEST).write_text('{')
  folder = make('three')
  manifest = recordings.load_manifest(folder)
  manifest['episodes'].append(recordings.write_episode(folder, 2, episode(3, 4, size=(6, 8))))
  recordings.write_manifest(folder, manifest)
  report, status = read(capsys, folder.parent, '--no-pictures')
  one, three, two = report['found']
  assert status == 1 and one['episodes'] == three['episodes'] == 2
  assert 'shape (6, 8, 3)' in three['damaged'][0]
  assert two['kind'] == 'unreadable' and 'not valid JSON' in two['damaged'][0]


def test_nothing_intact_and_nothing_there(make, capsys, tmp_path):
  folder = make('one')
  damage(folder, 0), damage(folder, 1)
  report, status = read(capsys, folder, '--out', tmp_path)
  assert status == 1 and report['pictures'] == []
  assert report['found'][0]['return']['mean'] is None and len(report['found'][0]['damaged']) == 2
  with pytest.raises(SystemExit):
    cli.main(['inspect', str(folder)])
  assert 'Episodes' in capsys.readouterr().out
  for nothing in (tmp_path / 'nowhere', folder / recordings.MANIFEST):
    with pytest.raises(UserError, match=f'neither .* in {nothing} .*vid2act collect') as error:
      cli.main(['inspect', str(folder), str(nothing)])
    assert '. ' not in str(error.value) and capsys.readouterr().out == ''


def test_pictures_of_one_recording(make, capsys, tmp_path):
  report, _ = read(capsys, make('one', (7, 5), size=(8, 16)), '--out', tmp_path / 'new')
  png, mp4 = (tmp_path / 'new' / f'one-episodes.{x}' for x in ('png', 'mp4'))
  assert report['pictures'] == [str(png), str(mp4)]
  S, L = preview.SIDE, preview.LABEL
  sheet = np.asarray(Image.open(png))
  assert sheet.shape == (2 * (L // 2 + S), preview.FRAMES * S, 3)
  film = frames(mp4)
  assert film.shape == (7, L + S, 2 * S, 3)
  # Letters, then black, grey and black: the image is twice as wide as high.
  assert sheet[:L // 2].max() > 200 and film[:, :L].max() > 200
  for row, value in ((0, 40), (1, 10)):
    middle = sheet[(row + 1) * L // 2 + row * S:][:S, :, 0]
    assert (middle[S // 4: -S // 4] == value).all() and not middle[:S // 4].any()
    shown = film[:, L + S // 2, row * S + S // 2].astype(int)
    assert np.abs(shown - value).max() < 8
  assert sorted(x.name for x in (tmp_path / 'new').iterdir()) == [png.name, mp4.name][::-1]


def test_the_frames_of_a_sheet_are_spread_over_the_episode():
  image = np.arange(91, dtype=np.uint8)[:, None, None, None].repeat(3, -1)
  strip = preview._strip(image, 'text')
  assert strip[-1, ::preview.SIDE, 0].tolist() == list(range(0, 91, 10))


def test_shorter_episodes_wait_at_their_end():
  short, long = (np.arange(1, n + 1, dtype=np.uint8)[:, None, None, None] * np.ones(
      (1, preview.LABEL + preview.SIDE, preview.SIDE, 3), np.uint8) for n in (2, 4))
  shown = np.stack(list(preview._grid([short, long], 2)))
  assert shown[:, 0, 0, 0].tolist() == [1, 2, 2, 2]
  assert shown[:, 0, -1, 0].tolist() == [1, 2, 3, 4]


def test_a_film_that_fails_halfway_leaves_the_former_one(make, tmp_path):
  folder = make('one', (90, 90))  # Enough for the encoder to begin writing.
  cli.main(['inspect', str(folder), '--out', str(tmp_path)])
  film = tmp_path / 'one-episodes.mp4'
  before, names = film.read_bytes(), sorted(tmp_path.iterdir())
  shown = [
      (folder, x, ('one',)) for x in recordings.load_manifest(folder)['episodes'] * preview.PAGE]
  shown[-1] = tmp_path, *shown[-1][1:]  # On the second page.
  with pytest.raises(UserError, match='cannot be read'):
    preview.draw(shown, tmp_path / 'one')
  assert film.read_bytes() == before and sorted(tmp_path.iterdir()) == names


def test_every_source_is_drawn_in_at_most_twenty_seconds(make, capsys, tmp_path):
  for i in range(14):
    make(f's{i:02d}', (900,) if i == 3 else (5, 4))
  report, _ = read(capsys, tmp_path / 'all', '--out', tmp_path)
  film, S, L = frames(report['pictures'][1]), preview.SIDE, preview.LABEL
  # Two pages share 400 frames: every fifth of 900 steps, and of 5 steps all.
  assert len(film) == math.ceil(900 / 5) + 5 <= preview.FPS * preview.SECONDS
  assert film.shape[1:] == (3 * (L + S), 4 * S, 3)
  assert np.asarray(Image.open(report['pictures'][0])).shape[0] == 14 * (L // 2 + S)
  last = film[-1, L + S // 2:: L + S, S // 2:: S, 0]
  assert (last[0, :2] > 30).all() and (last[0, 2:] < 20).all() and (last[1:] < 20).all()


def test_equal_names_get_pictures_of_their_own(make, capsys, tmp_path):
  folder = make('one')
  (tmp_path / 'one').symlink_to(make('two').rename(tmp_path / 'kept'))
  stems = inspection._stems([folder, folder, tmp_path / 'one'], tmp_path)
  assert [x.name for x in stems] == ['one', 'one-2', 'kept']


def test_pictures_that_cannot_be_written(make, tmp_path):
  (tmp_path / 'file').write_text('mine')
  with pytest.raises(UserError, match='file.*cannot be written.*--out.*--no-pictures'):
    cli.main(['inspect', str(make('one')), '--out', str(tmp_path / 'file')])
  assert (tmp_path / 'file').read_text() == 'mine'


def test_a_bundle_in_numbers(teacher, capsys, tmp_path):
  report, status = read(capsys, teacher, '--out', tmp_path)
  x, = report['found']
  assert status == 0 and report['pictures'] == [] and x['kind'] == 'teacher'
  assert x['sources'] == [
      dict(source='near', act_size=4, memory=2), dict(source='far', act_size=2, memory=3)]
  assert (x['deter'], x['stoch'], x['classes'], x['parameters']) == (8, 4, 6, 17)
  assert (x['updates'], x['actions_seen'], x['image']) == (70, False, [64, 48, 3])
  assert (x['recordings'], x['host'], x['jax']) == ('abc', 'host 3', '0.9')
  cli.main(['inspect', str(teacher)])
  output = capsys.readouterr().out
  assert output.index('near') < output.index('far') and 'actions seen   False' in output


def test_a_damaged_bundle_beside_a_recording(make, teacher, capsys):
  file = teacher / 'memory.safetensors'
  file.write_bytes(file.read_bytes()[:-1] + b'?')
  make('one')
  report, status = read(capsys, teacher.parent, '--no-pictures')
  one, bad = report['found']
  assert status == 1 and one['episodes'] == 2 and not one['damaged']
  assert bad['kind'] == 'unreadable' and str(file) in bad['damaged'][0]


def test_a_real_bundle(bundle, capsys):
  report, status = read(capsys, bundle)
  x, = report['found']
  assert status == 0 and x['parameters'] > 1000 and (x['deter'], x['stoch']) == (16, 4)
  assert [y['memory'] for y in x['sources']] == [20, 20, 20]
