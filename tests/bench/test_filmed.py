"""Actions inferred of a film of several tasks: each is compared with its own."""

import json
import pathlib

import numpy as np

from bench.transfer import cuts, filmed
from vid2act_plugin.sources import shots

RESULTS = pathlib.Path(filmed.__file__).parent / 'results'


def test_parts_of_a_film_are_those_of_its_episodes():
  action = np.random.default_rng(0).normal(size=(12, 2))
  clip = lambda a, b: dict(action=np.concatenate([action[a:b], np.zeros((1, 2))]))
  manifest = dict(episodes=[{'name': 'film#0-4'}, {'name': 'film#7-11'}])  # Images 5 and 6 were left out.
  first, second = filmed.parts(manifest, [clip(0, 4), clip(7, 11)], [5, 7])
  np.testing.assert_array_equal(first, action[:4])
  assert np.isnan(second[:2]).all() and len(second) == 6
  np.testing.assert_array_equal(second[2:], action[7:11])
  assert filmed.explained([(first, action[:4]), (second, action[5:11])]) == [1, 1]


def test_a_film_is_cut_where_episodes_begin(tmp_path):
  rng = np.random.default_rng(0)
  scene = lambda: np.repeat(np.repeat(rng.integers(0, 256, (1, 8, 8, 3), np.uint8), 8, 1), 8, 2).repeat(9, 0)
  cuts.write(tmp_path / 'film.mp4', np.concatenate([scene(), scene(), scene()]), crf='10')
  assert shots.cuts(shots.changes(shots.images(tmp_path / 'film.mp4'))) == [9, 18]


def test_the_readme_has_what_a_film_costs():
  rows = json.loads((RESULTS / 'labels' / 'film.json').read_text())
  means = lambda kind: [np.mean([x['r2'][i] for x in rows if x['seen'] == kind]) for i in range(3)]
  lines = (RESULTS.parent / 'README.md').read_text().splitlines()
  start = lines.index('| seen | action 0 | 1 | 2 |') + 2
  for line, kind in zip(lines[start:], ('images', '10', '23')):
    np.testing.assert_allclose([float(x) for x in line.strip('|').split('|')[1:]], means(kind), atol=.0051)
