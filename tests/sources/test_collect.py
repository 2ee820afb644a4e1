"""Collection through the real command and the real environment."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from helpers import orphans
from helpers.suites import needs_dmc

from vid2act_plugin.common import parallel
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.sources import collect
from vid2act_plugin.sources import play as recorder
from vid2act_plugin.sources import recording as recordings

SOURCES = ['metaworld_door-close', 'metaworld_reach']


def command(out, *more, count=1):
  flags = ('--out', str(out), '--episodes', '2', '--limit', '20', '--size', '32',
           '--render', 'fast', '--random-share', '0.5', '--workers', str(count))
  return [sys.executable, '-m', 'vid2act_plugin.cli', 'collect', *SOURCES, *flags, *more]


def call(*args, **kwargs):
  return subprocess.run(command(*args, **kwargs), capture_output=True, text=True, timeout=120)


def key(out):
  return recordings.content_key([recordings.load_manifest(out / x) for x in SOURCES])


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  out = tmp_path_factory.mktemp('whole')
  done = call(out)
  assert done.returncode == 0, done.stderr
  assert '2 episodes, 42 steps' in done.stdout
  return out


def test_what_is_recorded(whole):
  for name in SOURCES:
    manifest, episodes = recordings.load(whole / name)
    assert manifest['env']['render'] == 'fast' and manifest['env']['limit'] == 20
    assert manifest['versions'].keys() == {'metaworld', 'mujoco'} and manifest['renderer']
    assert [x['behaviour']['policy'] for x in manifest['episodes']] == ['expert', 'random']
    for episode in episodes:
      assert episode['image'].shape == (21, 32, 32, 3) and episode['image'].std() > 20
      assert (np.abs(np.diff(episode['image'].astype(int), axis=0)).sum((1, 2, 3)) > 0).any()
  first = [recordings.load(whole / x)[1][0]['image'][0] for x in SOURCES]
  assert (first[0] != first[1]).any()


def test_ray_records_the_same_and_leaves_nothing(whole, tmp_path):
  """Without an address, a Ray of this command alone, which runs nothing for others."""
  pytest.importorskip('ray', reason='Ray is not installed')
  process = subprocess.Popen(
      command(tmp_path / 'ray', '--ray', count=0), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
  started = {}
  while process.poll() is None:
    with contextlib.suppress(psutil.Error):
      started |= {x: ' '.join(x.cmdline()) for x in orphans.descendants(process.pid)}
    time.sleep(0.1)
  text = process.stdout.read()
  process.stdout.close()
  assert process.returncode == 0 and key(tmp_path / 'ray') == key(whole), text
  assert orphans.gone(list(started), 60)
  folders = {*re.findall(r'--session_dir=(\S+)/session_', ' '.join(started.values()))}
  assert len(folders) == 1 and not pathlib.Path(folders.pop()).exists()


def test_the_number_of_workers_changes_nothing(whole, tmp_path):
  done = call(tmp_path, count=2)
  assert done.returncode == 0, done.stderr
  assert key(tmp_path) == key(whole)


def test_a_killed_collection_continues(whole, tmp_path):
  process = subprocess.Popen(command(tmp_path), stdout=subprocess.DEVNULL)
  first = tmp_path / SOURCES[0] / recordings.name(0)
  _wait(lambda: recordings.count(first.parent) >= 1)
  workers = orphans.descendants(process.pid)
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert workers and orphans.gone(workers, 10)
  kept = first.stat().st_mtime_ns
  damaged = tmp_path / SOURCES[0] / recordings.name(1)
  damaged.write_bytes(b'torn')
  assert recordings.count(tmp_path / SOURCES[1]) < 2
  done = call(tmp_path)
  assert done.returncode == 0, done.stderr
  assert 'episodes [1] are incomplete' in done.stdout
  assert key(tmp_path) == key(whole)
  assert first.stat().st_mtime_ns == kept


def test_interrupted_by_the_user(tmp_path):
  process = subprocess.Popen(
      command(tmp_path, '--episodes', '200'), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
      text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
  _wait(lambda: recordings.count(tmp_path / SOURCES[0]) >= 1)
  process.send_signal(signal.SIGINT)
  out, err = process.communicate(timeout=20)
  assert process.returncode == 130 and 'Interrupted' in out and 'Traceback' not in err
  recordings.load(tmp_path / SOURCES[0])


def test_nothing_is_overwritten_by_other_settings(whole):
  before = key(whole)
  for flags, words in (
      (('--render', 'full'), ('env.render', 'fast', 'full', '--out')),
      (('--noise', '0.7'), ('behaviour.noise', '0.7')), (('--seed', '3'), ('seed', '0', '3'))):
    done = call(whole, '--episodes', '3', *flags)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert all(x in done.stderr for x in words), done.stderr
  assert key(whole) == before


def test_a_finished_collection_is_kept(whole):
  written = lambda: {x: x.stat().st_mtime_ns for x in whole.rglob('*.*z')}
  before = written()
  done = call(whole)
  assert done.returncode == 0 and 'there already are 2 episodes' in done.stdout
  assert 'collect:' not in done.stdout
  assert len(before) == 2 * len(SOURCES) and written() == before


@pytest.mark.parametrize('changes, words', [
    (dict(names=['metaworld_reech']), "did you mean metaworld_reach"),
    (dict(names=['metaworld']), 'SUITE_TASK'),
    pytest.param(dict(names=['dmc_walker_walk']), 'mean dmcontrol_walker_walk', marks=needs_dmc),
    (dict(names=['metaworld_reach'] * 2), 'twice'), (dict(episodes=0), r'The option --episodes \(in a run: vid2act.collect.episodes\) is 0'),
    (dict(noise=[-1]), 'noise'), (dict(noise=[]), 'noise'), (dict(random_share=2), 'random_share'),
    (dict(env=dict(make='{}', limit=2), episodes=1),
     "--make is no setting of the source 'metaworld_reach'; leave it out"),
    (dict(seed=-1), 'seed')])
def test_settings_that_do_not_exist(tmp_path, changes, words):
  with pytest.raises(UserError, match=words):
    collect.collect(**{
        **dict(names=['metaworld_reach'], folder=tmp_path, env={}), **changes})


def test_what_is_wrong_with_a_source_shows_before_the_others_are_recorded(tmp_path):
  names = [*SOURCES, 'metaworld_window-close@math:hypot']
  with pytest.raises((UserError, RuntimeError), match='must be real number'):
    collect.collect(names, tmp_path, dict(limit=3, size=(16, 16)), episodes=3, processes=1, random_share=0)
  assert sorted(str(x.relative_to(tmp_path)) for x in tmp_path.rglob('*.npz')) == [
      f'{x}/{recordings.name(0)}' for x in SOURCES]


def test_behaviours():
  behaviours = [recorder.behave(i, [0.0, 0.3], 0.2) for i in range(10)]
  expert = lambda x: dict(policy='expert', noise=x)
  random = dict(policy='random')
  assert behaviours == [
      expert(0.0), expert(0.3), expert(0.0), expert(0.3), random] * 2
  assert all(recorder.behave(i, [0.0], 1.0) == random for i in range(5))
  assert all(recorder.behave(i, [0.5], 0.0) == expert(0.5) for i in range(5))


class Failing:
  """A job function that does what the job says."""

  def __call__(self, job):
    if job['do'] == 'raise':
      raise KeyError('lost')
    if job['do'] == 'die':
      os.kill(os.getpid(), signal.SIGKILL)
    if job['do'] == 'mistake':
      raise UserError('The key x is wrong.')
    return job['index']


def test_how_many_workers(monkeypatch, tmp_path):
  """As many as cores that the process may use, which may be fewer than the machine has."""
  started = []
  monkeypatch.setattr(parallel, 'run_jobs', lambda kind, jobs, count: started.append(count) or ())
  monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {5, 7, 8})
  for workers in (0, 2, 9):
    collect.collect(['metaworld_reach'], tmp_path, {}, episodes=4, processes=workers)
  assert started == [3, 2, 4]
  with pytest.raises(UserError, match='--workers is -1'):
    collect.collect(['metaworld_reach'], tmp_path, {}, processes=-1)


@pytest.mark.parametrize('do, words', [
    ('raise', "Episode 1 of the source 'a' failed with KeyError: 'lost'"),
    ('die', "Episode 1 of the source 'a' failed because its process was killed"),
    ('mistake', 'The key x is wrong.')])
def test_workers_that_fail(do, words):
  jobs = [dict(name='a', index=i, do=x) for i, x in enumerate(['work', do, 'work'])]
  results = []
  with pytest.raises(UserError, match=words):
    for _, result in parallel.run_jobs(Failing, jobs, 1):
      results.append(result)
  assert results == [0]


def test_manifest_is_plain_json(whole):
  text = (whole / SOURCES[0] / recordings.MANIFEST).read_text()
  assert json.loads(text)['convention'].startswith('action[t] is taken at image[t]')


def _wait(condition, seconds=60):
  until = time.time() + seconds
  while not condition():
    assert time.time() < until
    time.sleep(0.02)
