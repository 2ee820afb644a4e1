"""What agents take from checkpoints, and which of these they refuse."""

import pickle

import numpy as np
import pytest
from helpers.checkpoints import params, save

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.host import checkpoints, loading


def test_report():
  """One line per module, and one per tensor where the module's line does not say it all."""
  here = {'enc/a': np.zeros(2), 'enc/b': np.zeros(3), 'enc/c': np.zeros(1), 'pol/a': np.zeros(1),
          'pol/b': np.zeros(1), 'opt/step': np.zeros(()), 'dyn/a': np.zeros((2, 2))}
  there = {'enc/a': np.ones(2), 'enc/b': np.ones(4), 'src/a': np.ones(1), 'opt/step': np.ones(()),
           'dyn/a': np.ones((3, 2))}
  new, report = loading.match(here, there, 'Loaded')
  assert str(report).splitlines() == [
      'Loaded: 1 matched, 2 shape differs, 3 missing, 1 fresh, 1 unused',
      '  enc          1 matched, 1 shape differs, 1 missing',
      '    enc/b                      shape differs [4] there, [3] here',
      '    enc/c                      missing',
      '  pol          2 missing',
      '  opt          1 fresh',
      '  dyn          1 shape differs',
      '    dyn/a                      shape differs [3, 2] there, [2, 2] here',
      '  src          1 unused']
  assert [k for k in here if new[k].any()] == ['enc/a'] and report.taken() == {'enc/a'}


@pytest.mark.parametrize('where', ['', 'ckpt', 'stamp'])
def test_load_whole(where, fresh, start, tmp_path, capsys):
  """Everything with counters and optimiser, from any of the three folders."""
  changed = {k: v + 1 for k, v in start.items()}
  fresh.load({'params': changed, 'counters': {'updates': 3, 'batches': 4, 'actions': 5}})
  stamp = save(fresh, tmp_path)
  fresh.load({'params': start, 'counters': loading.FRESH})
  loading.load(fresh, {'': tmp_path, 'ckpt': tmp_path / 'ckpt', 'stamp': stamp}[where])
  for key, value in params(fresh).items():
    np.testing.assert_array_equal(value, changed[key], key)
  assert int(fresh.n_updates) == 3 and int(fresh.n_actions) == 5
  assert f': {len(start)} matched\n' in capsys.readouterr().out and checkpoints.step(stamp) == 7


@pytest.mark.parametrize('case', ['regex', 'shape'])
def test_load_in_part(case, fresh, start, tmp_path, capsys):
  """Optimiser and counters belong to the whole, so that they start at 0."""
  content = {'params': {k: v + 1 for k, v in start.items()},
             'counters': {'updates': 3, 'batches': 4, 'actions': 5}}
  if case == 'shape':
    content['params']['pol/mlp/linear0/kernel'] = np.ones((2, 2), np.float32)
  folder = write(tmp_path / 'x', content)
  loading.load(fresh, folder, '(enc|opt)/' if case == 'regex' else '')
  left = {'shape': {'pol/mlp/linear0/kernel'}, 'regex': {
      k for k in start if not k.startswith('enc/')}}[case]
  for key, value in params(fresh).items():
    same = key in left or key.startswith('opt/')
    np.testing.assert_array_equal(value, start[key] + (not same), key)
  assert fresh.save()['counters'] == loading.FRESH
  output = capsys.readouterr().out
  assert 'policy acts with parameters as initialised' in output
  again = lambda needed: loading.load(fresh, folder, '(enc|opt)/' if case == 'regex' else '', needed=needed)
  again('enc/')
  with pytest.raises(UserError, match='does not get all that it acts with: .*pol/.*; give the --configs') as error:
    again('(enc|pol)/')
  assert ('out of run.from_checkpoint_regex' in str(error.value)) == (case == 'regex')
  assert ('not selected' in output) if case == 'regex' else ('[2, 2] there' in output)


def write(folder, content, done=True):
  folder.mkdir()
  (folder / 'agent.pkl').write_bytes(pickle.dumps(content))
  if done:
    (folder / 'done').write_bytes(b'')
  return folder


class Malice:

  def __reduce__(self):
    return (exec, ("raise SystemError('executed')",))


ARRAYS = {'params': {'enc/x': np.ones(3)}, 'counters': dict(updates=1, batches=1, actions=1)}


@pytest.mark.parametrize('content, regex, words', [
    (ARRAYS, 'encoder', "regex is 'encoder'.*enc/x"),
    (ARRAYS, '(', 'regular expression'),
    (ARRAYS, '', 'nothing fits the agent'),
    ({'params': {}, 'counters': {}}, '', 'not the checkpoint of a DreamerV3 agent'),
    ([1], '', 'not the checkpoint of a DreamerV3 agent'),
    (Malice(), '', "builtins.exec.*do not trust"),
    ({'params': {'enc/x': Malice()}, 'counters': {}}, '', "builtins.exec.*do not trust")])
def test_load_refuses(content, regex, words, fresh, start, tmp_path):
  with pytest.raises(UserError, match=words):
    loading.load(fresh, write(tmp_path / 'x', content), regex)
  for key, value in params(fresh).items():
    np.testing.assert_array_equal(value, start[key], key)


def test_load_names_the_path(fresh, tmp_path):
  with pytest.raises(UserError, match='run.from_checkpoint.*nowhere'):
    loading.load(fresh, tmp_path / 'nowhere')
  with pytest.raises(UserError, match='written to the end'):
    loading.load(fresh, write(tmp_path / 'x', ARRAYS, done=False))
