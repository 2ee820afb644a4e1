"""A run is the same each time, whatever the clock says."""

import concurrent.futures
import pickle

import numpy as np
from helpers.commands import command

from vid2act_plugin.host import checkpoints


def test_a_seed_repeats_a_run(first, tiny):
  """With every part that draws at random: sources that act, imitation, rehearsal, and reports in between."""
  def run(name, every):
    logdir = tiny.parent / name
    status, output = command(
        '--configs', 'vid2act', 'metaworld', 'quickstart', 'rehearse', tiny, '--logdir', logdir, '--run.eval_eps', 1,
        '--run.debug', 'True', '--run.train_ratio', 32, '--run.report_every', every, '--run.save_every', every, '--seed', 4)
    assert status == 0, output[-3000:]
    return pickle.loads((checkpoints.newest(logdir) / 'agent.pkl').read_bytes()), (logdir / 'scores.jsonl').read_text()
  with concurrent.futures.ThreadPoolExecutor(2) as pool:  # Never, and as often as can be.
    (one, scores), (two, others) = pool.map(run, ('once', 'again'), (-1, 0))
  assert one['counters']['updates'] > 40 and scores == others
  assert [k for k, x in one['params'].items() if not np.array_equal(x, two['params'][k])] == []
