"""Features and memory as the method's parts take them, and what of it a gradient moves."""

import jax
import ninjax as nj
import numpy as np

B, T, N, F, CONTEXT, BURNIN = 2, 6, 3, 32, 1, 4
rng = np.random.default_rng(0)
normal = lambda *shape: rng.normal(size=shape).astype(np.float32)


def transfer(model, ext):
  """Return parameters, and a function (parameters, feature) -> losses, metrics, weights."""
  def fn(feat):
    model.trace.begin_batch(ext)
    return model.transfer(feat)
  params = jax.jit(nj.init(fn))({}, normal(B, T, F), seed=0)
  call = lambda params, feat: nj.pure(fn)(params, feat, seed=jax.random.PRNGKey(1))[1]
  # The last layers begin at zero, where a gradient could vanish by chance.
  return {k: v + 0.1 * normal(*v.shape) for k, v in params.items()}, call


def moved(grads):
  """Return the names of the modules whose gradient is not zero."""
  return {k.split('/')[0] for k, v in grads.items() if np.abs(v).sum() > 0}
