"""What belongs to the function of an agent that JAX traces right now, in one record.

The host calls policy head and RSSM deep inside its own losses, with arguments
of its own. What our parts there need besides, and what they find out, is here.
"""

import dataclasses

import jax


@dataclasses.dataclass
class Trace:
  """Begun anew by each of the agent's functions `policy`, `train` and `report`.

  Axes: B batch, T time, N sources, M states of the sources' recordings, Z size
  of the guide's noise. Set before the host's code runs:

  teacher: packed features of the teachers, `deter` and `stoch` `[B, T, N, ...]`,
    and `row` `[B, T]`, which sequences they are of; when acting `[B, N, ...]`.
  memory: packed states of the sources with the action taken there, `[B, T, M, ...]`.
  noise: `[trajectories, Z]`, one for each of the trajectories that the policy acts in.
  shift: what is added to the student's features, to differentiate by it.

  Found out while it runs:

  held: relevance `[trajectories, N]` of the start states of imagination.
  weights: relevance by which the policy head has guided last, `[..., N]`.
  timeline: relevance `[S, T, N]` of the sequences that a report shows.
  """

  teacher: dict | None = None
  memory: dict | None = None
  noise: jax.Array | None = None
  shift: dict | None = None
  held: jax.Array | None = None
  weights: jax.Array | None = None
  timeline: jax.Array | None = None

  def begin(self, **given):
    """Forget everything but `given`."""
    self.__init__(**given)

  def begin_batch(self, data):
    """Begin with what a frozen teacher has added to a batch."""
    part = lambda prefix: {
        k.removeprefix(prefix): v for k, v in data.items() if k.startswith(prefix)}
    self.begin(teacher=part('teacher/'), memory=part('memory/'))
