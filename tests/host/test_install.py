"""DreamerV3's source distribution is unpacked as every Python that we run on can."""

import tarfile

import pytest

from vid2act_plugin.host import install
from vid2act_plugin.host import tree as host


@pytest.mark.parametrize('filters', [True, False])
def test_a_source_distribution_is_unpacked(tmp_path, monkeypatch, filters):
  """Python 3.11.2, which is Debian 12's, knows no filters of archives."""
  tree, archive = tmp_path / install.BUILT, tmp_path / 'sdist.tar.gz'
  (tree / 'dreamerv3').mkdir(parents=True)
  (tree / 'dreamerv3/main.py').write_text('x = 1\n')
  with tarfile.open(archive, 'w:gz') as tar:
    tar.add(tree, install.BUILT)
  monkeypatch.setattr(host, 'series', lambda: {install.BUILT: {'sdist': {'sha256': host.digest(archive)}}})
  monkeypatch.setattr(host, 'patch', lambda tree: None)
  if not filters:
    extract = tarfile.TarFile.extractall
    monkeypatch.delattr(tarfile, 'data_filter', raising=False)
    monkeypatch.setattr(tarfile.TarFile, 'extractall', lambda self, path: extract(self, path))
  made = install.source(tmp_path / 'made', archive)
  assert (made / 'dreamerv3/main.py').read_text() == 'x = 1\n' and (made / 'requirements.txt').read_text() == ''
