"""The study of labels: what is measured, and that the README says it."""

import json
import pathlib

import numpy as np
import pytest
from helpers import moves

from bench.transfer import labels, withheld
from vid2act_plugin.sources import recording
from vid2act_plugin.studies import comparison
from vid2act_plugin.training import scores

RESULTS = pathlib.Path(labels.__file__).parent / 'results'


def test_positions_are_seen_around_the_step():
  """Of a hand that moves by the action, the first step ahead is the action."""
  action = np.random.default_rng(0).normal(size=(9, 4))
  positions = np.concatenate([np.zeros((1, 4)), np.cumsum(action, 0)])
  found = labels.seen(positions, np.random.default_rng(0), 0.0)
  assert found.shape == (9, 25) and (found[:, 24] == 1).all()
  np.testing.assert_allclose(found[:, 12:16], action, atol=1e-12)
  np.testing.assert_allclose(found[3, 4:8], -action[2], atol=1e-12)
  assert (found[0, :8] == 0).all()


def test_labels_of_large_images_are_put_to_small_ones(tmp_path):
  small, large, labelled = (tmp_path / x for x in ('small', 'large', 'labelled'))
  moves.write(small, count=3, size=8)
  moves.write(large, count=3, size=16)
  manifest, episodes = recording.load(large)
  # In another order, as clips are written in that of their films.
  entries = []
  for i, k in enumerate((2, 0, 1)):
    made = {**episodes[k], 'action': episodes[k]['action'] / 2, 'confidence': np.full(moves.LENGTH, k / 4, np.float32)}
    entries.append({**recording.write_episode(labelled, i, made), 'name': manifest['episodes'][k]['file']})
  recording.write_manifest(labelled, {**manifest, 'episodes': entries, 'labels': 'inferred', 'inferred': {'x': 1}})
  withheld.move(small, large, labelled, tmp_path / 'made')
  facts, found = recording.load(tmp_path / 'made')
  assert facts['labels'] == 'inferred' and facts['env']['size'] == [8, 8]
  for k, (mine, before) in enumerate(zip(found, recording.load(small)[1])):
    np.testing.assert_array_equal(mine['action'], before['action'] / 2)
    np.testing.assert_array_equal(mine['image'], before['image'])
    assert (mine['confidence'] == k / 4).all()
  # Half of an action leaves a quarter of its square unexplained.
  true = np.concatenate([x['action'][:-1] for x in recording.load(small)[1]])
  np.testing.assert_allclose(
      withheld.found(small, tmp_path / 'made'), 1 - np.square(true / 2).mean(0) / true.var(0), atol=1e-4)
  with pytest.raises(AssertionError):
    withheld.move(moves.write(tmp_path / 'other', count=3, seed=5), large, labelled, tmp_path / 'wrong')
  assert not (tmp_path / 'wrong').exists()


def test_the_readme_has_the_figures_of_labels():
  read = lambda name: json.loads((RESULTS / 'labels' / f'{name}.json').read_text())
  hand = {(x['seen'], x['labelled']): x['r2'] for x in read('hand')}
  images = {x['learned']: x['r2'] for x in read('images32')}
  withheld = lambda kind: np.mean([x['r2'] for x in read('withheld') if x['kind'] == kind], 0)
  lines = (RESULTS.parent / 'README.md').read_text().splitlines()
  start = next(i for i, x in enumerate(lines) if x.startswith('| seen | learned from |')) + 2
  found = [[float(y) for y in x.strip('|').split('|')[3:]] for x in lines[start: start + 7]]
  wanted = [
      hand['positions, 0 mm off', 'experts'], hand['positions, 5 mm off', 'experts'],
      hand['positions, 0 mm off', 'random actions'], images['random episodes'], images['all episodes'],
      withheld('half'), withheld('all')]
  np.testing.assert_allclose(found, [x[:3] for x in wanted], atol=0.0051)
  alone = ' '.join(f'{x:.2f}'.replace('0.', '.') for x in withheld('one')[:3])
  assert f'R2 {alone}, and that of this one' in ' '.join(lines)


def test_the_readme_has_what_an_agent_gains_from_labels():
  found = {}
  for study in ('sparse', 'sparse_before', 'withheld'):
    for row in scores.load(RESULTS / study / 'scores' / 'success_any.json.gz'):
      if row['task'] == withheld.TARGET and row['seed'] < 3 and (study, row['method']) != ('sparse', 'vid2act'):
        found.setdefault(row['method'], {})[row['seed']] = comparison.mean_over(row, 0, row['xs'][-1])
  lines = (RESULTS.parent / 'README.md').read_text().splitlines()
  start = lines.index('| actions of the sources | each seed | mean |') + 2
  for line, method in zip(lines[start:], (
      'vid2act', 'inferred_one', 'inferred_half', 'inferred_all', 'actionfree', 'finetune', 'stock')):
    each, mean = line.strip('|').split('|')[1:]
    wanted = [found[method][i] for i in range(3)]
    assert [float(x) for x in each.split()] == pytest.approx(wanted, abs=.006), line
    assert float(mean) == pytest.approx(np.mean(wanted), abs=.006), line


def test_the_readme_has_the_figures_of_deepmind_control():
  read = lambda name: json.loads((RESULTS / 'labels' / f'{name}.json').read_text())
  joints = {x['labelled']: x['r2'] for x in read('joints')}
  lines = (RESULTS.parent / 'README.md').read_text().splitlines()
  start = lines.index('| body | learned from random actions | labelled | R2 of each action | from joints |') + 2
  rows = read('dmc')
  for line, row in zip(lines[start: start + len(rows) + 1], [*rows, None]):
    assert line if row else not line
    if row:
      *words, r2, known = (x.strip() for x in line.strip('|').split('|'))
      assert words == [row['body'], row['learned'], row['labelled']]
      assert [float(x) for x in r2.split()] == pytest.approx(row['r2'], abs=.0051)
      assert [float(x) for x in known.split()] == pytest.approx(joints.get(row['joints'], []), abs=.0051)


def test_joints_tell_what_a_body_does(monkeypatch):
  pytest.importorskip('dm_control')
  monkeypatch.setattr(labels, 'STEPS', 1500)
  monkeypatch.setattr(labels, 'HELD', 5)
  row, = labels.joints(['dmcontrol_reacher_easy'], 3)
  assert row['labelled'] == 'dmcontrol_reacher_easy' and min(row['r2']) > .6
