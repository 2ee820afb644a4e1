"""What is measured of a report, and what a run remembers of its teacher."""

import collections
import contextlib
import types

import elements
import numpy as np
import pytest
from embodied.core import selectors

from vid2act_plugin.common.errors import UserError
from vid2act_plugin.training import finite, learner
from vid2act_plugin.training import train as loop
from vid2act_plugin.training.learner import Learner


@pytest.mark.parametrize('batches, consec', [(1, 1), (3, 1), (2, 2)])
def test_a_report_is_the_mean_of_its_batches_and_shows_the_last(batches, consec):
  learner, count, logged = object.__new__(Learner), batches * consec, []
  learner.args, learner.config = types.SimpleNamespace(report_batches=batches), types.SimpleNamespace(consec_report=consec)
  learner.replay, learner.carry_report = collections.UserList([0]), 0
  learner.replay.sampler = selectors.Uniform()
  learner._batch = lambda mode: {'report': 1}[mode]
  learner.agent = types.SimpleNamespace(report=lambda carry, data: (carry + data, {
      'loss': np.float32(carry), 'openloop': np.full((1, 2, 2, 3), carry)}))
  learner.report(types.SimpleNamespace(add=lambda mets, prefix: logged.append((mets, prefix))))
  (mets, prefix), = logged
  assert learner.carry_report == count and prefix == 'report' and mets['loss'] == np.mean(range(count))
  assert np.all(mets['openloop'] == count - 1) and learner.pictures['openloop'] is mets['openloop']


def test_any_number_of_sources_is_logged():
  """The host's logger takes a thousand values at once."""
  written, values = {}, {f'relevance/{i}': i for i in range(2500)}
  logger = elements.Logger(elements.Counter(), [lambda rows: written.update({k: float(v) for _, k, v in rows})])
  learner._add(logger, values, prefix='train')
  logger.write()
  assert written == {f'train/{k}': v for k, v in values.items()}


def test_what_a_summary_says_of_the_teacher_is_read_at_the_start(configure, bundle, tmp_path, monkeypatch):
  """It may be gone when a run of days has ended; one that is gone before is refused at once."""
  given = []
  monkeypatch.setattr(loop, '_agent', lambda config: None)
  monkeypatch.setattr(loop, '_run', lambda config, args, evaluate, agent, teacher, *more: given.append(teacher))
  monkeypatch.setattr(finite, 'Watched', lambda agent, config: agent)
  monkeypatch.setattr(loop.processes, 'linked', lambda config: contextlib.nullcontext())
  config = configure('vid2act', **{'vid2act.teacher': str(bundle), 'logdir': str(tmp_path)})
  loop.train(config, None)
  assert given[0]['sources'] == ['one', 'two', 'three'] and len(given[0]['hash']) == 64
  loop.train(config.update({'vid2act.teacher': ''}), None)
  assert given[1] == {}
  with pytest.raises(UserError, match='nowhere'):
    loop.train(config.update({'vid2act.teacher': '/nowhere'}), None)
  assert len(given) == 2
