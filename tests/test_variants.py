"""Every variant through the real command, from recordings and a teacher that are there already."""

import concurrent.futures
import json

import numpy as np
import pytest
from conftest import command

VARIANTS = {
    'vid2act_published': ['vid2act_published'], 'vid2act_nodistill': ['vid2act_nodistill'],
    'vid2act_noguide': ['vid2act_noguide'], 'vid2act_uniform': ['vid2act_uniform'],
    'vid2act_soft': ['vid2act_soft'], 'finetune': ['finetune'], 'actionfree': ['actionfree'],
    'rehearse': ['rehearse'], 'init_teacher': ['init_teacher']}
SOURCES = ('metaworld_door-close', 'metaworld_faucet-open')


@pytest.fixture(scope='module')
def runs(first, tiny):
  """Return {variant: (output, metrics)}; two at a time, as compiling fills one core."""
  def run(name):
    logdir = tiny.parent / name
    status, output, _ = command(
        '--configs', 'vid2act', 'metaworld', 'quickstart', *VARIANTS[name], tiny,
        '--logdir', logdir, '--run.steps', 60, '--run.eval_eps', 1)
    assert status == 0, (name, output[-3000:])
    rows = [json.loads(x) for x in (logdir / 'metrics.jsonl').read_text().splitlines()]
    return output, {k: v for row in rows for k, v in row.items()}
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    return dict(zip(VARIANTS, pool.map(run, VARIANTS)))


@pytest.mark.parametrize('name', VARIANTS)
def test_runs_from_the_cache(runs, name):
  output, metrics = runs[name]
  assert 'Recordings: reused' in output
  assert ('Teacher: reused' in output) == (name != 'actionfree')
  assert metrics['eval/length'] == 16
  finite = [k for k, v in metrics.items() if k.startswith('train/loss') and not np.isfinite(v)]
  assert not finite


def relevance(metrics):
  return [metrics.get(f'train/relevance/{x}') for x in SOURCES]


@pytest.mark.parametrize('name', ['vid2act_published', 'vid2act_soft', 'vid2act_noguide'])
def test_relevance_is_learned(runs, name):
  weights = relevance(runs[name][1])
  assert abs(sum(weights) - 1) < 1e-4 and weights[0] != weights[1]


def test_uniform(runs):
  metrics = runs['vid2act_uniform'][1]
  np.testing.assert_allclose(relevance(metrics), [0.5, 0.5], rtol=1e-5)
  assert 'train/amortised/agreement' not in metrics


def test_parts_that_are_off(runs):
  assert 'train/loss/vae' not in runs['vid2act_noguide'][1]
  assert 'train/amortised/agreement' not in runs['vid2act_published'][1]
  assert all(x is None for x in relevance(runs['finetune'][1]))


def test_what_moves_the_student(runs):
  """At the student's features only the world model's losses, repval and L_distill have a gradient."""
  share = lambda name, loss: runs[name][1][f'report/gradshare/{loss}']
  for name in ('vid2act_published', 'vid2act_soft', 'vid2act_nodistill'):
    for loss in ('vae', 'amortised', 'policy', 'value'):
      assert share(name, loss) == 0, (name, loss)
    assert share(name, 'image') > 0
    assert (share(name, 'distill') > 0) == (name != 'vid2act_nodistill')
