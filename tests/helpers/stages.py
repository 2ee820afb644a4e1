"""What stands for the stages of a run, which take hours."""


class Stage(Exception):
  """A stage has begun."""
