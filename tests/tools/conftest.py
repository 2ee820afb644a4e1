import pytest
from helpers.inspecting import write


@pytest.fixture
def make(tmp_path):
  """Return a function that writes the recording `all/NAME`."""
  return lambda name, *args, **kwargs: write(tmp_path / 'all' / name, *args, **kwargs)
