"""A matrix over the nodes of a real Ray cluster, one of which dies, and what is refused before."""

import contextlib
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest
from helpers import lab, orphans, rays
from ruamel.yaml import YAML

from vid2act_plugin import cli
from vid2act_plugin.common import cluster as clusters
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.host import checkpoints
from vid2act_plugin.training import scores

ray = pytest.importorskip('ray', reason='Ray is not installed')
RUN = {
    'random_agent': True, 'run.steps': 120, 'run.eval_every': 60, 'run.eval_eps': 2, 'run.save_every': 1,
    'run.debug': True, 'logger.outputs': ['jsonl'], 'env.gymnasium.size': [24, 24]}


@pytest.fixture(scope='module')
def cluster():
  """Two nodes with a CPU each, of which the second may be lost."""
  from ray.cluster_utils import Cluster
  usual = dict(num_cpus=1, include_dashboard=False, object_store_memory=2 ** 27)
  def add(**more):
    with rays.beginning():
      return found.add_node(**{**usual, **more})
  with rays.home():
    found = Cluster()
    found.add = add
    found.add()
    yield found
    found.shutdown()


@pytest.fixture
def write(tmp_path, monkeypatch):
  """Return a function that writes an ablation of small runs into a folder, with some of its keys changed.

  Their environment is a module of the folder that is the present one.
  """
  monkeypatch.chdir(tmp_path)
  shutil.copy(lab.__file__, tmp_path / 'lab.py')
  def fn(more=(), seconds=0, **changes):
    content = dict(
        configs=['gymnasium', 'quickstart', {**RUN, 'env.gymnasium.make': f'{{"seconds": {seconds}}}', **dict(more)}],
        variants={'stock': []}, tasks=[lab.TASK], seeds=[0], against='stock')
    with open(tmp_path / 'matrix.yaml', 'w') as file:
      YAML().dump({**content, **changes}, file)
    return tmp_path / 'matrix.yaml'
  return fn


def command(plan, out, *more):
  return [sys.executable, '-m', 'vid2act_plugin.cli', 'ablate', str(plan), '--out', str(out), *map(str, more)]


@contextlib.contextmanager
def running(*args):
  """Run the command, and end it with the block if it goes on then."""
  process = subprocess.Popen(
      command(*args), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={
          **os.environ, 'PYTHONUNBUFFERED': '1'})
  try:
    yield process
  finally:
    process.kill()
    process.wait()
    process.stdout.close()


def raylet(node):
  return psutil.Process(node.all_processes['raylet'][0].process.pid)


def commands(node):
  """Return `{logdir: process}` of the runs on a node."""
  found = {}
  for process in raylet(node).children(recursive=True):
    with contextlib.suppress(psutil.Error):
      words = process.cmdline()
      if 'dreamerv3' in words and '--logdir' in words:
        found[pathlib.Path(words[words.index('--logdir') + 1])] = process
  return found


def until(fn, process, seconds=600):
  """Return what `fn` returns as soon as it is true."""
  end = time.monotonic() + seconds
  while not (found := fn()):
    assert process.poll() is None, process.stdout.read()
    assert time.monotonic() < end
    time.sleep(0.05)
  return found


def begun(node):
  """Return a run on a node that has saved after some of its steps."""
  for folder in commands(node):
    latest = checkpoints.latest(folder)
    with contextlib.suppress(UserError):
      if latest and checkpoints.whole(latest) and checkpoints.step(latest) > 0:
        return folder
  return None


def results(out):
  """Return what evaluations showed, `{(metric, method, seed): (xs, ys)}`, of an ablation.

  Training's own episodes are there once at most: what was not logged yet died with its run.
  """
  found = scores.read([out / 'results' / 'scores'])
  for row in found.pop('train_score'):
    assert sorted({*row['xs']}) == row['xs']
  return {
      (metric, x['method'], x['seed']): (x['xs'], x['ys']) for metric, rows in found.items() for x in rows}


def test_a_matrix_outlives_one_of_its_nodes(cluster, write, tmp_path):
  """Everything of the node is killed at once, as by a loss of power: its run is continued elsewhere."""
  plan = write(seeds=[0, 1], seconds=0.1)
  lost, out = cluster.add(), tmp_path / 'over'
  with running(plan, out, '--ray', cluster.address) as process:
    victim = until(lambda: begun(lost), process)
    until(lambda: commands(cluster.head_node), process)
    parts = [raylet(lost), *raylet(lost).children(recursive=True)]
    for part in parts:
      with contextlib.suppress(psutil.NoSuchProcess):
        part.kill()
    cluster.remove_node(lost, allow_graceful=False)
    text = process.communicate(timeout=900)[0]
  assert process.returncode == 0, text
  assert '2 of 2 runs' in text and 'Ray: 2 nodes with 2 CPUs' in text
  log = (victim / 'log.txt').read_text()
  assert 'Loaded checkpoint' in log and log.count('Logdir:') == 2, log[-3000:]
  assert sorted(x['seed'] for x in json.loads((out / 'results' / 'runs.json').read_text())) == [0, 1]
  cli.main(['ablate', str(write(seeds=[0, 1])), '--out', str(tmp_path / 'here')])
  assert results(out) == results(tmp_path / 'here') and len(results(out)) == 2 * 2


def test_runs_save_when_the_command_is_killed(cluster, write, tmp_path):
  """Those that still wait for a place never begin. An end that the command knows of: test_slurm.py."""
  plan, out = write({'run.steps': 5000}, seeds=[0, 1, 2], seconds=0.1), tmp_path / 'out'
  with running(plan, out, '--ray', cluster.address) as process:
    run = until(lambda: begun(cluster.head_node), process)
    left = list(commands(cluster.head_node).values())
    process.send_signal(signal.SIGKILL)
    text = process.communicate(timeout=300)[0]
  assert process.returncode == -signal.SIGKILL and left, text
  assert orphans.gone(left, 120)
  assert 'Stopped and saved' in (run / 'log.txt').read_text()
  assert [x.parent.name for x in out.glob('stock/*/*/log.txt')] == [run.name]


def test_what_cannot_be_is_refused_before_anything_starts(cluster, write, tmp_path, monkeypatch):
  """By one sentence each, with a cure; nothing of a run is there after it."""
  plan, out = write(), tmp_path / 'out'
  quiet, speaks = socket.create_server(('127.0.0.1', 0)), http.server.HTTPServer(
      ('127.0.0.1', 0), http.server.BaseHTTPRequestHandler)
  threading.Thread(target=speaks.serve_forever, daemon=True).start()
  place, usual = cluster.address, clusters.ANSWER
  for words, text in (
      (['--ray', '127.0.0.1:1'], "No Ray answers at '127.0.0.1:1'"),
      (['--ray', f'127.0.0.1:{quiet.getsockname()[1]}'], 'No Ray answers at .*TimeoutError'),
      (['--ray', f'127.0.0.1:{speaks.server_port}'], 'No Ray answers at .*is not Ray'),
      (['--ray', 'a b'], "No Ray answers at 'a b' .*HOST:PORT"),
      (['--ray', 'ray://127.0.0.1:10001'], "No Ray answers at 'ray:"),
      (['--ray', place, '--gpus', '2'], '2 GPUs .*--gpus.* but the nodes have 1 CPUs and 0 GPUs'),
      (['--ray', place, '--cpus', '3'], 'is to take 3 CPUs .*1 CPUs'),
      (['--ray', place, '--gpus', '1.5'], '--gpus is 1.5; give a whole number, or a fraction'),
      (['--ray', place, '--cpus', '-1'], '--cpus is -1'), (['--ray', place, '--cpus', 'nan'], '--cpus is nan'),
      (['--ray', place, '--jobs', '2'], '--jobs is 2'), (['--gpus', '1'], '--gpus is 1, .*add --ray')):
    monkeypatch.setattr(clusters, 'ANSWER', 0.5 if 'Timeout' in text else usual)
    with pytest.raises(UserError, match=text):
      cli.main(command(plan, out, *words)[3:])
    assert not (out / 'stock').exists() and not [*out.glob('.seen-*')]
  quiet.close()
  speaks.shutdown()
  speaks.server_close()


def test_a_node_that_does_not_share_the_folders(cluster, write, tmp_path):
  """Its cache is another one, as where each machine has a home of its own; or its view of `--out` is."""
  home = tmp_path / 'home'
  ours = {'vid2act.cache': '~/elsewhere', 'vid2act.sources': ['metaworld_reach'], 'random_agent': False}
  plan = write(variants={'ours': ['vid2act', ours], 'stock': []})  # Who acts at random needs no cache.
  lost = cluster.add(env_vars={'HOME': str(home)})
  try:
    with pytest.raises(UserError, match='does not see ~/elsewhere as this one does; .*vid2act.cache'):
      cli.main(command(plan, tmp_path / 'out', '--ray', cluster.address)[3:])
  finally:
    cluster.remove_node(lost)
  assert not (tmp_path / 'out' / 'prepared').exists()
