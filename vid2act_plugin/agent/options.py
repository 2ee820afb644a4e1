"""What follows from the settings `agent.vid2act`, for all who need to agree on it."""


def from_start(options):
  """Whether relevance in imagination is that of the start state, as the published code has it."""
  return options.guide and options.weights == 'learned' and options.guide_from == 'start'


def seen(options, batch):
  """Return how many of a batch's sequences the teachers see."""
  return max(1, round(options.share * batch))


def rows(config):
  """Return how many VAE states go with each step so that a batch has `vae.batch` of them."""
  steps = config.batch_size * (config.batch_length + config.replay_context)
  return -(-config.vid2act.vae.batch // steps)


def floor(options, sources):
  """Return the least weight that L_distill gives to each source."""
  return options.floor / sources if options.floor_per_source else options.floor
