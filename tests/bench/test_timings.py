"""The table of timings in the README is made from the results that are committed."""

import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def results():
  return json.loads((ROOT / 'bench' / 'results.json').read_text())


def test_readme_shows_the_results(results):
  import timings
  readme = (ROOT / 'README.md').read_text()
  assert list(results) == list(timings.TIMINGS)
  assert timings.insert(readme, timings.table(results)) == readme
  assert timings.insert(readme, '') != readme


def test_figures_follow_from_the_samples(results):
  import measure
  pairs = {
      'overhead': ('vid2act', 'stock'), 'overhead_48': ('vid2act', 'stock'),
      'acting': ('vid2act', 'stock'), 'pretrain': ('pretrain', 'stock'),
      'collect': ('1 workers', '2 workers'), 'startup': ('second', 'first')}
  for name, pair in pairs.items():
    found = results[name]
    assert measure.ratio(found['samples'], *pair) == pytest.approx(found['figure'], rel=0.02), name
    enough = found['figure'] <= found['aim']
    if name == 'collect':
      enough = found['figure'] >= found['aim']
    assert found['met'] == enough, name
