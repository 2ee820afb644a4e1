"""Results of ablations that were not run."""

import json

import pytest

from vid2act_plugin.studies import comparison
from vid2act_plugin.training import scores


def row(method='stock', seed=0, task='metaworld_door-lock', ys=(1, 2, 3)):
  return dict(task=task, method=method, seed=seed, xs=[0, 10, 20], ys=list(ys))


@pytest.fixture
def study(tmp_path, monkeypatch):
  """Return a function that writes the results of an ablation."""
  monkeypatch.setattr(comparison, 'REPS', 50)
  def fn(methods=('stock', 'vid2act'), task='metaworld_door-lock', metric='score'):
    rows = [row(m, s, task, [i, i + s, 3 * i + s + i * s]) for i, m in enumerate(methods) for s in range(3)]
    scores.save(tmp_path / 'results/scores' / f'{metric}.json.gz', rows)
    run = lambda x: dict(
        method=x['method'], task=task, seed=x['seed'], env_steps=20, updates=5, stages={'train': 90.0},
        final_relevance={'one': .25, 'two': .75}, eval={'score': x['ys'][-1]}, relevance=[
            {'step': s, 'one': .5 - s / 80, 'two': .5 + s / 80} for s in (0, 10, 20)])
    (tmp_path / 'results/runs.json').write_text(json.dumps([run(x) for x in rows]))
    return tmp_path / 'results'
  return fn
