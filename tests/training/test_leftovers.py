"""What a crash or a stranger leaves in a logdir: said, refused or made again, never a traceback."""

import json
import pickle
import types

import elements
import embodied
import numpy as np
import pytest
from helpers.foreign import play, write_v3

from vid2act_plugin.agent import acting, build, usefulness
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.training import chunks, curves, resume, scores, summary
from vid2act_plugin.training import train as loop

JUNK = [b'', b'{', b'null', b'[]', b'"x"', b'\x80\xff\0', b'[' * 10 ** 5, b'{"hash": 3}']


def replay(folder, capacity=None):
  return embodied.replay.Replay(4, capacity, directory=elements.Path(folder), save_wait=True)


@pytest.fixture
def chain(tmp_path):
  """A replay of five chunks of five steps each, and their names."""
  write_v3(tmp_path / 'replay', [[play(25)]])
  made = chunks.Chunks(replay(tmp_path / 'replay'))
  made.load(None)
  return tmp_path / 'replay', made.save()


def test_a_whole_replay_needs_no_word(chain, capsys):
  folder, names = chain
  assert len(names) == 5 and pickle.loads(pickle.dumps(names)) == names
  again = chunks.Chunks(replay(folder))
  again.load(names)
  assert len(again.replay) == 22 and again.save() == names
  again = chunks.Chunks(replay(folder, 8))
  again.load(names)  # There is no room for all.
  assert capsys.readouterr().out == '' and len(again.replay) == 8


@pytest.mark.parametrize('lost', [[0], [2, 3], range(5)])
def test_chunks_that_are_gone_are_missed(chain, lost, capsys):
  folder, names = chain
  for i in lost:
    (folder / names[i]).unlink()
  again = chunks.Chunks(replay(folder))
  again.load(names)
  text = capsys.readouterr().out
  assert f'Note: {len(lost)} files of the replay {folder} are missing' in text
  assert names[lost[0]] in text and f'without their {5 * len(lost)} steps' in text
  assert len(again.save()) == 5 - len(lost)
  chunks.Chunks(replay(folder)).load(None)  # That of an earlier version names none.
  assert capsys.readouterr().out == ''


def test_numbers_of_episodes_that_the_checkpoint_does_not_know_are_not_given_again(chain, tmp_path):
  """A run that was killed has them in its replay, whoever's loop it was; what they earned is not known."""
  made = replay(tmp_path / 'replay/numbered')
  for step in range(30):
    made.add(dict(x=np.float32(step), episode=np.int32(1 + step // 6)))
  made.save()
  ledger = usefulness.Ledger()
  inner = types.SimpleNamespace(logdir=elements.Path(tmp_path), load=lambda data: None)
  agent = types.SimpleNamespace(agent=inner, ledger=ledger, recall=lambda data: None, imitates=True)
  for gained in (1.0, 0.0):
    ledger.end(ledger.begin(0), gained)
  known = ledger.merit()
  acting.Acting.load(agent, {})
  assert ledger.begin(usefulness.POLICY) == 6 and ledger.merit().tolist() == [*known, 0, 0, 0, 0]
  assert (len(ledger.earned(usefulness.POLICY)), (ledger.by[1:] == usefulness.POLICY).sum()) == (0, 1)
  acting.Acting.load(agent, {})
  assert ledger.begin(0) == 7
  path, = (tmp_path / 'replay/numbered').iterdir()
  path.write_bytes(path.read_bytes()[:100])  # The replay does without it as well.
  assert acting.numbered(tmp_path / 'replay') == acting.numbered(tmp_path / 'none') == 0


@pytest.mark.parametrize('index', [0, 2, 4])
def test_chunks_that_are_damaged_are_told_in_one_line(chain, index, capsys):
  folder, names = chain
  content = (folder / names[index]).read_bytes()
  (folder / names[index]).write_bytes(content[:200] + b'????' + content[204:])
  again = chunks.Chunks(replay(folder))
  again.load(names)
  line, rest = capsys.readouterr().out.split('\n')
  assert '1 files' in line and 'cannot be read' in line and names[index] in line and not rest


def test_what_is_no_chunk_is_named(chain):
  folder, names = chain
  (folder / 'notes.npz').write_bytes(b'mine')
  with pytest.raises(UserError, match='notes.npz is no chunk'):
    chunks.Chunks(replay(folder)).load(names)
  (folder / 'notes.npz').unlink()
  (folder / names[0]).rename(folder / names[0].replace('-5.', '-9.'))
  with pytest.raises(UserError, match='has not the number of steps'):
    chunks.Chunks(replay(folder)).load(names)


def test_metrics_are_read_as_far_as_they_are_rows(tmp_path):
  rows = [{'step': 10, 'eval/score': 1, 'train/relevance/$a$\x1b_': 0.5, 'train/loss/image': 1e300},
          {'step': 'x', 'eval/score': 2}, {'step': 2 ** 60}, {'step': True}, {'eval/score': 3},
          {'step': 20, 'eval/score': 'x', 'episode/score': float('nan'), 'list': [1]}]
  lines = [json.dumps(x).encode() for x in rows]
  for content in JUNK:
    (tmp_path / 'metrics.jsonl').write_bytes(b'\n'.join([*lines[:3], content, *lines[3:], content]))
    found = curves.metrics(tmp_path)
    assert [x['step'] for x in found] == [10, 20] and 'list' not in found[1]
    assert scores.points(found, 'eval/score') == ([10], [1.0])
  curves.curves(tmp_path)
  assert [x.name for x in tmp_path.glob('c*')] == ['curves.png']


def test_what_is_torn_takes_nothing_else_with_it(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('{"step": 1}\n{"step": 2, "ev')
  (tmp_path / 'scores.jsonl').write_text('')
  torn = f"20240101T000000F000000-{'a' * 22}-{'b' * 22}-6.npz"
  (tmp_path / 'replay').mkdir()
  for name in (torn, 'mine.npz'):
    (tmp_path / 'replay' / name).write_bytes(b'PK')
  cp = types.SimpleNamespace(save=lambda: None)
  assert resume.load_or_save(cp, elements.Path(tmp_path))
  with open(tmp_path / 'metrics.jsonl', 'a') as file:
    file.write('{"step": 3}\n')
  assert [x['step'] for x in curves.metrics(tmp_path)] == [1, 3]
  assert (tmp_path / 'scores.jsonl').read_text() == ''
  assert [x.name for x in (tmp_path / 'replay').iterdir()] == ['mine.npz']


def test_summaries_are_whole_or_none(tmp_path):
  assert summary.read(tmp_path) is None
  path = summary.write(tmp_path, dict(env_steps=5, task='a'))
  assert summary.read(tmp_path) == dict(env_steps=5, task='a') and path.name == 'summary.json'
  for content in (*JUNK, b'{"env_steps": "5"}', b'{"env_steps": NaN}'):
    path.write_bytes(content)
    assert summary.read(tmp_path) is None
  assert [x.name for x in tmp_path.iterdir()] == ['summary.json']


def pin(folder, digest='a' * 64):
  build._pin(folder, types.SimpleNamespace(hash=digest, manifest=dict(sources=['s'])))


@pytest.mark.parametrize('content', JUNK)
def test_a_run_whose_teacher_is_not_known(content, tmp_path):
  """Without a checkpoint nothing was learned yet; with one, only the user knows."""
  (tmp_path / 'teacher.json').write_bytes(content)
  pin(tmp_path, 'b' * 64)
  pin(tmp_path)
  assert json.loads((tmp_path / 'teacher.json').read_text())['hash'] == 'a' * 64
  cp = elements.Checkpoint(elements.Path(tmp_path) / 'ckpt')
  cp.agent = elements.Counter()
  cp.save()
  pin(tmp_path)
  with pytest.raises(UserError, match='started with the teacher aaaaaaaaaaaa of sources'):
    pin(tmp_path, 'b' * 64)
  (tmp_path / 'teacher.json').write_bytes(content)
  with pytest.raises(UserError, match='teacher.json cannot be read .*delete it if that is aaaa'):
    pin(tmp_path)
  assert (tmp_path / 'teacher.json').read_bytes() == content
  (tmp_path / 'teacher.json').unlink()  # The cure.
  pin(tmp_path)
  assert json.loads((tmp_path / 'teacher.json').read_text())['hash'] == 'a' * 64


@pytest.fixture
def run(configure, tmp_path):
  """Return a function that trains to a step with an agent that acts at random."""
  keys = 'batch_size', 'batch_length', 'report_length', 'replay_context'

  def fn(steps):
    config = configure('metaworld', **{
        'logdir': str(tmp_path), 'random_agent': True, 'logger.outputs': ['jsonl'],
        'run': {'debug': True, 'eval_every': 1000, 'eval_eps': 1, 'log_every': 0, 'steps': steps},
        'replay.size': 1e5, 'env.metaworld': {'size': [16, 16], 'limit': 6, 'render': 'fast'}})
    loop.train_eval(config, elements.Config(
        **config.run, logdir=config.logdir, **{k: config[k] for k in keys}))
  return fn


def test_a_run_says_what_it_lacks_and_refuses_what_is_damaged(run, tmp_path, capsys):
  run(20)
  folder = tmp_path / 'ckpt' / (tmp_path / 'ckpt/latest').read_text()
  assert set(json.loads((folder / 'sha256.json').read_text())) == {
      f'{x}.pkl' for x in ('agent', 'step', 'replay', 'place')}
  for path in (tmp_path / 'replay').glob('*.npz'):
    path.unlink()
  with open(tmp_path / 'metrics.jsonl', 'ab') as file:
    file.write(b'\xff\0{"step": ')
  (tmp_path / 'summary.json').write_text('{')
  capsys.readouterr()
  run(40)
  text = capsys.readouterr().out
  assert 'Note: 1 files of the replay' in text and 'are missing' in text
  assert summary.read(tmp_path)['env_steps'] == 40
  assert [x['step'] for x in curves.metrics(tmp_path)][-1] == 40
  folder = tmp_path / 'ckpt' / (tmp_path / 'ckpt/latest').read_text()
  before = {x: x.read_bytes() for x in tmp_path.glob('*.json*')}
  content = bytearray((folder / 'place.pkl').read_bytes())
  content[len(content) // 2] ^= 1
  (folder / 'place.pkl').write_bytes(content)
  with pytest.raises(UserError, match='place.pkl is damaged: it is not as it was written'):
    run(60)
  assert before == {x: x.read_bytes() for x in tmp_path.glob('*.json*')}
