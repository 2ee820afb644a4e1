"""Stop at the first update that is not finite, and keep what shows it again.

`python -m vid2act_plugin.tools.nonfinite LOGDIR/nonfinite-UPDATE` makes the update once
more, from the parameters of the run's last checkpoint.
"""

import contextlib
import json
import math

import jax
import numpy as np
from safetensors.numpy import load_file

from ..common import files
from ..common.errors import UserError
from ..host import checkpoints, internals, processes
from ..sources import locate
from ..teacher import stored

# Losses in the order in which they depend on each other, and whose they are; between, decoders'.
FIRST = {'dyn': 'dyn', 'rep': 'dyn'}
LAST = {'rew': 'rew', 'con': 'con', 'policy': 'pol', 'value': 'val', 'repval': 'val',
        'distill': 'adapter', 'vae': 'vae', 'amortised': 'amortised',
        'imitate': 'pol'}
OPT = ('opt/loss', 'opt/grad_norm', 'opt/update_rms', 'opt/param_rms')
FLOOR = 1.01e-4  # The host's loss scaling goes no lower than 1e-4.


class Watched:
  """An agent that stops where values are not finite; in all else it is the agent itself.

  The host fetches the metrics of an update during the next one, so that nothing
  waits for this; the last two batches are kept for it. A checkpoint with
  parameters that are not finite is neither written nor loaded. Raises a
  `UserError`.
  """

  def __init__(self, agent, config):
    self.agent, self.config = agent, config
    self.before = self.last = None

  def __getattr__(self, name):
    return getattr(self.agent, name)

  def train(self, carry, data):
    update = int(getattr(self.agent, 'n_updates', 0))  # The host's random agent has none.
    # What is kept of a batch is all that the update depends on.
    data = getattr(self.agent, 'judged', dict)(data)
    self.before, self.last = self.last, (update, carry, dict(data))
    carry, outs, mets = self.agent.train(carry, data)
    bad = losses(mets)
    if bad:
      raise stop(self.agent, self.config, self.before, bad, mets)
    return carry, outs, mets

  def save(self):
    data = self.agent.save()
    bad = tensors(data['params']) if data else []
    if bad and self.last:
      raise stop(self.agent, self.config, self.last, [], {})
    _refuse(bad)
    return data

  def load(self, data, *args):
    _refuse(tensors(data['params']) if data else [])
    self.agent.load(data, *args)


def losses(mets):
  """Return which losses and sums of the optimiser are not finite, causes before effects.

  With loss scaling (float16) the host leaves out an update that overflows and
  halves the scale, which is no fault until the scale is at its lowest.
  """
  if mets.get('opt/grad_overflow', 0) and mets['opt/grad_scale'] > FLOOR:
    return []
  bad = [k for k, v in mets.items()
         if (k in OPT or k.startswith('loss/')) and not math.isfinite(v)]
  order = [*FIRST, 'dec', *LAST]
  place = lambda k: order.index(_loss(k)) if _loss(k) in order else order.index('dec')
  return sorted(bad, key=lambda k: len(order) if k in OPT else place(k))


def tensors(params):
  """Return the names of the parameters that are not finite, those of the optimiser last."""
  bad = [k for k, v in params.items() if not np.isfinite(np.asarray(v, np.float32)).all()]
  return sorted(bad, key=lambda k: k.startswith('opt/'))


def stop(agent, config, update, bad, mets):
  """Write the batch of `update` (counter, carry, data) and return the error that says so.

  bad: what is not finite of its metrics `mets`; empty: only its parameters are known to be bad.
  """
  logdir, after = processes.home(config), tensors(agent.save()['params'])
  # Metrics come when the next update is under way, too late to see what this one did to whom.
  known, again, exact = None, ([], []), [] if mets else after
  with contextlib.suppress(UserError):  # One that is damaged must not hide what is said here.
    known = checkpoints.last(logdir)
  if known:
    again = repeat(agent, known, *update)
  bad, seen, at = bad or again[0], any(again), known and int(known['counters']['updates'])
  first = _first(bad, again[1] or exact)
  folder = write(logdir, *update, config, dict(
      update=update[0], first=first, losses=bad, metrics={
          k: float(v) for k, v in mets.items() if np.ndim(v) == 0},
      params=after, checkpoint=at, repeated=seen))
  does = 'does the same to' if seen else 'does no harm to'
  kept = 'there is no checkpoint that can be read' if not known else \
      f'{does} the last good checkpoint, which is that after {at} updates and is kept'
  cure = 'mend the data' if seen else 'lower agent.opt.lr'
  again = 'repeat the command to continue from there'
  if not seen and locate.cache(config) in logdir.parents:  # Its name is that of all that made it.
    again = 'repeat the command, which begins this stage anew with it'
  return UserError(
      f'Update {update[0]} in {logdir} is not finite, first in {first}; its batch is in {folder} '
      f'and {kept}: look at it with `python -m vid2act_plugin.tools.nonfinite {folder}`, then {cure} and '
      f'{again}.')


def repeat(agent, content, update, carry, data):
  """Make the update from the parameters of a checkpoint; return what `losses`, `tensors` find."""
  counters = {**content['counters'], 'updates': update}  # They decide what a teacher draws.
  agent.load({'params': content['params'], 'counters': counters})
  agent.train(carry, dict(data))
  after = tensors(agent.save()['params'])
  mets = agent.train(carry, dict(data))[2]  # Those of the update before.
  return losses(mets), after


def write(logdir, update, carry, data, config, report):
  """Write `LOGDIR/nonfinite-UPDATE`, at once and beside any that is there; return its path."""
  names = (f'nonfinite-{update}' + f'-{i}' * (i > 1) for i in range(1, 10 ** 6))
  folder = next(x for x in map(logdir.joinpath, names) if not x.exists())
  leaves, data = processes.fetch(jax.tree.leaves(carry)), processes.fetch(data)
  # Safetensors reads no bfloat16 into NumPy; float32 holds its values.
  leaves = [np.float32(x) if x.dtype.name == 'bfloat16' else x for x in leaves]
  arrays = {
      **{f'batch/{k}': v for k, v in data.items()},
      **{f'carry/{i:03}': v for i, v in enumerate(leaves)}}
  if not processes.writes(config):
    return folder
  with files.atomic_folder(folder) as made:
    (made / 'batch.safetensors').write_bytes(stored.content(arrays))
    config.update(processes.ALONE).save(made / 'config.yaml')  # To be looked at by one process.
    (made / 'report.json').write_text(json.dumps(report, indent=1), encoding='utf-8')
  return folder


def read(folder, agent):
  """Return counter, carry and batch that `write` wrote, on the agent's devices."""
  arrays = load_file(files.regular_file(folder, 'batch.safetensors'))
  part = lambda p: {k.removeprefix(p): v for k, v in sorted(arrays.items()) if k.startswith(p)}
  put = internals.put
  data, leaves = part('batch/'), list(part('carry/').values())
  seed = put(data.pop('seed'), agent.train_mirrored)
  shapes, tree = jax.tree.flatten(agent.init_train(len(data['is_first'])))
  carry = put([v.astype(x.dtype) for v, x in zip(leaves, shapes)], agent.train_sharded)
  update = files.parse(folder, 'report.json')['update']
  return update, tree.unflatten(carry), {**put(data, agent.train_sharded), 'seed': seed}


def _loss(name):
  return name.removeprefix('loss/')


def _first(bad, params):
  """Say in words where values were not finite first."""
  if bad and bad[0] not in OPT:
    return f"{bad[0]} (module {({**FIRST, **LAST}).get(_loss(bad[0]), 'dec')})"
  modules = dict.fromkeys(x.split('/')[0] for x in params if not x.startswith('opt/'))
  return 'the gradient' + f" of {', '.join(modules)}" * bool(modules)


def _refuse(bad):
  if bad:
    raise UserError(
        f"The checkpoint has values that are not finite in {bad[0]} (module "
        f"{bad[0].split('/')[0]}) and {len(bad) - 1} other tensors; name a checkpoint from before.")
