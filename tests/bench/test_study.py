"""A study gives each of its runs to a process of its own."""

import importlib
import pathlib

import pytest

from bench.transfer import dynamics, study
from vid2act_plugin.common import parallel

STUDIES = sorted(x.stem for x in pathlib.Path(study.__file__).parent.glob('*.py') if 'study.run(' in x.read_text())


@pytest.mark.parametrize('name', STUDIES)
@pytest.mark.parametrize('out', [[], ['--out', 'elsewhere']])
def test_what_a_study_starts_is_understood(monkeypatch, tmp_path, name, out):
  """Each run gets the study's settings, once, in the folder that the results are read from."""
  module, found, started = importlib.import_module(f'bench.transfer.{name}'), [], []
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(study, 'RESULTS', tmp_path / 'results')
  monkeypatch.setattr(parallel, 'run_commands', lambda commands, *rest: started.extend(commands.items()) or ())
  for x in {module, dynamics} - {module if name == 'why' else None}:  # That one has no preparation of its own.
    monkeypatch.setattr(x, 'prepare', lambda *args: None)
  monkeypatch.setattr(module, 'one', found.append)
  monkeypatch.setattr('sys.argv', [name, *out, '--seeds', '0', '3'])
  with pytest.raises(FileNotFoundError):  # No run has left a result.
    module.main()
  for one, command in started:
    monkeypatch.setattr('sys.argv', command[2:])
    module.main()
    args = found.pop()
    assert args.one == one and args.set == [] and study.work(args) == tmp_path / (out[-1] if out else f'results/{name}') / 'work'
  assert len(started) >= 2
