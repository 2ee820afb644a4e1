"""The host's optimiser, created without tracing the gradients that creation does not need."""

import embodied.jax
import ninjax as nj

from .vision import turn


def optimizer(modules, opt, **kw):
  """Make the host's optimiser of `modules` with the transformation `opt` of optax."""
  return turn(embodied.jax.Optimizer(modules, opt, **kw), Optimizer)


class Optimizer(embodied.jax.Optimizer):

  def __call__(self, lossfn, *args, has_aux=False, **kw):
    if not nj.creating() or self.scaling:
      return super().__call__(lossfn, *args, has_aux=has_aux, **kw)
    # As in the host, the loss makes the parameters in a context of its own, with one seed.
    state, out, _, _, created = nj.pure(lossfn, nested=True)(
        dict(nj.context()), *args, ignore=True, track=True, seed=nj.seed(None, True), **kw)
    nj.context().update({k: state[k] for k in created})
    paths = tuple(f'{x.path}/' for x in self.modules)
    params = {k: v for k, v in nj.context().items() if k.startswith(paths)}
    self.sub('state', nj.Tree, self.opt.init, params).read()
    self.step.read()
    print(self._summarize_params({k: v.size for k, v in params.items()}, self.summary_depth))
    return {}, out[1] if has_aux else {}
