"""What files say of themselves does not steer the terminal of who looks at them."""

import json
import os

import numpy as np
import pytest
from helpers.foreign import play, write_v2
from helpers.inspecting import write
from helpers.nasty import MEANS, NASTY, STEERS, plain
from PIL import Image

from vid2act_plugin import cli
from vid2act_plugin.sources import recording as recordings
from vid2act_plugin.teacher.bundle import Bundle
from vid2act_plugin.tools import doctor, preview, tables

FIELDS = dict(
    env={NASTY: NASTY}, versions={NASTY: [NASTY]}, renderer=NASTY, imported={'path': NASTY},
    skipped=[NASTY, {NASTY: NASTY}])


@pytest.fixture
def nasty(tmp_path):
  """A folder with a recording whose manifest steers terminals wherever it may hold text."""
  folder = write(tmp_path / 'all' / 'one', fields=FIELDS)
  manifest = recordings.load_manifest(folder)
  for entry in manifest['episodes']:
    entry['behaviour'] = {'policy': NASTY, NASTY: NASTY}
  recordings.write_manifest(folder, manifest)
  return folder


def test_inspect_of_a_recording(nasty, capsys, tmp_path):
  cli.main(['inspect', str(nasty), '--out', str(tmp_path)])
  text = capsys.readouterr().out
  assert plain(text) and text.count(MEANS) >= 10
  assert np.asarray(Image.open(tmp_path / 'one-episodes.png')).max() > 200


def test_inspect_of_a_teacher(capsys, tmp_path):
  Bundle(
      {'dyn/a': np.zeros(3, np.float32)}, dict(source=np.zeros(1, np.int32)),
      dict(sources=[MEANS], act_sizes=[2], act_width=4, image=[8, 8, 3], updates=1,
           agent=dict(dyn=dict(rssm=dict(deter=8, stoch=4, classes=6))), env={NASTY: NASTY},
           recordings=NASTY, host=NASTY, jax={NASTY: NASTY})).save(tmp_path / 't')
  cli.main(['inspect', str(tmp_path / 't')])
  text = capsys.readouterr().out
  assert plain(text) and text.count(MEANS) >= 6


@pytest.mark.parametrize('value', [NASTY, 5, [NASTY], {NASTY: [NASTY]}, None, True])
def test_fields_of_any_type_are_shown(value, tmp_path, capsys):
  folder = write(tmp_path / 'one', fields=dict.fromkeys(('renderer', 'imported', 'skipped'), value))
  cli.main(['inspect', str(folder), '--no-pictures'])
  assert plain(capsys.readouterr().out)
  cli.main(['inspect', str(folder), '--no-pictures', '--json'])
  text = capsys.readouterr().out
  assert plain(text) and json.loads(text)['paths'][0]['found'][0]['renderer'] == value


def test_damage_is_told_plainly(capsys):
  tables.show([dict(kind='unreadable', path=NASTY, skipped=[NASTY], damaged=[NASTY])])
  assert plain(capsys.readouterr().out)


def test_doctor(monkeypatch, capsys):
  def check():
    print(NASTY)
    return 'warn', f'text {NASTY}', f'cure {NASTY}'
  def fails():
    raise ValueError(NASTY)
  monkeypatch.setattr(doctor, 'CHECKS', {'one': check, 'two': fails})
  with pytest.raises(SystemExit):
    cli.main(['doctor'])
  text = capsys.readouterr().out
  assert plain(text) and text.count(MEANS) == 3
  with pytest.raises(SystemExit):
    cli.main(['doctor', '--json'])
  assert not json.loads(capsys.readouterr().out)['ok']


def test_import_and_export_of_files_with_such_names(tmp_path, capsys):
  steers = ''.join(v for k, v in STEERS.items() if k not in ('half', 'nothing'))
  given = tmp_path / f'given {steers}'
  write_v2(given / f'good {steers}.npz', play())
  (given / f'bad {steers}.npz').write_bytes(b'none')
  (given / os.fsdecode(b'bytes \xff.npz')).write_bytes(b'none')
  with pytest.raises(SystemExit, match='3'):  # Most of the data was left out.
    cli.main(['import', str(given), '--out', str(tmp_path), '--name', 'one'])
  text = capsys.readouterr().out
  assert plain(text) and text.count('Skipped: ') == 2 and 'bytes ?.npz' in text
  cli.main(['inspect', str(tmp_path / 'one'), '--no-pictures'])
  cli.main(['export', str(tmp_path / 'one'), '--format', 'minari', '--out', str(tmp_path / 'out-v0')])
  assert plain(capsys.readouterr().out)


@pytest.mark.parametrize('lines', [[NASTY], [''], ['x' * 10 ** 5], ['大小', '\u202e']])
def test_labels_of_pictures(lines):
  assert preview._label(lines, preview.SIDE, preview.LABEL).shape == (preview.LABEL, preview.SIDE, 3)
