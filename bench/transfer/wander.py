"""A behaviour of its own file, so that what it records depends on no other line of the study."""


def act(env, obs, rng):
  """Act at random: another body needs no expert to be irrelevant."""
  return rng.uniform(-1, 1, env.act_space['action'].shape)
