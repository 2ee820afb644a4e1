"""Evaluation on real environments, and the scores that a run leaves. The agents act at random."""

import contextlib
import gzip
import json
import os
import time
from multiprocessing import resource_tracker

import elements
import imageio.v3 as iio
import numpy as np
import psutil
import pytest
from dreamerv3 import main as host

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.training import curves, evaluation, notes, scores
from vid2act_plugin.training import train as loop


@pytest.fixture
def make(configure, tmp_path):
  """Return a function changes -> config and arguments of a run with a random agent."""
  def fn(**changes):
    config = configure('metaworld', **{
        'logdir': str(tmp_path / 'run'), 'random_agent': True, 'jax.profiler': False,
        'logger.outputs': ['jsonl'], 'run.debug': True, 'run.eval_every': 20, 'run.steps': 25,
        'run.eval_eps': 2, 'run.log_every': 0, 'replay.size': 1000, 'env.metaworld': {
            'size': [16, 16], 'limit': 6, 'repeat': 2, 'render': 'fast'}, **changes})
    sizes = ('batch_size', 'batch_length', 'report_length', 'replay_context')
    return config, elements.Config(
        **config.run, logdir=config.logdir, **{k: config[k] for k in sizes})
  return fn


def resources():
  """Return how many descriptors, threads and children this process has.

  Python's resource tracker is none: it is begun anew whenever one was ended with other processes.
  """
  count = lambda folder: len(os.listdir(f'/proc/self/{folder}'))
  children = []
  for child in psutil.Process().children(recursive=True):
    with contextlib.suppress(psutil.Error):
      children += [child] * ('resource_tracker' not in ' '.join(child.cmdline()))
  return count('fd'), count('task'), len(children)


def kept(limits):
  """Return what is held beyond the limits; what is just going has ten seconds for it."""
  until = time.monotonic() + 10
  while any(found := [max(0, x - y) for x, y in zip(resources(), limits)]):
    if time.monotonic() > until:
      return found
    time.sleep(0.1)
  return []


class Seen(evaluation.Evaluation):
  """Keeps what the environments gave."""

  def __call__(self, logger):
    self.seen = []
    return super().__call__(logger)

  def _add(self, tran, worker):
    if self.owed[worker]:
      self.seen.append((worker, tran))
    super()._add(tran, worker)

  def firsts(self, worker):
    return [x['image'] for i, x in self.seen if i == worker and x['is_first']]


@pytest.mark.parametrize('envs, episodes, debug, shares', [
    (1, 3, True, [3]), (2, 3, True, [2, 1]), (4, 1, False, [1])])
def test_same_episodes_every_time(envs, episodes, debug, shares, make):
  config, args = make(**{
      'run.eval_envs': envs, 'run.eval_eps': episodes, 'run.debug': debug})
  logger = host.make_logger(config)
  found = Seen(config, args, host.make_agent(config))
  resource_tracker.ensure_running()  # Of multiprocessing, which keeps it.
  before, rounds, held = resources(), [], []
  for _ in range(20):
    means = found(logger)
    held.append(resources())
    assert [sum(bool(x['is_last']) for i, x in found.seen if i == w) for w in range(len(shares))] \
        == shares
    assert len(found.results) == episodes and means['length'] == 4  # The reset and 3 steps.
    totals = sum(float(x['reward']) for _, x in found.seen)
    np.testing.assert_allclose(means['score'], totals / episodes, rtol=1e-5)
    rounds.append([x for w in range(len(shares)) for x in found.firsts(w)])
  found.close()
  assert len(rounds[0]) == episodes
  for other in rounds[1:]:
    np.testing.assert_array_equal(rounds[0], other)
  # One that each evaluation left open would make nineteen.
  assert all(x <= y + 3 for x, y in zip(held[-1], held[0])), (held[0], held[-1])
  assert not kept((1000, 1000, before[2]))
  assert len({x.tobytes() for x in rounds[0]}) == episodes  # No episode twice.
  logger.close()


def test_a_run_and_its_resumption(make, tmp_path, capsys):
  config, args = make()
  loop.train_eval(config, args)
  rows = [json.loads(x) for x in (tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
  # Ten steps of the driver are twenty of the simulator.
  assert [x['step'] for x in rows if 'eval/score' in x] == [0, 20, 40, 60]
  assert {x['eval/length'] for x in rows if 'eval/length' in x} == {4}
  head = dict(task='metaworld_door-lock', method='dreamerv3', seed=0)
  found = {x.name: json.loads(gzip.decompress(x.read_bytes()))
           for x in (tmp_path / 'run/scores').iterdir()}
  assert set(found) == {
      f'{x}.json.gz' for x in scores.METRICS if not x.startswith('policy')}  # It acts alone anyway.
  for runs in found.values():
    assert len(runs) == 1 and {k: runs[0][k] for k in head} == head
    assert len(runs[0]['xs']) == len(runs[0]['ys']) and sorted(runs[0]['xs']) == runs[0]['xs']
  assert found['score.json.gz'][0]['xs'] == [0, 20, 40, 60]
  # The first step of an episode is its reset, so that one has limit / repeat + 1 of them.
  assert found['train_score.json.gz'][0]['xs'] == [8, 16, 24, 32, 40, 48, 56]
  assert iio.imread(tmp_path / 'run/eval.gif', index=None).shape == (4, 16, 16, 3)
  along = json.loads((tmp_path / 'run/eval_episode.json').read_text())
  assert along['step'] == 60 and along['relevance'] == {} and len(along['success']) == 4
  assert along['reward'][0] == 0 and len(along['reward']) == 4
  assert 'eval.gif' in capsys.readouterr().out

  config, args = make(**{'run.steps': 40, 'method': 'mine', 'run.debug': False})
  resource_tracker.ensure_running()
  before = resources()
  loop.train_eval(config, args)
  # Multiprocessing keeps a heap, which is two; every process left open would be as many.
  assert not kept((before[0] + 2, 1000, before[2]))
  again = scores.points(scores.curves.metrics(tmp_path / 'run'), 'eval/score')
  assert again[0] == [0, 20, 40, 60, 80]
  runs = json.loads(gzip.decompress((tmp_path / 'run/scores/score.json.gz').read_bytes()))
  assert runs == [dict(head, method='mine', xs=again[0], ys=again[1])]


def test_eval_only_counts_from_the_checkpoint(make, tmp_path, monkeypatch):
  cp = elements.Checkpoint(tmp_path / 'ckpt')
  cp.step, cp.agent = elements.Counter(30), host.make_agent(make()[0])
  cp.save()
  config, args = make(**{
      'run.eval_envs': 2, 'run.eval_eps': 3, 'run.from_checkpoint': str(tmp_path)})
  monkeypatch.setattr(loop.loading, 'load', lambda *args, **kwargs: None)  # A random agent has no parameters.
  loop.eval_only(config, args)
  rows = [json.loads(x) for x in (tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
  assert [x['step'] for x in rows] == [60] and 'eval/score' in rows[0]
  assert not scores.read([tmp_path])  # Or a comparison would take it for a run of this method.
  assert (tmp_path / 'run/eval.gif').exists()
  assert json.loads((tmp_path / 'run/summary.json').read_text())['eval']['length'] == 4


@pytest.mark.parametrize('changes, words', [
    ({}, []), ({'env.metaworld.camera': 'corner2', 'env.metaworld.use_seed': False, 'seed': 3},
               ["env.metaworld.camera 'corner2' (this evaluation 'corner')"]),
    ({'agent.enc.simple.act': 'relu', 'agent.opt.lr': 3.0}, ["agent.enc.simple.act 'relu' (this evaluation 'silu')"]),
    ({'task': 'metaworld_reach'}, ["task 'metaworld_reach' (this evaluation 'metaworld_door-lock')"]),
    ({'task': 'dmcontrol_walker_walk', 'env.dmcontrol.repeat': 4},
     ["task 'dmcontrol_walker_walk' (this evaluation 'metaworld_door-lock')"])])
def test_an_evaluation_of_something_else_is_told(changes, words, make, tmp_path, monkeypatch, capsys):
  """What the run was begun with, and not what changes no image, reward or episode's length."""
  cp = elements.Checkpoint(tmp_path / 'ckpt')
  cp.step, cp.agent = elements.Counter(30), host.make_agent(make()[0])
  cp.save()
  config, args = make(**{'run.eval_eps': 1, 'run.from_checkpoint': str(tmp_path)})
  config.update(changes).save(elements.Path(tmp_path) / 'config.yaml')
  monkeypatch.setattr(loop.loading, 'load', lambda *args, **kwargs: None)
  loop.eval_only(config, args)
  out = capsys.readouterr().out
  said = [x for x in out.splitlines() if 'this evaluation' in x]
  assert len(said) == bool(words) and all(x in said[0] for x in words), out
  assert not said or said[0].startswith(f'Note: the run {tmp_path} was begun') and said[0].count('(') == len(words)
  assert ('this evaluation' in str(notes.read(tmp_path / 'run'))) == bool(said)
  made = json.loads((tmp_path / 'run/summary.json').read_text())
  assert made['task'] == 'metaworld_door-lock' and made['seed'] == 0


def test_curves_and_scores_need_no_output(make, tmp_path):
  """They are made of the log, which is written whichever outputs are named."""
  config, args = make(**{'logger.outputs': ['scope'], 'run.steps': 10})
  loop.train(config, args)
  assert curves.metrics(tmp_path / 'run') and (tmp_path / 'run/scores/train_score.json.gz').exists()
  assert (tmp_path / 'run/scope').exists() and config.logger.outputs == ('scope',)


class Told:
  """A random agent that says who acts and what is relevant."""

  def __init__(self, agent):
    self.agent, self.init_policy = agent, agent.init_policy

  def policy(self, *args, **kwargs):
    carry, act, out = self.agent.policy(*args, **kwargs)
    who = {'policy': 0, 'one': 1, 'two': 0}
    told = {evaluation.BY + k: np.full(1, v, np.float32) for k, v in who.items()}
    return carry, act, {**out, **told, f'{evaluation.WEIGHT}one': np.full(1, 0.25, np.float32)}


@pytest.mark.parametrize('drawn', [True, False])
def test_who_acted_and_pictures_where_matplotlib_is(drawn, make, tmp_path, without, capsys):
  drawn or without('matplotlib')
  config, args = make(**{'run.eval_eps': 1})
  found, logger = evaluation.Evaluation(config, args, Told(host.make_agent(config))), host.make_logger(config)
  for _ in range(1 if drawn else 2):
    assert found(logger)['length'] == 4
  found.close()
  found.video(config)
  logger.close()
  along = json.loads((tmp_path / 'run/eval_episode.json').read_text())
  assert along['by'] == 'one' and along['relevance'] == {'one': [0.25] * 4}
  assert (tmp_path / 'run/eval_relevance.png').exists() == drawn
  assert capsys.readouterr().out.count('Note: without matplotlib') == (not drawn)


@pytest.mark.parametrize('key', ['eval_eps', 'eval_envs'])
def test_evaluation_of_nothing(key, make):
  with pytest.raises(UserError, match=f'run.{key} is 0'):
    evaluation.Evaluation(*make(**{f'run.{key}': 0}), None)


def test_points_of_a_part_that_was_given_up(tmp_path):
  """Nothing that is drawn, told or compared has them."""
  rows = [
      dict(step=0, a=1), dict(step=10, a=2), dict(step=10, b=5), dict(step=30, a=3),
      dict(step=15, b=6), dict(step=20, a=4), dict(step=20, a=7), dict(step=25, b=8)]
  (tmp_path / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, rows)))
  rows = curves.metrics(tmp_path)
  assert [x['step'] for x in rows] == [0, 10, 10, 15, 20, 20, 25]
  assert scores.points(rows, 'a') == ([0, 10, 20], [1, 2, 7])
  assert scores.points(rows, 'b') == ([10, 15, 25], [5, 6, 8])
  assert scores.points(rows, 'c') == ([], [])


def test_success_at_any_and_at_the_last_step():
  episodes, flags = evaluation.Episodes(), [(0, 0), (1, 0), (0, 0)]
  made = []
  for i, (now, last) in enumerate(flags):
    made.append(episodes.add({
        'is_first': i == 0, 'is_last': i == 2, 'reward': 1.5, 'log/success': now,
        'log/success_last': last}, 0))
  assert made == [None, None, dict(score=4.5, length=3, success_any=1, success_last=0)]
