"""Killed at any time, or started twice: work continues, and ends as if nothing had been.

The short form of `bench/robustness/chaos.py`.
"""

import collections
import json
import signal
import subprocess
import sys
import time
from functools import partial as bind

import elements
import numpy as np
import pytest

from bench.robustness import chaos, kills, remains, stages
from vid2act_plugin.common import files, lock
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.host import checkpoints
from vid2act_plugin.sources import recording
from vid2act_plugin.teacher.bundle import MODEL, Bundle
from vid2act_plugin.training import clone, pretrain, resume, train


def test_killed_at_any_time(tmp_path):
  each = chaos.torment(['collect', 'import', 'export'], 3, 216, 2, tmp_path)
  counts = sum(each.values(), collections.Counter())
  assert [counts[x] for x in chaos.COUNTS[:6]] == [3, 3, 0, 0, 0, 0], each
  assert 0 < counts['alone'] < 3 and counts['back']
  assert not list(tmp_path.glob('*.log'))


@pytest.fixture
def made(tmp_path):
  """A recording and a bundle beside each other, and what of them has to stay."""
  rng, t = np.random.default_rng(0), np.arange(3)
  folder = tmp_path / 'made'
  entries = [recording.write_episode(folder / 'door', i, dict(
      image=rng.integers(0, 256, (3, 16, 16, 3), np.uint8), action=np.zeros((3, 2), np.float32),
      reward=np.zeros(3, np.float32), success=np.zeros(3, np.float32), is_first=t == 0,
      is_last=t == 2, is_terminal=t < 0)) for i in range(2)]
  recording.write_manifest(folder / 'door', dict(
      source='door', suite='x', task='door', behaviour={}, seed=0, env={}, versions={}, act_size=2,
      episodes=entries))
  stages.save(folder / 'teacher', 1)
  return folder, remains.durable(folder)


def test_what_is_lost_torn_or_wrong_is_seen(made):
  folder, before = made
  assert set(before) == {
      'door/episode-000000.npz', 'door/episode-000001.npz', 'teacher/manifest.json'}
  assert not remains.leftovers(folder) and not remains.wrong(folder)
  for name in ('episode-000002.npz', 'x.1.part', '.hidden'):
    (folder / 'door' / name).write_bytes(b'')
  (folder / 'ckpt' / 'early').mkdir(parents=True)
  assert len(remains.leftovers(folder)) == 4
  with open(folder / 'door/episode-000001.npz', 'ab') as file:
    file.write(b'more')
  (folder / 'teacher/memory.safetensors').unlink()
  assert remains.lost(before, remains.durable(folder)) == {
      'door/episode-000001.npz', 'teacher/manifest.json'}
  assert len(remains.wrong(folder)) == 2
  older, newer = {'ckpt': 3}, {'ckpt': 5}
  assert remains.lost(newer, older) and not remains.lost(older, newer)


def test_two_collections_at_once(tmp_path):
  command = [sys.executable, *map(str, stages.collect(tmp_path, tmp_path / 'out'))]
  start = lambda: subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
  first = start()
  until = time.time() + 60
  while not lock.owner(tmp_path / 'out'):
    assert first.poll() is None and time.time() < until
    time.sleep(0.02)
  first.send_signal(signal.SIGSTOP)  # It keeps the lock until the second one has asked for it.
  second = start()
  waited = next(x for x in second.stdout if 'waiting' in x)
  first.send_signal(signal.SIGCONT)
  outputs, ended = [first.communicate()[0]], time.time()
  outputs.append(waited + second.communicate()[0])
  assert first.returncode == second.returncode == 0
  assert f'waiting for process {first.pid}' in outputs[1] and 'waiting' not in outputs[0]
  assert '16/16 episodes' in outputs[0] and 'collect:' not in outputs[1]
  files = list((tmp_path / 'out').rglob('episode-*.npz'))
  assert len(files) == 16 and all(x.stat().st_mtime < ended for x in files)


def args(config):
  keys = 'batch_size', 'batch_length', 'report_length', 'replay_context'
  return elements.Config(**config.run, logdir=config.logdir, **{k: config[k] for k in keys})


def test_one_training_in_a_logdir(configure, tmp_path):
  config = configure('metaworld', **{
      'logdir': str(tmp_path), 'random_agent': True, 'run': {
          'steps': 10, 'eval_every': 10, 'eval_eps': 1, 'debug': True},
      'env.metaworld': {'size': [16, 16], 'limit': 6, 'render': 'fast'}})
  with lock.locked(tmp_path):
    for script in (train.train, train.train_eval):
      with pytest.raises(UserError, match=f'{tmp_path} is in use by'):
        script(config, args(config))
  assert [x.name for x in tmp_path.iterdir()] == [lock.FILE]


def test_a_teacher_that_another_run_made_is_reused(made, configure, tmp_path, capsys):
  folder, _ = made
  config = configure('vid2act', 'metaworld', **{
      'logdir': str(tmp_path), 'script': 'pretrain', 'vid2act.sources': [str(folder / 'door')],
      'vid2act.pretrain.updates': 7})
  data = clone.recordings(config)
  agent = json.loads(json.dumps({k: config.agent[k] for k in MODEL}))
  empty = dict(source=np.zeros(0, np.int32))
  def save(**changes):
    Bundle({'dyn/a': np.zeros(3, np.float32)}, empty, dict(
        sources=['door'], act_sizes=[2], actions=True, act_width=16, image=[16, 16, 3], env={},
        agent=agent, recordings=data.key, updates=7, **changes)).save(tmp_path / 'teacher')
  save()
  pretrain.run(config, args(config))
  assert f'reused {tmp_path}/teacher' in capsys.readouterr().out
  made = lambda config: pretrain._made(tmp_path / 'teacher', data, config)
  assert made(config)
  assert not made(config.update({'vid2act.pretrain.updates': 8}))
  assert not made(config.update({'vid2act.pretrain.actions': False}))
  assert not made(config.update({r'.*\.rssm': {'deter': 32}}))
  (folder / 'door/episode-000001.npz').unlink()


@pytest.fixture
def saved(tmp_path):
  """A checkpoint at step 3 and one at step 5, as a kill between them leaves them behind."""
  cp = elements.Checkpoint(tmp_path / 'ckpt', keep=None)
  cp.step = cp.agent = cp.replay = elements.Counter(3)
  cp.save()
  cp.step.increment(2)
  cp.save()
  return cp


@pytest.mark.parametrize('times', ['12', '21'])
@pytest.mark.parametrize('there', [True, False])
def test_a_name_that_was_not_written(times, there, saved, tmp_path):
  """The checkpoint of the greatest step is the newest, whatever the clock said."""
  for step, day in zip((3, 5), times):
    folder = next(x for x in (tmp_path / 'ckpt').glob('20*') if checkpoints.step(x) == step)
    folder.rename(folder.with_name(f'1999010{day}T000000'))
  (tmp_path / 'ckpt/latest').write_text('') if there else (tmp_path / 'ckpt/latest').unlink()
  saved.step.load(0)
  resume.load_or_save(saved, elements.Path(tmp_path))
  assert saved.step == 5
  assert checkpoints.step(checkpoints.newest(tmp_path)) == 5
  saved.step.increment()
  saved.save()
  assert checkpoints.step(checkpoints.newest(tmp_path)) == 6


def test_a_chunk_that_was_not_written_to_its_end(saved, tmp_path, capsys):
  (tmp_path / 'replay').mkdir()
  whole, torn = (tmp_path / 'replay' / f"2024{i}-{'a' * 22}-{'b' * 22}-9.npz" for i in range(2))
  for path in (whole, torn):
    np.savez(path, x=np.zeros(9))
  torn.write_bytes(torn.read_bytes()[:-9])
  resume.load_or_save(saved, elements.Path(tmp_path))
  assert list(torn.parent.iterdir()) == [whole]
  assert f'Removed {torn}' in capsys.readouterr().out


def test_folders_of_killed_processes_are_removed(tmp_path):
  folder = tmp_path / 'teacher'
  for name in ('.teacher-mine', '.teacher-abcdefgh.part'):
    (tmp_path / name).mkdir()
  with files.temporary(folder) as first:
    assert not (tmp_path / '.teacher-abcdefgh.part').exists()
    with files.temporary(folder) as second:
      assert first.exists() and second.exists()  # Both are in use.
  assert [x.name for x in tmp_path.iterdir()] == ['.teacher-mine']


def test_a_clock_that_is_behind(tmp_path):
  log = tmp_path / 'log'
  code = 'import elements, time; print(time.time()); print(elements.timestamp())'
  found = []
  for back in (0, 10 ** 8):
    assert kills.run(['-c', code], log, back=back) == 0
    seconds, stamp = log.read_text().split()[-2:]
    found.append((float(seconds), int(stamp[:4])))
  assert abs(found[0][0] - found[1][0] - 1e8) < 60 and found[0][1] - found[1][1] in (3, 4)


def test_a_parent_alone_and_what_it_leaves_behind(tmp_path):
  code = ("import subprocess, sys, time; from vid2act_plugin.common import lifeline; "
          "command = [sys.executable, '-c', 'import time; time.sleep(60)']; "
          "subprocess.Popen({}, start_new_session=True); print('up', flush=True); time.sleep(600)")
  def up(log):
    until = time.monotonic() + 60
    while 'up' not in log.read_text():
      assert time.monotonic() < until
      time.sleep(0.05)
  for start, alone, count in (
      ('command', True, 1), ('command', False, 0), ('lifeline.tied(command)', True, 0)):
    log = tmp_path / f'{start}-{alone}'
    assert kills.run(['-c', code.format(start)], log, 1, before=bind(up, log), alone=alone) is None
    assert len(kills.left(log, patience=1)) == count and not kills.marked(log)
