"""What is said of a host that is not as it should be."""

from vid2act_plugin.host import tree as host

MAIN = 'dreamerv3/main.py'


def test_a_cure_restores_no_more_than_what_is_wrong(tmp_path, monkeypatch):
  """Of a checkout; what is installed is built again, and a checkout on the Python path is not."""
  commit = next(k for k, v in host.series().items() if 'sdist' not in v)
  wrong = {MAIN: 'unknown', **dict.fromkeys(host.series()[commit]['added'], 'missing'), 'embodied/jax/agent.py': 'patched'}
  cure = lambda: host._cure(tmp_path, commit, wrong)
  assert 'restore them (from where they came)' in cure()
  (tmp_path / '.git').mkdir()
  monkeypatch.setattr(host, '_head', lambda root: f'{commit}abc')
  assert f'git -C {tmp_path} checkout {commit} -- {MAIN}`)' in cure()
  monkeypatch.setattr(host, '_head', lambda root: 'fff')
  assert f'checkout {commit} -- dreamerv3 embodied`, after you have committed or stashed work' in cure()
  monkeypatch.setattr(host, 'find', lambda: tmp_path)
  assert 'host build' not in cure()
  monkeypatch.setattr(host, 'packages', lambda: [tmp_path])
  assert cure() == 'run `vid2act host build`, which installs the patched host again'
