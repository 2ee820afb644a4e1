"""How a Ray of a command's own begins and fails, with a stand-in for Ray; a real one: studies/test_ray.py."""

import os
import pathlib
import sys
import types

import pytest

from vid2act_plugin.common import cluster, lock
from vid2act_plugin.common.errors import UserError


@pytest.fixture
def seen(monkeypatch, tmp_path):
  """Return what a Ray that cannot begin saw, with the folder of the lock elsewhere."""
  found = {}
  def init(address, _temp_dir, **options):
    found.update(token=os.environ['RAY_AUTH_TOKEN'], folder=_temp_dir, owner=lock.owner(cluster.STARTS))
    raise RuntimeError('The current node timed out during startup')
  monkeypatch.setattr(cluster, 'STARTS', str(tmp_path / 'starts'))
  monkeypatch.setitem(sys.modules, 'ray', types.SimpleNamespace(init=init, shutdown=lambda: None))
  for key in [x for x in os.environ if x.startswith('RAY_')]:
    monkeypatch.delenv(key)
  return found


def test_a_ray_begins_alone_and_leaves_nothing_where_it_fails(seen):
  """Ray gives itself half a minute, which several that begin at once exceed on a small machine."""
  with pytest.raises(UserError, match="The Ray at 'local' .*timed out.*; repeat .* less to do"), cluster.Cluster():
    pass
  assert str(os.getpid()) in seen['owner'] and len(seen['token']) == 64
  assert lock.owner(cluster.STARTS) is None and not pathlib.Path(seen['folder']).exists()
  assert not [x for x in os.environ if x.startswith('RAY_')]


def test_a_ray_that_is_not_installed(seen, monkeypatch):
  monkeypatch.setitem(sys.modules, 'ray', None)
  with pytest.raises(UserError, match='needs the package ray, .*pip install'):
    cluster.Cluster()
  assert not [x for x in os.environ if x.startswith('RAY_')]
