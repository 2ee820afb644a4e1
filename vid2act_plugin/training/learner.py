"""Updates of a run at its train ratio, and what there is to say about them."""

import elements
from dreamerv3 import main as hostmain

from ..host import internals
from . import summary

AT_ONCE = 1000


class Learner:
  """Updates at the train ratio, and what there is to say about them."""

  def __init__(self, config, args, agent, replay, step):
    self.args, self.agent, self.replay, self.step = args, agent, replay, step
    self.config, self.scores, self.pictures, self.relevance = config, {}, {}, {}
    self.execution = {}
    self.ready = args.batch_size * args.batch_length
    self.ratio = elements.when.Ratio(args.train_ratio / self.ready)
    self.metrics = elements.Agg()
    self.usage = elements.Usage(**args.usage)
    self.rates = {'policy': elements.FPS(), 'train': elements.FPS()}
    self.streams = {}
    self.carry = agent.init_train(args.batch_size)
    self.carry_report = agent.init_report(args.batch_size)

  def __call__(self):
    """Make the updates that are due after one more transition."""
    self.rates['policy'].step()
    if len(self.replay) < self.ready:
      return
    for _ in range(self.ratio(self.step)):
      self.carry, outs, mets = self.agent.train(self.carry, self._batch('train'))
      self.metrics.add(mets, prefix='train')
      self.rates['train'].step(self.ready)
      if 'replay' in outs:
        self.replay.update(outs['replay'])

  def report(self, logger):
    if len(self.replay):
      draws = [(x, x.bit_generator.state) for x in internals.generators(self.replay.sampler)]
      means = elements.Agg()
      for _ in range(self.config.consec_report * self.args.report_batches):
        self.carry_report, mets = self.agent.report(self.carry_report, self._batch('report'))
        means.add({k: v for k, v in mets.items() if not getattr(v, 'ndim', 0)})
      mets = {**mets, **means.result()}  # Pictures are of the last batch.
      self.pictures = {k: v for k, v in mets.items() if getattr(v, 'ndim', 0) > 2}
      _add(logger, mets, prefix='report')
      for generator, state in draws:  # Reports go by the clock, and what is learned from does not.
        generator.bit_generator.state = state

  def log(self, logger):
    mets = self.metrics.result()
    weights = {k.split('/')[-1]: float(v) for k, v in mets.items() if '/relevance/' in k}
    self.relevance = weights or self.relevance
    standing = getattr(self.agent, 'standing', dict)()  # As it is now, not as it was on average.
    self.execution = summary.execution(standing)
    _add(logger, standing, prefix='train')
    _add(logger, mets)
    logger.add(self.replay.stats(), prefix='replay')
    logger.add(self.usage.stats(), prefix='usage')
    logger.add({k: v.result() for k, v in self.rates.items()}, prefix='fps')
    logger.add({'timer': elements.timer.stats()['summary']})
    logger.write()

  def _batch(self, mode):
    """Return the next batch, drawn at this point of the run: with the same seed it is the same one each time.

    The host has a thread that reads ahead, from as much as the replay has by then.
    """
    if mode not in self.streams:
      self.streams[mode] = internals.drawn(self.agent.stream(
          hostmain.make_stream(self.config, self.replay, mode)))
    batch = next(self.streams[mode])
    if 'seed' in batch:  # The host counts train and report batches together.
      batch['seed'] = internals.seed(self.agent, self.agent.n_updates)
    return batch


def _add(logger, values, prefix=None):
  """Log values, of which there are several for each source and the host takes `AT_ONCE`."""
  items = [*values.items()]
  for i in range(0, len(items), AT_ONCE):
    logger.add(dict(items[i: i + AT_ONCE]), prefix=prefix)
