"""The script for Slurm, with a real Ray of one head and one worker; `srun` and `scontrol` are stand-ins."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
from helpers import lab, orphans, rays
from ruamel.yaml import YAML

from vid2act_plugin.envs import suites

pytest.importorskip('ray', reason='Ray is not installed')
SCRIPT = pathlib.Path(__file__).parents[2] / 'configs' / 'ablations' / 'slurm.sh'
SRUN = """#!/bin/bash
[ "$1" = --kill-on-bad-exit=1 ] && shift
for i in 0 1; do SLURM_PROCID=$i "$@" & done
trap 'kill $(jobs -p)' TERM
while [ "$(jobs -rp)" ]; do wait -n || kill $(jobs -rp); done
"""


@pytest.fixture
def environ(tmp_path):
  """Return an environment in which Slurm's programs start two nodes on this machine."""
  (tmp_path / 'bin').mkdir()
  for name, text in (('srun', SRUN), ('scontrol', f'#!/bin/sh\necho {socket.gethostname()}\n')):
    (tmp_path / 'bin' / name).write_text(text)
    (tmp_path / 'bin' / name).chmod(0o755)
  with rays.home():
    yield {
        **os.environ, 'PATH': f"{tmp_path / 'bin'}:{os.environ['PATH']}", 'VENV': sys.prefix, 'PORT': str(rays.port()),
        'SLURM_JOB_NODELIST': 'any', 'SLURM_JOB_NUM_NODES': '2', 'PYTHONUNBUFFERED': '1'}


def test_a_job_whose_time_is_over_lets_its_runs_save(environ, tmp_path):
  """Slurm sends its script SIGTERM some minutes before the end; nothing of Ray is left then."""
  shutil.copy(lab.__file__, tmp_path / 'lab.py')
  with open(tmp_path / 'matrix.yaml', 'w') as file:
    YAML().dump(dict(
        configs=['gymnasium', 'quickstart', {
            'random_agent': True, 'run.steps': 20000, 'run.eval_eps': 1, 'run.save_every': 1, 'run.debug': True,
            'logger.outputs': ['jsonl'], 'env.gymnasium.size': [24, 24]}],
        variants={'stock': []}, tasks=[lab.TASK], seeds=[0], against='stock'), file)
  run, log = tmp_path / 'out' / 'stock' / suites.filename(lab.TASK) / '0', tmp_path / 'job.txt'
  end = time.monotonic() + 900
  def until(fn):
    while not fn():
      assert job.poll() is None and time.monotonic() < end, log.read_text()
      time.sleep(0.2)
  beginning = contextlib.ExitStack()
  beginning.enter_context(rays.beginning())
  with open(log, 'w') as file:
    job = subprocess.Popen(
        ['bash', SCRIPT, tmp_path / 'matrix.yaml', '--out', tmp_path / 'out'], env=environ, stdout=file,
        stderr=subprocess.STDOUT, cwd=tmp_path)
  try:
    with beginning:
      until(lambda: 'Ray: 2 nodes' in log.read_text())
    until(lambda: (run / 'metrics.jsonl').exists() and (run / 'metrics.jsonl').read_text())
    children = orphans.descendants(job.pid)
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=300) == 130, log.read_text()
    assert orphans.gone(children, 60)
  finally:
    for process in [*orphans.descendants(job.pid), job] if job.poll() is None else []:
      process.kill()
  text = log.read_text()
  assert 'Ray: 2 nodes' in text and 'Stopped: what ran has saved' in text
  assert 'Stopped and saved' in (run / 'log.txt').read_text()
