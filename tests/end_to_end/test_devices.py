"""One large run over several devices: the same numbers as on one."""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from helpers import rays
from helpers.commands import command, guarded
from safetensors.numpy import load_file

from bench.timings import agents
from vid2act_plugin.host import checkpoints

RUN = ('--configs', 'vid2act', 'metaworld', 'quickstart')
SETTINGS = ('--script', 'pretrain', '--vid2act.pretrain.updates', '5', '--vid2act.pretrain.batch_size', '8',
            '--vid2act.pretrain.log_every', '1', '--jax.compute_dtype', 'float32')


def losses(logdir, *more):
  """Return what the log has of losses, and of what begins with one of `more`."""
  rows = [json.loads(x) for x in (logdir / 'metrics.jsonl').read_text().splitlines()]
  chosen = lambda k: '/loss/' in k or k == 'report/openloop_error' or k.startswith(more)
  found = [{k: v for k, v in row.items() if chosen(k) and not isinstance(v, list)} for row in rows]
  return [x for x in found if x]


@pytest.fixture(scope='module')
def one(tiny, tmp_path_factory):
  return pretrained(tiny, tmp_path_factory.mktemp('one') / 'run')


def pretrained(tiny, logdir, *more):
  """Return the losses of all updates, the parameters of a teacher, the logdir and what was printed."""
  status, text = command(*RUN, tiny, *SETTINGS, '--logdir', logdir, *more)
  assert status == 0, text[-3000:]
  return losses(logdir), load_file(logdir / 'teacher' / 'teacher.safetensors'), logdir, text


def same(one, two):
  assert len(one) == len(two) >= 5
  for a, b in zip(one, two):
    assert a.keys() == b.keys() and a
    np.testing.assert_allclose([a[k] for k in a], [b[k] for k in a], rtol=1e-3, atol=1e-5)


def equal(one, two):
  same(one[0], two[0])
  assert one[1].keys() == two[1].keys()
  far = {k: float(np.abs(v.astype(np.float64) - two[1][k].astype(np.float64)).max()) for k, v in one[1].items()}
  assert max(far.values()) < 1e-4, sorted(far.items(), key=lambda x: -x[1])[:5]


def test_pretraining_on_eight_devices_is_that_on_one(one, tiny, tmp_path):
  """Up to what float32 rounds when it sums in another order."""
  devices = [str(i) for i in range(8)]
  eight = pretrained(tiny, tmp_path / 'eight', '--jax.mock_devices', '8', '--jax.train_devices', *devices)
  assert 'JAX devices (8)' in eight[3]
  equal(one, eight)


def test_the_policy_on_other_devices_than_the_teacher(one, tiny, tmp_path):
  """Which teachers that act beside it, as the published code has them, do not know of."""
  status, text = command(
      *RUN, 'vid2act_published', tiny, '--logdir', tmp_path, '--vid2act.teacher', one[2] / 'teacher', '--run.steps', '20',
      '--run.eval_every', '100', '--jax.mock_devices', '2', '--jax.policy_devices', '0', '--jax.train_devices', '1')
  assert status == 0, text[-3000:]
  assert 'JAX devices (2)' in text and 'Evaluation' in text


def together(run, out, *args):
  """Return what `run(out, *args)` returns in each of two processes of one run."""
  more = '--jax.num_processes', '2', '--jax.coordinator_address', f'127.0.0.1:{rays.port()}', '--jax.process_id'
  with concurrent.futures.ThreadPoolExecutor() as pool:
    calls = [pool.submit(run, *args, '--logdir', out, *more, str(i)) for i in range(2)]
    return [x.result() for x in calls]


def test_pretraining_in_two_processes_is_that_in_one(one, tiny, tmp_path):
  """Each sees half of every batch, and the first one alone writes bundle, checkpoint, logs and pictures."""
  out = tmp_path / 'two'
  both = together(command, out, *RUN, tiny, *SETTINGS)
  for i, (status, text) in enumerate(both):
    assert status == 0 and f'JAX multi-host initialized: ({i}) {i} / 2' in text, text[-3000:]
  equal(one, (losses(out), load_file(out / 'teacher' / 'teacher.safetensors')))
  assert {x.name for x in (out / 'process-1').rglob('*') if x.is_file()} == {'config.yaml', '.lock'}
  assert len([*(out / 'ckpt').glob('*/done')]) == 1 and (out / 'openloop.gif').exists()


def test_an_agent_in_two_processes_is_that_in_one(configure, tmp_path):
  """With all parts: what it does, learns, tells the replay, reports and saves."""
  config = configure('vid2act', 'metaworld', **{
      # Means over bins up to 5e8, as the host has them, are nothing but rounding before they are learned.
      'agent.rewhead.output': 'symlog_mse', 'agent.value.output': 'symlog_mse',
      'batch_size': 4, 'jax.platform': 'cpu', 'vid2act.behaviours.frames': 2, 'agent.vid2act.imitate': 1.0,
      'agent.vid2act.execute': {'start': 1.0, 'end': 1.0}})
  config = config.update({'vid2act.teacher': str(agents.teacher(config, 2, memory=16))})
  config.save(tmp_path / 'config.yaml')

  def run(*flags):
    out = tmp_path / f"made{'-'.join(flags[-1:])}.npz"
    made = subprocess.run(
        [sys.executable, '-m', 'helpers.together', tmp_path / 'config.yaml', out, *map(str, flags)],
        capture_output=True, text=True, env=guarded(*sys.path))
    assert made.returncode == 0, made.stdout[-1000:] + made.stderr[-3000:]
    return dict(np.load(out)) if out.exists() else None

  one, (two, _) = run(), together(run, tmp_path / 'run')
  assert one.keys() == two.keys()
  far = {k: float(np.abs(v.astype(np.float64) - two[k]).max() / (np.abs(v).max() + 1e-2)) for k, v in one.items()
         if not k.endswith('relevance/logit/bias')}  # No softmax changes with it: its gradient is rounding.
  assert max(far.values()) < 5e-3, sorted(far.items(), key=lambda x: -x[1])[:9]  # The openloop image is of bytes.
  assert any('imitate' in k for k in one) and any(k.startswith('replay/') for k in one)


def test_training_in_two_processes(one, first, tiny, tmp_path):
  """From another run's weights; a signal to the one that follows lets the first save, and the same commands continue.

  The first one alone keeps the run.
  """
  out, ended = tmp_path / 'run', threading.Event()
  args = (*RUN, tiny, '--vid2act.teacher', one[2] / 'teacher', '--run.from_checkpoint', first[0], '--run.log_every', '0',
          '--agent.vid2act.guide', 'True')

  def stop():
    while not ended.wait(.2):
      folder, log = out / 'process-1', out / 'metrics.jsonl'
      if folder.exists() and log.exists() and '"step": 10' in log.read_text():
        os.kill(int((folder / '.lock').read_text().split()[1]), signal.SIGTERM)
        return

  waiting = threading.Thread(target=stop)
  waiting.start()
  both = together(command, out, *args, '--run.steps', '100')
  ended.set()
  waiting.join()
  assert [x[0] for x in both] == [143, 143], both[0][1][-3000:] + both[1][1][-3000:]
  saved = checkpoints.step(checkpoints.newest(out))
  assert f'Stopped and saved after step {saved} of 100' in both[0][1] and 10 <= saved < 100
  before = checkpoints.last(out)['counters']['updates']
  both = together(command, out, *args, '--run.steps', str(saved + 60))
  assert [x[0] for x in both] == [0, 0], both[0][1][-3000:] + both[1][1][-3000:]
  assert checkpoints.step(checkpoints.newest(out)) >= saved + 60
  # One in four steps, once 32 sequences of 8 steps were added since this start.
  assert checkpoints.last(out)['counters']['updates'] >= before + 3
  found = losses(out, 'eval/score', 'policy/score', 'train/execute/')
  for key, count in (('train/loss/policy', 2), ('eval/score', 2), ('policy/score', 2), ('train/execute/probability', 2)):
    assert sum(key in x for x in found) >= count, key
  other = {x.name for x in (out / 'process-1').rglob('*') if x.is_file()}
  assert other == {'config.yaml', '.lock', 'teacher.json'}
