"""What an import prints about columns, episodes and steps, and its status."""

import json

import numpy as np
import pytest
from helpers import cameras
from helpers.foreign import play, three, write_v2, write_v3

from vid2act_plugin import cli, prepare
from vid2act_plugin.common import lifeline
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import importing as imports
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.sources import report as reports
from vid2act_plugin.sources.formats import Episode, NotAsked, dreamerv2


def status(*args):
  """Return the status of `vid2act import`."""
  try:
    cli.main(['import', *map(str, args)])
  except SystemExit as e:
    return e.code
  return 0


def test_columns_that_became_what_and_those_that_were_left(tmp_path, capsys):
  write_v2(tmp_path / 'in' / 'a.npz', play(), **{'is_first': np.arange(7) == 0, 'log/x': np.ones(7)})
  write_v2(tmp_path / 'in' / 'b.npz', play(), reward=None)
  manifest = imports.run(tmp_path / 'in', tmp_path / 'out')
  first, second = manifest['columns']
  taken = dict(
      image=['image'], action=['action'], reward=['reward'], success=['success'],
      is_terminal=['discount'])
  assert first == dict(episodes=1, taken=taken, left={
      'is_first': 'where episodes begin', 'log/x': 'not asked for'})
  taken.pop('reward')
  assert second == dict(episodes=1, taken=taken, left={})
  out = capsys.readouterr().out
  assert 'Columns of 1 episode: image from image; action from action; reward from reward; ' \
      'success from success; is_terminal from discount. Left: is_first (where episodes begin), ' \
      'log/x (not asked for).\n' in out
  assert 'is_terminal from discount. Left: none.\n' in out


def test_columns_of_a_replay(tmp_path):
  write_v3(tmp_path / 'in', [[play(6), play(5)]])
  layout, = imports.run(tmp_path / 'in', tmp_path / 'out')['columns']
  assert layout['taken'] == {k: [k] for k in ('image', 'action', 'reward', 'is_terminal')}
  assert {'is_first', 'is_last'} <= {*layout['left']} and layout['episodes'] == 2


@pytest.mark.parametrize('bad, code', [(3, 0), (4, 3)])
def test_most_of_the_episodes_left_out_is_a_status_of_its_own(tmp_path, capsys, bad, code):
  path, _ = three(tmp_path / 'in')
  for i in range(bad):
    (path / f'bad{i}.npz').write_bytes(b'nothing')
  assert status(path, '--out', tmp_path, '--name', 'out') == code
  last = capsys.readouterr().out.splitlines()[-1]
  assert last == (
      f'Taken: 3 of {3 + bad} episodes, 21 steps. Left: {bad} episodes (0 steps and those of '
      f'{bad} that cannot be read) for the reasons above.'
      + ' Most of the data was left out: the status is 3.' * bool(code))
  assert len(recordings.load(tmp_path / 'out')[1]) == 3 and imports.complete(tmp_path / 'out')


def test_most_of_the_steps_left_out(tmp_path, capsys):
  path, _ = three(tmp_path / 'in')
  write_v2(path / 'long.npz', play(30, actions=3))
  assert status(path, '--out', tmp_path, '--name', 'out') == reports.PARTIAL
  assert capsys.readouterr().out.splitlines()[-1] == (
      'Taken: 3 of 4 episodes, 21 steps. Left: 1 episode (30 steps) for the reasons above. Most '
      'of the data was left out: the status is 3.')


def test_what_the_options_leave_out_is_counted_and_no_fault(tmp_path, capsys):
  path, _ = three(tmp_path / 'in')
  options = ('--episodes', 1, '--limit', 4, '--repeat', 2)
  assert status(path, '--out', tmp_path, '--name', 'out', *options) == 0
  assert capsys.readouterr().out.splitlines()[-1] == (
      'Taken: 1 of 3 episodes, 3 steps. Left: 2 episodes not asked for, 2 steps beyond --limit, '
      '2 steps by --repeat.')


def test_one_object_for_machines(tmp_path, capsys):
  path, _ = three(tmp_path / 'in')
  (path / 'bad\x1b.npz').write_bytes(b'nothing')
  assert status(path, '--out', tmp_path, '--name', 'out', '--json') == 0
  out, err = capsys.readouterr()
  found = json.loads(out)
  assert found['status'] == 0 and found['recording'] == str(tmp_path / 'out')
  assert found['episodes'] == dict(found=4, taken=3, left=1, not_asked_for=0)
  assert found['steps'] == dict(taken=21, left=0, beyond_limit=0, joined=0, unknown_episodes=1)
  assert (found['act_size'], found['size'], found['reward']) == (2, [32, 32], True)
  assert found['columns'] == recordings.load_manifest(tmp_path / 'out')['columns']
  skipped, = found['skipped']
  assert 'bad?.npz' in skipped['reason'] and 'Columns of' in err


def test_one_object_also_where_nothing_can_be_imported(tmp_path, capsys):
  (tmp_path / 'in').mkdir()
  (tmp_path / 'in' / 'a.npz').write_bytes(b'nothing')
  with pytest.raises(UserError, match='no episode that can be imported'):
    cli.main(['import', str(tmp_path / 'in'), '--out', str(tmp_path), '--name', 'out', '--json'])
  found = json.loads(capsys.readouterr().out)
  assert found['status'] == 1 and found['episodes']['left'] == 1


def test_pictures_of_12_bits_in_16_are_said_to_be_dark(tmp_path, capsys):
  for most in (4095, 4096):
    path = tmp_path / str(most) / 'ep'
    cameras.pictures(path, [np.full((16, 16), most, np.uint16)] * 4)
    cameras.actions(path)
    imports.run(path.parent, tmp_path / f'out{most}')
    assert (recordings.load(tmp_path / f'out{most}')[1][0]['image'] == 16).all()
    assert ('255 (the first is below 4096);' in capsys.readouterr().out) == (most == 4095)


def test_an_import_that_continues_reports_all(tmp_path, capsys):
  path, _ = three(tmp_path / 'in')
  for _ in range(2):
    imports.run(path, tmp_path / 'out', limit=3)
    assert capsys.readouterr().out.splitlines()[-1] == (
        'Taken: 3 of 3 episodes, 12 steps. Left: 9 steps beyond --limit.')


def test_episodes_that_a_format_leaves_out_by_choice(tmp_path, monkeypatch, capsys):
  path, _ = three(tmp_path / 'in')
  real = dreamerv2._load
  def chosen(file, *args, **kwargs):
    if file.name == 'good1.npz':
      raise NotAsked('It is of another task.')
    return real(file, *args, **kwargs)
  monkeypatch.setattr(dreamerv2, '_load', chosen)
  manifest = imports.run(path, tmp_path / 'out')
  assert len(manifest['episodes']) == 2 and not manifest['skipped']
  assert 'Taken: 2 of 3 episodes, 14 steps. Left: 1 episode not asked for.' in (
      capsys.readouterr().out)


def test_names_of_others_are_printable_and_not_endless():
  episode = Episode([], {}, names=dict(action=['x' * 999, '\ud800\x1b']), left={'a\nb': 'why'})
  (taken,), left = reports.layout(episode)
  assert taken[0] == 'action' and len(taken[1][0]) == 80 and taken[1][1] == '??'
  assert left == (('a?b', 'why'),)


def test_a_run_goes_on_with_what_was_imported(monkeypatch):
  class Config(dict):
    vid2act = type('', (), dict(seconds={'import': 0.0, 'collect': 0.0}))
    def update(self, x):
      return x
  monkeypatch.setattr(lifeline, 'attend', lambda *_: reports.PARTIAL)
  assert prepare._stage(Config(), 'import', 'x', [])
  with pytest.raises(UserError, match='ended with status 3'):
    prepare._stage(Config(), 'collect', 'x', [])


def test_the_status_is_documented(capsys):
  with pytest.raises(SystemExit):
    cli.main(['import', '--help'])
  assert f'The status is 0; {reports.PARTIAL} if more than half' in ' '.join(
      capsys.readouterr().out.split())
