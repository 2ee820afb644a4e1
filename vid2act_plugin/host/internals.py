"""Every private part of DreamerV3 that we touch: the second half of the contract, beside the patches.

`PARTS` says where each stands, with its line, in the patched host; both versions that we know
have the same text there. A test looks at every one and names what is gone or has moved.
"""

import dataclasses

import embodied
import embodied.jax.internal
import embodied.jax.nets
from dreamerv3 import agent as hostagent
from jax.sharding import NamedSharding, PartitionSpec


@dataclasses.dataclass(frozen=True)
class Part:
  """A line of the host that we rely on; `why`: for what, and where."""

  file: str
  line: int
  text: str
  why: str


AGENT, OUTER, RSSM = 'dreamerv3/agent.py', 'embodied/jax/agent.py', 'dreamerv3/rssm.py'
NETS, OPT = 'embodied/jax/nets.py', 'embodied/jax/opt.py'
PARTS = (
    Part(AGENT, 41, 'self.enc = {', 'host/convolutions.py replaces its networks'),
    Part(AGENT, 62, 'self.pol = embodied.jax.MLPHead(', 'agent/guide.py wraps the policy head'),
    Part(AGENT, 70, 'self.retnorm = ', 'agent/rehearse.py wraps it, valnorm and advnorm'),
    Part(AGENT, 74, 'self.modules = [', 'agent/agent.py adds modules of its own'),
    Part(AGENT, 76, 'self.opt = embodied.jax.Optimizer(', 'agent/agent.py makes it anew'),
    Part(AGENT, 83, 'self.scales = scales', 'agent/agent.py: shares of the gradient'),
    Part(AGENT, 90, 'def ext_space(self)', 'agent/agent.py adds the inputs from the teacher'),
    Part(AGENT, 156, 'def loss(self, carry, obs, prevact, training)', 'agent/agent.py adds to it'),
    Part(AGENT, 244, "outs = {'tokens': tokens, 'repfeat': repfeat, 'losses': losses}", 'agent/rehearse.py'),
    Part(AGENT, 312, 'def _apply_replay_context(self, carry, data)', '`replay_context`'),
    Part(AGENT, 342, 'def _make_opt(', '`gradient_transformation`'),
    Part(OUTER, 38, 'def __new__(subcls', 'our classes are `.model` of what is built'),
    Part(OUTER, 94, 'self.train_mesh = internal.mesh(', '`batch_sharding`, `replicated`'),
    Part(OUTER, 97, "P(('d', 'f'))", '`batch_sharding`'),
    Part(OUTER, 98, 'self.train_mirrored = ', '`seed`'),
    Part(OUTER, 115, 're.compile(self.model.policy_keys)', 'agent/agent.py: what acting needs'),
    Part(OUTER, 173, 'self._split = jax.jit(', '`split`'),
    Part(OUTER, 196, 'def init_policy(self, batch_size)', 'training/together.py tells others of it, and of policy'),
    Part(OUTER, 326, 'def stream(self, st)', 'training/together.py replaces it'),
    Part(OUTER, 302, 'if self.n_updates == 100', 'the profiler, which our defaults can switch off'),
    Part(OUTER, 340, 'def save(self)', 'host/loading.py: a copy of the parameters'),
    Part(OUTER, 356, 'def load(self, data, regex=None)', 'host/loading.py'),
    Part(OUTER, 405, 'def _seeds(self, counter, sharding)', '`seed`'),
    Part('embodied/jax/internal.py', 146, 'def device_put(value, sharding)', '`put`'),
    Part('embodied/jax/internal.py', 161, 'def to_local(x)', '`split`'),
    Part(NETS, 12, 'COMPUTE_DTYPE = jnp.bfloat16', '`compute_in`'),
    Part(NETS, 103, 'def ensure_dtypes(x', 'host/convolutions.py'),
    Part(NETS, 284, 'class Conv2D(nj.Module)', 'host/convolutions.py makes subclasses of it'),
    Part(NETS, 322, 'def _scaled_winit(self', 'host/convolutions.py: the same initialisation'),
    Part(OPT, 25, 'self.scaling = ', 'host/optimizer.py'),
    Part(OPT, 43, 'loss, params, grads, aux = nj.grad(', 'host/optimizer.py calls the loss once'),
    Part(OPT, 60, "self.sub('state', nj.Tree, self.opt.init, params)", 'host/optimizer.py'),
    Part(OPT, 94, 'def _summarize_params(self, counts, depth)', 'host/optimizer.py'),
    Part(RSSM, 61, 'def observe(self, carry, tokens, action, reset', 'teacher/model.py'),
    Part(RSSM, 84, "self.sub(f'obs{i}', nn.Linear", '`TOKENS`'),
    Part(RSSM, 94, 'def imagine(self, carry, policy, length', 'teacher/pretraining.py'),
    Part(RSSM, 120, 'def loss(self, carry, tokens, acts, reset', 'agent/guide.py wraps it'),
    Part(RSSM, 145, "self.sub('dynin2', nn.Linear", '`ACTIONS`'),
    Part(RSSM, 222, "self.sub(f'mlp{i}', nn.Linear", '`VECTORS`'),
    Part(RSSM, 236, "self.sub(f'cnn{i}', nn.Conv2D", '`IMAGES`, host/convolutions.py'),
    Part(RSSM, 337, "self.sub(f'conv{i}', nn.Conv2D", 'host/convolutions.py'),
    Part(RSSM, 344, "self.sub('imgout', nn.Conv2D, self.imgdep, K, 2", 'host/convolutions.py'),
    Part('embodied/jax/outs.py', 43, 'self.output = output', '`shift_mean`'),
    Part('embodied/jax/outs.py', 164, 'self.mean = f32(mean)', '`shift_mean`'),
    Part('embodied/core/driver.py', 20, 'self.ends = pipes', 'training/environments.py closes them'),
    Part('embodied/core/driver.py', 36, 'self.acts = {', 'training/evaluation.py: `ANEW`'),
    Part('embodied/core/replay.py', 25, 'self.sampler = ', '`generators`'),
    Part('embodied/core/replay.py', 27, 'self.chunks = {}', 'training/chunks.py'),
    Part('embodied/core/replay.py', 51, 'self.save_wait = save_wait', 'training/train.py'),
    Part('embodied/core/selectors.py', 34, 'self.rng = ', '`generators`'),
    Part('embodied/core/selectors.py', 138, 'self.tree = SampleTree(', '`generators`'),
    Part('embodied/core/selectors.py', 210, 'self.selectors = ', '`generators`'),
    Part('embodied/core/selectors.py', 239, 'self.rng = ', '`generators`'),
    Part('embodied/core/streams.py', 35, 'self.source = iter(source)', '`drawn`'),
    Part('embodied/core/streams.py', 36, 'self.transform = ', '`drawn`'),
    Part('portal/process.py', 40, 'target=self._wrapper', 'training/environments.py: `Worker`'),
    Part('portal/process.py', 47, 'atexit.register(self.kill)', 'training/environments.py: `close`'),
    Part('portal/process.py', 78, 'self.ready.wait()', 'training/environments.py: no barrier'),
    Part('elements/when.py', 30, 'self._prev = None', '`ratio`, `set_ratio`'),
    Part('elements/checkpoint.py', 69, 'self._saveables[name] = value', '`Checkpoint.load`'),
    Part('elements/checkpoint.py', 135, "filename = (self._directory / 'latest')",
         'host/checkpoints.py'),
    Part('elements/checkpoint.py', 140, 'def _cleanup(self)', '`Checkpoint` keeps another one'),
    Part('elements/checkpoint.py', 152, "return (path / 'done').exists()", 'host/checkpoints.py'),
)

# Names of parameters: kernels of the action, of the first layer on tokens, of vectors and images.
ACTIONS, TOKENS = 'dyn/dynin2', 'dyn/obs0'
VECTORS, IMAGES = r'enc/mlp\d+/kernel', 'enc/cnn0/kernel'
BATCH_AXES = 'd', 'f'  # Axes of the mesh of devices that a batch is split over.


def gradient_transformation(options):
  """Return the host's chain of optax transformations for its settings `agent.opt`."""
  return hostagent.Agent._make_opt(None, **options)


def replay_context(agent, carry, data):
  """Return carry, observations and previous actions of a replayed batch, the context taken off."""
  carry, obs, prevact, _ = agent._apply_replay_context(carry, data)
  return carry, obs, prevact


LATENT, PREVACT = 1, 3  # Places of the RSSM's state and the last action in the policy's carry.


def put(value, sharding):
  """Move arrays to devices explicitly, as the host's transfer guard demands."""
  return embodied.jax.internal.device_put(value, sharding)


def batch_sharding(mesh):
  return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def replicated(mesh):
  return NamedSharding(mesh, PartitionSpec())


def seed(agent, counter):
  """Return the seed, on the agent's devices, that the host's stream gives the batch `counter`."""
  return agent._seeds(counter, agent.train_mirrored)


def drawn(stream):
  """Yield the batches of a host's stream that has not begun, each made when it is asked for, in the thread that asks."""
  if not isinstance(stream, embodied.streams.Prefetch):  # An agent that acts at random gives what it was given.
    yield from stream
    return
  while True:
    yield stream.transform(next(stream.source))


def generators(selector):
  """Return the generators of random numbers of a replay's selector and of those that it consists of."""
  own, inner = getattr(selector, 'rng', None), [*getattr(selector, 'selectors', ()), getattr(selector, 'tree', None)]
  return [own] * (own is not None) + [y for x in inner if x is not None for y in generators(x)]


def split(agent, xs):
  """Turn arrays over environments into lists, one element each, as carries of policies are kept."""
  return agent._split(embodied.jax.internal.to_local(xs))


def ratio(when):
  """Return how far the host's `Ratio` of updates has come, which no checkpoint of its own keeps."""
  return when._prev


def set_ratio(when, value):
  when._prev = value


def compute_in(dtype):
  """Set the type in which all of the host's networks compute from now on."""
  embodied.jax.nets.COMPUTE_DTYPE = dtype


def shift_mean(policy, by):
  """Add `by` `[..., A]` to the mean of a policy with one continuous action, after its own tanh."""
  policy['action'].output.mean += by

