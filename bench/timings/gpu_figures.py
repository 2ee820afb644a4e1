"""Figures of `gpu.py` from samples, gradients and the machine."""

import importlib.metadata
import math
import os
import platform
import statistics
import subprocess

PACKAGES = ('jax', 'jaxlib', 'numpy', 'optax', 'mujoco', 'metaworld', 'dreamer', 'vid2act-plugin')


def device():
  """Return what the machine is and the versions of what it ran."""
  versions = {}
  for name in PACKAGES:
    try:
      versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      versions[name] = None
  return dict(
      gpu=_nvidia('name'), driver=_nvidia('driver_version'), memory=_nvidia('memory.total'),
      cores=os.cpu_count(), python=platform.python_version(), versions=versions)


def timings(samples):
  """Return rates per second, spreads and ratios to stock's of seconds `{name: [s]}`."""
  return dict(
      per_second={k: round(1 / statistics.median(v), 2) for k, v in samples.items()},
      milliseconds={k: round(1e3 * statistics.median(v), 3) for k, v in samples.items()},
      ratio=ratios(samples),
      spread={k: round(statistics.pstdev(v) / statistics.mean(v), 3) for k, v in samples.items()})


def differences(one, other):
  """Return |a - b| / |b| of losses and, by module, of gradients; the largest first."""
  if not one or not other:
    return None
  norm = lambda x: math.sqrt(sum(float((y.astype('float64') ** 2).sum()) for y in x))
  modules, a, b = {}, one['grads'], other['grads']
  for module in sorted({k.split('/')[0] for k in b}):
    keys = [k for k in b if k.split('/')[0] == module]
    modules[module] = norm([a[k] - b[k] for k in keys]) / max(norm([b[k] for k in keys]), 1e-30)
  losses = {k: abs(one['losses'][k] - v) / max(abs(v), 1e-30) for k, v in other['losses'].items()}
  order = lambda x: {k: float(f'{v:.2e}') for k, v in sorted(x.items(), key=lambda y: -y[1])}
  return dict(
      largest=float(f'{max([*modules.values(), *losses.values()]):.2e}'),
      gradients=order(modules), losses=order(losses))


def ratios(samples):
  """Return the medians over rounds of each one's time, or rate, by stock's."""
  stock = samples.get('stock')
  return {} if not stock else {
      k: round(statistics.median(a / b for a, b in zip(v, stock)), 3)
      for k, v in samples.items() if k != 'stock'}


def _nvidia(field):
  try:
    command = ['nvidia-smi', f'--query-gpu={field}', '--format=csv,noheader']
    out = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    return out.strip() or None
  except (OSError, subprocess.TimeoutExpired):
    return None
