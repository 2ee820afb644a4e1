import numpy as np
import pytest
from helpers import moves
from helpers.inspecting import write
from helpers.labelling import SIZE, label


@pytest.fixture
def make(tmp_path):
  """Return a function that writes the recording `all/NAME`."""
  return lambda name, *args, **kwargs: write(tmp_path / 'all' / name, *args, **kwargs)


@pytest.fixture(scope='session')
def given(tmp_path_factory):
  """Two recordings to learn from, one to be labelled, a folder of films, and what was learned."""
  root = tmp_path_factory.mktemp('label')
  for i, name in enumerate(('one', 'two')):
    moves.write(root / 'from' / name, seed=i, size=SIZE)
  moves.write(root / 'target', count=4, seed=7, size=SIZE)
  scenes = [moves.play(50 + i, 12 + i, SIZE, 20 + 60 * i) for i in range(3)]
  moves.film(root / 'films' / 'cut.mkv', np.concatenate([x for x, _ in scenes]))
  moves.film(root / 'films' / 'other.mkv', moves.play(60, 20, SIZE)[0].repeat(2, 1), fps=10)
  label(root / 'target', root)
  return root
