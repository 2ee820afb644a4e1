"""What `vid2act inspect` tells of recordings and bundles, through the command line."""

import contextlib
import os
import pty
import re
import subprocess
import sys

import numpy as np
import pytest
from helpers import clones
from helpers.inspecting import damage, episode, read

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.teacher.bundle import Bundle, load


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
  (folder / recordings.MANIFEST).write_text('{"sources": []}')
  report, = read(capsys, folder, '--no-pictures')[0]['found']
  assert report['damaged'][0].startswith(f"The argument PATH is '{folder}', but")


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


def test_a_bundle_in_numbers(teacher, capsys, tmp_path):
  report, status = read(capsys, teacher, '--out', tmp_path)
  x, = report['found']
  assert status == 0 and report['pictures'] == [] and x['kind'] == 'teacher'
  unknown = dict(behaviour_error=None, behaviour_success=None)
  assert x['sources'] == [
      dict(source='near', act_size=4, memory=2, **unknown),
      dict(source='far', act_size=2, memory=3, **unknown)]
  assert (x['deter'], x['stoch'], x['classes'], x['parameters']) == (8, 4, 6, 17)
  assert (x['updates'], x['actions_seen'], x['image']) == (70, False, [64, 48, 3])
  assert (x['recordings'], x['host'], x['jax']) == ('abc', 'host 3', '0.9')
  cli.main(['inspect', str(teacher)])
  output = capsys.readouterr().out
  assert output.index('near') < output.index('far') and 'actions seen   False' in output


@pytest.mark.parametrize('facts', [
    None, {}, dict(settings={}, error=[0.5], success=[None]),
    dict(settings={}, error=[0.5, 'x'], success=[None, None]),
    dict(settings={}, error=[0.5, 0.5], success=[None, [2, 0]])])
def test_behaviours_of_a_bundle(teacher, capsys, facts):
  made = load(teacher)
  made.clones, made.manifest['behaviours'] = {'a': np.zeros(3, np.float32)}, dict(
      settings={}, error=[0.25, 0.5], success=[[1.0, 0.9], None])
  made.save(teacher)
  report, status = read(capsys, teacher)
  found = [(x['behaviour_error'], x['behaviour_success']) for x in report['found'][0]['sources']]
  assert status == 0 and found == [(0.25, [1.0, 0.9]), (0.5, None)]
  cli.main(['inspect', str(teacher)])
  assert '1.0, 0.9' in capsys.readouterr().out
  made.manifest['behaviours'] = facts
  made.save(teacher)
  report, status = read(capsys, teacher)
  assert status == 1 and 'its behaviours lack' in report['found'][0]['damaged'][0]


def test_behaviours_in_a_folder_of_their_own(make, capsys, tmp_path, monkeypatch):
  """As the script clone writes them, in its logdir."""
  make('recorded')
  made = clones.make(error=[0.25, None, 0.5], success=[[1.0, 0.9], None, None], seed=3)
  made.write(tmp_path / 'all' / 'behaviours')
  monkeypatch.setenv('HOME', str(tmp_path))
  for path, count in ((tmp_path / 'all' / 'behaviours', 1), ('~/all', 2)):
    report, status = read(capsys, path, '--no-pictures')
    x = report['found'][0]
    assert status == 0 and len(report['found']) == count and x['kind'] == 'behaviours' and not x['damaged']
    assert x['sources'] == [
        dict(source='one', act_size=3, behaviour_error=0.25, behaviour_success=[1.0, 0.9]),
        dict(source='two', act_size=2, behaviour_error=None, behaviour_success=None),
        dict(source='three', act_size=3, behaviour_error=0.5, behaviour_success=None)]
    assert x['parameters'] == sum(y.size for y in made.params.values())
    assert (x['recordings'], x['settings'], x['seed'], 'holdout' in x) == ('none', clones.FACTS['settings'], 3, False)
  cli.main(['inspect', str(tmp_path / 'all'), '--no-pictures'])
  output = capsys.readouterr().out
  assert 'recorded' in output and 'checking: 4/4' in output and 'states in memory' not in output
  assert re.search(r'one +3 +0.25 +1.0, 0.9 *\n', output) and 'settings     updates 1, batch_size 1' in output
  (tmp_path / 'all' / 'behaviours' / 'behaviours.safetensors').write_bytes(b'x')
  report, status = read(capsys, tmp_path / 'all', '--no-pictures')
  assert status == 1 and 'behaviours.safetensors is not as it was written' in report['found'][0]['damaged'][0]
  assert not report['found'][1]['damaged']


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
