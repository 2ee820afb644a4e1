"""Runs as they begin, up to their first stage, and as they continue."""

import elements
import pytest
from helpers.stages import Stage

from vid2act_plugin import prepare
from vid2act_plugin.host import checkpoints
from vid2act_plugin.training import start


@pytest.fixture(scope='module')
def small(overlays, tiny):
  config = elements.Config(overlays['defaults'])
  for name in ('vid2act', 'metaworld', 'quickstart', str(tiny)):
    config = config.update(overlays[name])
  return config


@pytest.fixture
def begin(small, tmp_path, monkeypatch):
  """Return a function changes -> what `prepare` does with an empty cache, up to its first stage."""
  def stage(*args):
    raise Stage
  monkeypatch.setattr(prepare, '_stage', stage)
  monkeypatch.setitem(start.WRITERS, 'expa', 'a_missing_one')
  places = {'logdir': str(tmp_path / 'run'), 'vid2act.cache': str(tmp_path / 'cache')}
  return lambda **changes: prepare.prepare(small.update({**places, **changes}))


@pytest.fixture
def continued(small, tmp_path):
  """Return a function (settings then, settings now) -> check of a run that has a checkpoint."""
  base = small.update(logdir=str(tmp_path), script='train_eval')
  def fn(then, now):
    base.update(then).save(elements.Path(tmp_path) / 'config.yaml')
    place = tmp_path / checkpoints.kept(base.update(then).run.eval_every > 0)
    place.mkdir(exist_ok=True)
    (place / 'latest').write_text('x')
    before = (tmp_path / 'config.yaml').read_bytes()
    try:
      start.check(base.update(now))
    finally:
      assert (tmp_path / 'config.yaml').read_bytes() == before
  fn.folder = tmp_path
  return fn
