"""One large run over several devices: the same numbers as on one."""

import concurrent.futures
import json

import numpy as np
import pytest
from helpers import rays
from helpers.commands import command
from safetensors.numpy import load_file

PRETRAIN = ('--configs', 'vid2act', 'metaworld', 'quickstart')
SETTINGS = ('--script', 'pretrain', '--vid2act.pretrain.updates', '5', '--vid2act.pretrain.batch_size', '8',
            '--vid2act.pretrain.log_every', '1', '--jax.compute_dtype', 'float32')


def pretrained(tiny, logdir, *more):
  """Return the losses of all updates and the parameters of a teacher."""
  status, text, _ = command(*PRETRAIN, tiny, *SETTINGS, '--logdir', logdir, *more)
  assert status == 0, text[-3000:]
  rows = [json.loads(x) for x in (logdir / 'metrics.jsonl').read_text().splitlines()]
  losses = [{k: v for k, v in row.items() if '/loss/' in k or k == 'report/openloop_error'} for row in rows]
  return [x for x in losses if x], load_file(logdir / 'teacher' / 'teacher.safetensors'), text


@pytest.fixture(scope='module')
def one(tiny, tmp_path_factory):
  return pretrained(tiny, tmp_path_factory.mktemp('one') / 'run')


def equal(one, two):
  assert len(one[0]) == len(two[0]) >= 5
  for a, b in zip(one[0], two[0]):
    assert a.keys() == b.keys() and a
    np.testing.assert_allclose([a[k] for k in a], [b[k] for k in a], rtol=1e-3, atol=1e-5)
  assert one[1].keys() == two[1].keys()
  far = {k: float(np.abs(v.astype(np.float64) - two[1][k].astype(np.float64)).max()) for k, v in one[1].items()}
  assert max(far.values()) < 1e-4, sorted(far.items(), key=lambda x: -x[1])[:5]


def test_pretraining_on_eight_devices_is_that_on_one(one, tiny, tmp_path):
  """Up to what float32 rounds when it sums in another order."""
  devices = [str(i) for i in range(8)]
  eight = pretrained(tiny, tmp_path / 'eight', '--jax.mock_devices', '8', '--jax.train_devices', *devices)
  assert 'JAX devices (8)' in eight[2]
  equal(one, eight)


def test_pretraining_in_two_processes_is_that_in_one(one, tiny, tmp_path):
  """Each sees half of every batch, and the first one alone writes bundle, checkpoint, logs and pictures."""
  out, address = tmp_path / 'two', f'127.0.0.1:{rays.port()}'
  more = '--jax.num_processes', '2', '--jax.coordinator_address', address
  with concurrent.futures.ThreadPoolExecutor() as pool:
    other = pool.submit(
        command, *PRETRAIN, tiny, *SETTINGS, '--logdir', out, *more, '--jax.process_id', '1')
    two = pretrained(tiny, out, *more, '--jax.process_id', '0')
    status, text, _ = other.result()
  assert status == 0, text[-3000:]
  assert 'JAX multi-host initialized: (0) 0 / 2' in two[2] and '(1) 1 / 2' in text
  equal(one, two)
  assert {x.name for x in (out / 'process-1').rglob('*') if x.is_file()} == {'config.yaml', '.lock'}
  assert len([*(out / 'ckpt').glob('*/done')]) == 1 and (out / 'openloop.gif').exists()
