"""The command `vid2act label` and films: cuts, rates, what is left out, and what goes on."""

import os
import shutil
import signal

import numpy as np
import pytest
from helpers import cameras, moves
from helpers.labelling import SIZE, call, label

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import dataset, labelling, recording, shots


def test_films_are_cut_and_labelled(given, capsys):
  manifest, found = label(given / 'films', given, out='cut')
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
  data = dataset.Sources([given / 'from/one', given / 'cut/films'], act_width=5)
  assert data.names == ['one', 'films'] and 0 < data.streams['train'][1]['confidence'].min() < 1


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


@pytest.mark.parametrize('at', [5, 39 + 5])
def test_a_signal_while_a_film_is_looked_at(given, monkeypatch, capsys, at):
  """A film of hours has no clip for minutes, neither where cuts are looked for nor where it is still."""
  images, seen = shots.images, []
  def signalled(path, *args):
    for image in images(path, *args):
      seen.append(path)
      if len(seen) == at:
        os.kill(os.getpid(), signal.SIGTERM)
      yield image
  monkeypatch.setattr(shots, 'images', signalled)
  with pytest.raises(SystemExit) as e:
    label(given / 'films', given, out=f'looked-{at}')
  text = capsys.readouterr().out
  assert e.value.code == 143 and len(seen) == at and 'what is learned and labelled is kept' in text
  assert 'Skipped' not in text and not list((given / f'looked-{at}').rglob('*.npz'))
  assert [x['name'] for x in label(given / 'films', given, out=f'looked-{at}')[0]['episodes']][0] == 'cut.mkv#0-11'


def test_films_that_change_or_go(given, tmp_path, monkeypatch, capsys):
  shutil.copytree(given / 'films', tmp_path / 'films')
  write = labelling.Labels._write
  def stopped(self, name, *rest):
    if name.endswith('25-38'):
      raise KeyboardInterrupt
    write(self, name, *rest)
  run = lambda: call(tmp_path / 'films', '--from', given / 'from', '--out', tmp_path / 'out', '--updates', 400,
      '--model', given / 'model')
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
    call(tmp_path / 'films', '--from', tmp_path / 'from', '--out', tmp_path / 'out', '--updates', 2, '--model',
        tmp_path / 'model', *options)
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
  call(tmp_path / 'films', '--from', given / 'from', '--out', tmp_path / 'out', '--updates', 400, '--model',
      given / 'model')
  said, manifest = capsys.readouterr().out, recording.load_manifest(tmp_path / 'out/films')
  assert len(manifest['episodes']) == 4 and len(manifest['skipped']) == 5
  for name in ('broken.mp4', 'empty.mkv', 'one.mkv', 'still.mkv', 'damaged.mkv'):
    lines = [x for x in said.splitlines() if x.startswith('Skipped: ') and name in x]
    assert len(lines) == 1, (name, said)
  assert 'images 0-8 left out: still' in said and 'images 0-0 left out: fewer than 4 images' in said
