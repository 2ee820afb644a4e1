"""The host's optimiser, which traces the loss no more often than it must.

Creation needs no gradients, and an update need not run the loss once more to
learn which state it reads and writes: creation has seen that. It more than
halves the time until an agent is made, see bench/README.md.
"""

import embodied.jax
import jax.numpy as jnp
import ninjax as nj

from ..common.output import say
from .convolutions import recast


def optimizer(modules, opt, **kw):
  """Make the host's optimiser of `modules` with the transformation `opt` of optax."""
  return recast(embodied.jax.Optimizer(modules, opt, **kw), Optimizer)


class Optimizer(embodied.jax.Optimizer):

  def __call__(self, lossfn, *args, has_aux=False, **kw):
    if not nj.creating() or self.scaling:
      return super().__call__(self._once(lossfn, has_aux), *args, has_aux=has_aux, **kw)
    # As in the host, the loss makes the parameters in a context of its own, with one seed.
    state, out, accessed, modified, created = nj.pure(lossfn, nested=True)(
        dict(nj.context()), *args, ignore=True, track=True, seed=nj.seed(None, True), **kw)
    nj.context().update({k: state[k] for k in created})
    self.seen = accessed | created, modified
    paths = tuple(f'{x.path}/' for x in self.modules)
    params = {k: v for k, v in nj.context().items() if k.startswith(paths)}
    self.sub('state', nj.Tree, self.opt.init, params).read()
    self.step.read()
    sizes = {k: v.size for k, v in params.items()}
    say(*self._summarize_params(sizes, self.summary_depth).split('\n'))
    return {}, out[1] if has_aux else {}

  def _once(self, lossfn, has_aux):
    """Return the loss for `nj.grad`, which calls it twice, first to see the state that it uses."""
    seen = iter([self.seen] if hasattr(self, 'seen') else [])

    def loss(*args, **kw):
      found = next(seen, None)
      if not found:
        return lossfn(*args, **kw)
      nj.context().accessed.update(found[0])
      nj.context().modified.update(found[1])
      return (jnp.zeros(()), {}) if has_aux else jnp.zeros(())

    return loss
