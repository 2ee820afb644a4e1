"""Work that Ray spreads over this machine or a cluster: commands, or jobs as `parallel` has them.

Ray decides what runs where, and starts again what went with a node. What is
between nodes is a file system that they share.
"""

import contextlib
import math
import os
import re
import secrets
import socket
import tempfile

from . import lock, nodes, parallel
from .errors import UserError, reason
from .output import printable, say

LOCAL, AUTO = 'local', 'auto'
RETRIES = 20  # Nodes that a command may lose; a cluster of borrowed nodes loses many.
ANSWER = 10  # Seconds within which an address has to answer.
SETTLE = 300  # Seconds in which every node shows what it sees.
HEAD = 'name HOST:PORT of a head that runs, as `ray start --head` prints it, or no address'
HELLO, SETTINGS = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0', b'\4'  # As gRPC begins, and how it is answered.
STARTS = '~/.cache/vid2act/ray'  # Whose lock is held while one starts: it gives its parts 30 seconds, busy machine or not.
MEMORY = 2 ** 27  # Bytes of a local Ray's object store: what it carries is paths.


def add_options(add):
  """Add `--ray` and what a task of it takes to a command's options."""
  add('--ray', nargs='?', const=LOCAL, metavar='ADDRESS',
      help='spread the work by Ray over the cluster whose head is HOST:PORT, or `auto` on one of its nodes; '
      'without an address, over this machine, by a Ray that ends with the command')
  add('--cpus', type=float, help='with --ray: CPUs that each takes; default: 1')
  add('--gpus', type=float, help='with --ray: GPUs that each takes, also a fraction of one; default: 0')


def check(args, other):
  """Raise a `UserError` for options that do not go together, or amounts that cannot be.

  other: the option, 0 by default, that says how many are at work without Ray.
  """
  for name in ('cpus', 'gpus'):
    value = getattr(args, name)
    if value is not None and args.ray is None:
      raise UserError(f'The option --{name} is {value:g}, which only Ray counts; add --ray, or leave it out.')
    if value is not None and not (math.isfinite(value) and (0 <= value <= 1 or value > 1 and value % 1 == 0)):
      raise UserError(f'The option --{name} is {value:g}; give a whole number, or a fraction below 1.')
  if args.ray is not None and getattr(args, other):
    raise UserError(
        f'The option --{other} is {getattr(args, other)}, and with --ray the cluster decides how many are at '
        'work; leave it out, and name --cpus or --gpus.')


class Cluster:
  """Ray, begun or found, with nodes that have what a task takes.

  address: `LOCAL`, `AUTO` or HOST:PORT. cpus, gpus: what each task takes.
  Raises a `UserError` before anything starts if the cluster cannot be had.
  """

  def __init__(self, address=LOCAL, cpus=None, gpus=None):
    self.cpus, self.gpus = 1 if cpus is None else cpus, gpus or 0
    self.where, self.stack = address, contextlib.ExitStack()
    if address == LOCAL:  # Before the import, which reads it. Ray listens on every interface and runs what it is
      self.stack.enter_context(parallel.environ(  # sent: from whoever has the token.
          RAY_USAGE_STATS_ENABLED='0', RAY_AUTH_MODE='token', RAY_AUTH_TOKEN=secrets.token_hex(32),
          RAY_gcs_server_port_wait_time_s='120'))
    try:
      import ray
    except ImportError:
      self.stack.close()
      raise UserError(
          'The option --ray needs the package ray, which is not installed; install it, '
          "`pip install 'vid2act-plugin[ray]'`, or leave the option out.") from None
    self.ray = ray

  def __enter__(self):
    with self.stack:
      self._connect()
      self._fit()
      self.stack = self.stack.pop_all()
    return self

  def __exit__(self, *_):
    self.stack.close()

  def shared(self, folders=(), paths=()):
    """Raise a `UserError` unless every node sees the same folders, and has the other paths."""
    with contextlib.ExitStack() as stack:
      marks = [stack.enter_context(nodes.mark(x)) for x in folders]
      every = self._nodes()
      found = {}
      for node in every:
        task = self.ray.remote(nodes.missing).options(num_cpus=0, scheduling_strategy=self._on(node))
        found[task.remote([*marks, *map(str, paths)])] = node
      self.ray.wait(list(found), num_returns=len(found), timeout=SETTLE)
      for ref, node in found.items():
        self._sees(ref, node)

  def run_commands(self, commands, logs, poll, needed, after=None):
    """Run commands as tasks, and yield (name, status) as each ends; see `parallel.run_commands`.

    needed: is asked on the node, so it has to be known there. after: function
    from a name to the name of the command that it waits for, None for no other;
    one whose forerunner failed does not begin. A command whose node dies is run
    again on another one.
    """
    task = self._task(nodes.run)
    needed, refs = self.ray.put(needed), {}
    here = dict(cwd=os.getcwd(), environ=dict(PYTHONPATH=os.environ.get('PYTHONPATH', ''), **self._limits()))
    try:
      for name, command in commands.items():
        before = after(name) if after else None
        refs[name] = task.options(name=name).remote(
            name, command, logs(name), needed, here, refs[before] if before else 0)
      names = {ref: name for name, ref in refs.items()}
      while names:
        ended, _ = self.ray.wait(list(names), timeout=parallel.POLL)
        poll()
        for ref in ended:
          yield names[ref], self._status(ref, logs(names[ref]))
          del names[ref]
    finally:
      self._cancel(list(refs.values()))

  def run_jobs(self, kind, jobs):
    """Yield (job, result) as jobs finish, each on the next free CPU; see `parallel.run_jobs`."""
    task = self._task(nodes.attempt)
    waiting = {task.remote(kind, job): job for job in jobs}
    try:
      while waiting:
        for ref in self.ray.wait(list(waiting))[0]:
          job = waiting.pop(ref)
          try:
            answer = self.ray.get(ref)
          except self.ray.exceptions.RayError:
            raise parallel.died(job, 'more --cpus per task') from None
          yield job, parallel.taken(job, *answer)
    finally:
      self._cancel(list(waiting))

  def _task(self, function):
    return self.ray.remote(
        num_cpus=self.cpus, num_gpus=self.gpus, max_retries=RETRIES, scheduling_strategy='SPREAD')(function)

  def _connect(self):
    options = dict(log_to_driver=True, logging_level='error')
    alone, cure = contextlib.nullcontext(), HEAD
    if self.where == LOCAL:
      alone, cure = lock.locked(STARTS), 'repeat the command when this machine has less to do'
      short = min('/tmp', tempfile.gettempdir(), key=len)  # The path of a socket has at most 107 bytes.
      folder = self.stack.enter_context(
          tempfile.TemporaryDirectory(prefix='ray-', dir=short, ignore_cleanup_errors=True))
      options.update(include_dashboard=False, object_store_memory=MEMORY, _temp_dir=folder)
    elif self.where != AUTO:
      _answers(self.where)
    self.stack.callback(self.ray.shutdown)
    try:
      with alone:
        self.ray.init(address=self.where, **options)
    except Exception as e:
      raise UserError(f"The Ray at '{self.where}' cannot be used ({reason(e)}); {cure}.") from e

  def _fit(self):
    """Raise a `UserError` unless one node has what a task takes."""
    have = [x['Resources'] for x in self._nodes()]
    if not any(x.get('CPU', 0) >= self.cpus and x.get('GPU', 0) >= self.gpus for x in have):
      most = ', '.join(sorted({f"{x.get('CPU', 0):g} CPUs and {x.get('GPU', 0):g} GPUs" for x in have}))
      raise UserError(
          f'A task is to take {self.cpus:g} CPUs (--cpus) and {self.gpus:g} GPUs (--gpus), but the nodes have '
          f'{most}; ask for no more than one of them has.')
    if self.where != LOCAL:
      say(f'Ray: {len(have)} nodes with {sum(x.get("CPU", 0) for x in have):g} CPUs and '
          f'{sum(x.get("GPU", 0) for x in have):g} GPUs')

  def _nodes(self):
    return [x for x in self.ray.nodes() if x['Alive']]

  def _on(self, node):
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
    return NodeAffinitySchedulingStrategy(node['NodeID'], soft=False)

  def _sees(self, ref, node):
    place = f"The node {node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
    try:
      lacking = self.ray.get(ref, timeout=0)
    except Exception as e:
      said = getattr(e, 'cause', None) or e
      raise UserError(
          f'{place} cannot run our code ({reason(said)}); install there what is installed here.') from e
    if lacking:
      path, mark = os.path.split(lacking)
      raise UserError(
          f'{place} does not see {path if mark.startswith(nodes.MARK) else lacking} as this one does; put it '
          'on a file system that the nodes share (--out, vid2act.cache), at the same path.')

  def _limits(self):
    """Return what keeps a run from taking more of a node than it asked for."""
    limits = dict(NPROC=str(max(1, int(self.cpus))))  # Threads of XLA on a CPU.
    if not self.gpus:
      limits.update(CUDA_VISIBLE_DEVICES='')
    elif self.gpus < 1:  # Runs that share a GPU would each take three quarters of its memory.
      limits.update(XLA_PYTHON_CLIENT_MEM_FRACTION=f'{0.9 * self.gpus:.3f}')
    return limits

  def _status(self, ref, log):
    try:
      return self.ray.get(ref)
    except self.ray.exceptions.RayError as e:  # Not the command: whoever was to run it.
      log.parent.mkdir(parents=True, exist_ok=True)
      with open(log, 'a', encoding='utf-8') as file:
        file.write(f'{printable(reason(getattr(e, "cause", None) or e))}\n')
      return 1

  def _cancel(self, refs):
    """Interrupt tasks, and wait until what they ran has saved; queued ones never start."""
    for ref in refs:
      self.ray.cancel(ref)
    if refs:
      self.ray.wait(refs, num_returns=len(refs))


def _answers(address):
  """Raise a `UserError` unless something listens at HOST:PORT; Ray itself would try for long."""
  found = re.fullmatch(r'(\[?[^\s\[\]/]+\]?):(\d{1,5})', address)
  try:
    if not found:
      raise ValueError('it is not HOST:PORT')
    with socket.create_connection((found[1].strip('[]'), int(found[2])), ANSWER) as connection:
      connection.sendall(HELLO)
      if connection.recv(9)[3:4] != SETTINGS:
        raise ValueError('what listens there is not Ray')
  except (OSError, ValueError, OverflowError) as e:
    raise UserError(f"No Ray answers at '{address}' ({reason(e)}); {HEAD}.") from e
