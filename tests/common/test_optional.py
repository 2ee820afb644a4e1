"""Without the packages that some machines do not have: what needs one says so, all else works."""

import numpy as np
import pytest
from helpers import foreign, logdirs
from helpers.plays import refuse

from vid2act_plugin import cli
from vid2act_plugin.common import errors, images
from vid2act_plugin.studies import report


@pytest.mark.parametrize('broken', [ModuleNotFoundError("No module named 'matplotlib'"), AttributeError('np.Inf')])
def test_without_matplotlib_a_report_is_left_out_with_one_note(broken, tmp_path, monkeypatch, without, capsys):
  """Whether it is absent, or is of another time than NumPy."""
  def pyplot():
    raise broken
  without()
  monkeypatch.setattr(images, 'pyplot', pyplot)
  for _ in range(2):
    report.after(logdirs.stock(tmp_path / 'run'))
  line, = capsys.readouterr().out.splitlines()
  assert line.startswith('Note: without matplotlib') and type(broken).__name__ in line
  assert not (tmp_path / 'run/report.html').exists()


def test_what_draws_alone_names_the_package(tmp_path, without):
  without('matplotlib')
  refuse(lambda: cli.main(['report', str(logdirs.stock(tmp_path / 'run'))]), 'The package matplotlib is not installed')


def test_without_jinja2_a_run_ends_with_one_note(tmp_path, without, capsys):
  without('jinja2')
  report.after(logdirs.stock(tmp_path / 'run'))
  line, = capsys.readouterr().out.splitlines()
  assert 'the report was not written' in line and 'jinja2' in line


def test_an_import_names_the_package_and_not_the_file(tmp_path, without, capsys):
  foreign.write_mp4(tmp_path / 'in/a.mp4', np.zeros((4, 32, 32, 3), np.uint8))
  (tmp_path / 'in/a.csv').write_text('action\n' + '0\n' * 4)
  without('av')
  with pytest.raises(errors.UserError):
    cli.main(['import', str(tmp_path / 'in'), '--out', str(tmp_path / 'out')])
  said = capsys.readouterr().out
  assert 'The package av is not installed' in said and 'copy it again' not in said


def test_a_package_of_others_keeps_its_own_cure():
  with pytest.raises(errors.UserError, match='install what it lacks'), errors.reading('The robot', 'install what it lacks'):
    import no_such_robot  # noqa: F401
  with pytest.raises(ModuleNotFoundError), errors.as_user_errors('x'):
    import no_such_robot  # noqa: F401, F811
