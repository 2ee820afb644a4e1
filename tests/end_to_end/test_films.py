"""A film without actions as a source of a whole run, on real Meta-World at the smallest size."""

import json
import pathlib

import numpy as np
from helpers import moves
from helpers.commands import command

from vid2act_plugin.sources import recording
from vid2act_plugin.teacher import bundle

RECORDINGS = pathlib.Path(__file__).parents[1] / 'data/660db1a/cache/recordings/f3e5c54620f8'
TASK = 'metaworld_faucet-open'


def test_a_film_is_a_source_of_a_run(tiny, tmp_path):
  """It is labelled from the other source, teaches, acts, and is told apart."""
  _, episodes = recording.load(RECORDINGS / 'metaworld_door-close')
  for i, x in enumerate(episodes):
    # Larger than the run's images, as films are.
    moves.film(tmp_path / f'clips/{i}.mkv', x['image'].repeat(4, 1).repeat(4, 2))
  status, output = command(
      '--configs', 'vid2act', 'metaworld', 'quickstart', tiny, '--logdir', tmp_path / 'run', '--vid2act.sources',
      'film:./clips', f'{RECORDINGS / TASK}', '--vid2act.label.updates', 3, '--vid2act.cache', tmp_path / 'cache',
      '--run.eval_eps', 1, '--agent.vid2act.execute.start', 1, '--agent.vid2act.execute.end', 1,
      cwd=tmp_path)
  assert status == 0, output[-3000:]
  (folder,) = (x.parent for x in (tmp_path / 'cache').rglob('manifest.json') if x.parent.name == 'clips')
  manifest, found = recording.load(folder)
  assert manifest['labels'] == 'inferred' and manifest['inferred']['sources'] == [TASK]
  for ours, theirs in zip(found, episodes):
    np.testing.assert_array_equal(ours['image'], theirs['image'])
    assert ours['action'].shape == theirs['action'].shape and 0 <= ours['confidence'].min() < 1
  summary = json.loads((tmp_path / 'run/summary.json').read_text())
  assert summary['sources'] == ['clips', TASK] and summary['stages']['label'] > 0
  assert set(summary['final_relevance']) == set(summary['behaviours']) == {'clips', TASK}
  assert sum(summary['execution'][x]['episodes'] for x in ('clips', TASK)) > 0
  (made,) = {x.parent for x in (tmp_path / 'cache/teachers').rglob('manifest.json')}
  teacher = bundle.load(made)
  mine = teacher.memory['action'][teacher.memory['source'] == 0]
  # What the action VAE learns from are the labels.
  labels = np.concatenate([x['action'][:-1] for x in found])
  assert np.abs(mine[:, None, :4] - labels).max(-1).min(-1).max() < 1e-6
