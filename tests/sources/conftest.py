import pytest
from helpers.recordings import write


@pytest.fixture
def make(tmp_path):
  """Return a function that writes the source of that name."""
  return lambda name='one', *args, **settings: write(tmp_path / name, *args, **settings)
