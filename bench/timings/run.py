"""Run the nine timings one after the other; write results.json and the table of bench/README.md.

    python -m bench.timings.run [NAME...] [--table]

They want a machine with nothing else to do. Results of timings that are not
named are kept.
"""

import argparse
import json
import pathlib
import platform
import subprocess
import sys
import time
from importlib import metadata

from . import measure

BENCH = pathlib.Path(__file__).resolve().parents[1]
RESULTS, README = BENCH / 'results.json', BENCH / 'README.md'
BEGIN, END = '<!-- timings: made by `make bench` -->', '<!-- end of timings -->'
SIGN = {True: '<=', False: '>='}

# Name -> script and arguments, what the figure is, whether it should be at most its aim.
TIMINGS = {
    'overhead': (['overhead', '--teachers', '6'], 'update of `vid2act` / stock, 6 teachers', True),
    'overhead_48': (['overhead', '--teachers', '48'], 'the same, 48 teachers', True),
    'acting': (['acting'], 'policy step of `vid2act` / stock', True),
    'pretrain': (['pretrain'], 'pretraining update / stock update', True),
    'render': (['render'], 'Meta-World images/s, `render: fast` / `full`', False),
    'collect': (['collect'], 'collected steps/s, 2 workers / 1', False),
    'startup': (['startup'], 'time to the first update, second start / first', True),
    'loop': (['loop'], 'env steps/s of a whole run, `vid2act` / stock', False),
    'draws': (['draws'], 'a step of a run, batches drawn when they are due / read ahead', True)}
# With those that run by themselves, since they need more than this checkout.
ROWS = {**TIMINGS, 'suite': (
    ['suite', 'BEFORE', 'AFTER'], 'CPU time of all tests, 3cf70db / 660db1a', True)}


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('names', nargs='*', metavar='NAME', help=', '.join(TIMINGS))
  parser.add_argument('--table', action='store_true', help='only write the table anew')
  args = parser.parse_args()
  unknown = [x for x in args.names if x not in TIMINGS]
  if unknown:
    raise SystemExit(f"There is no timing '{unknown[0]}'; choose from {', '.join(TIMINGS)}.")
  for name in [] if args.table else args.names or TIMINGS:
    began = time.monotonic()
    keep(name, _run(name), began)
  README.write_text(insert(README.read_text(), table(results())))
  print(table(results()))


def results():
  """Return what results.json holds, `{name: report}`."""
  return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def keep(name, report, began):
  """Write a report of a timing that began at `time.monotonic()` into results.json and the table."""
  report = dict(
      report, seconds=round(time.monotonic() - began),
      versions=dict(jax=metadata.version('jax'), python=platform.python_version()))
  found = {**results(), name: report}
  rows = [f'{json.dumps(k)}: {json.dumps(found[k])}' for k in ROWS if k in found]
  RESULTS.write_text('{\n' + ',\n'.join(rows) + '\n}\n')
  README.write_text(insert(README.read_text(), table(found)))


def table(results):
  """Return the results `{name: report}` of `measure.report` as Markdown."""
  lines = ['| what | figure | aim | | command, seconds |', '|---|---|---|---|---|']
  for name, (command, what, most) in ROWS.items():
    if name in results:
      found = results[name]
      lines.append(
          f"| {what}{_more(found)} | {found['figure']:.3g} | {SIGN[most]} {found['aim']:g} | "
          f"{'met' if found['met'] else 'missed'}{_besides(found)} | "
          f"`python -m bench.timings.{' '.join(command)}`, {found['seconds']:.0f} |")
  return '\n'.join(lines)


def insert(readme, text):
  """Return the text of the README with its table of timings replaced."""
  before, rest = readme.split(BEGIN)
  return f'{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}'


def _besides(found):
  """Say which aims of other figures in the same row are missed."""
  aims = ('memory', 'memory_ratio', 'memory_aim', True), ('loader', 'loader', 'loader_aim', False), (
      'first start', 'first_by_host', 'first_by_host_aim', True)
  return ''.join(f', {name} missed' for name, figure, aim, most in aims if (
      figure in found and not measure.meets(found[figure], found[aim], most)))


def _more(found):
  """Return what else a report holds, in words."""
  parts = []
  if 'shares' in found:
    shares = ', '.join(f'{k} {v:+.2f}' for k, v in found['shares'].items())
    parts += [f"the method alone {found['method_alone']:.2f}", shares,
              f"memory {found['memory_ratio']:.2f} (aim <= {found['memory_aim']})"]
  if 'executed' in found:
    parts.append(f"a step that a source carries out {found['executed']:.2f}")
  if 'loader' in found:
    parts.append(f"loader / consumption {found['loader']:.0f} (aim >= {found['loader_aim']})")
  for key, unit in (('frames_per_second', 'images/s'), ('steps_per_second', 'steps/s')):
    if key in found:
      parts.append(', '.join(f'{k} {v:g} {unit}' for k, v in found[key].items()))
  if 'cpu_seconds' in found:
    for kind in ('cpu', 'wall'):
      old, new = (found[f'{kind}_seconds'][k] for k in ('before', 'after'))
      parts.append(f'{new} s / {old} s of {kind} time')
    parts.append(f"{found['tests']['after']} / {found['tests']['before']}")
  if 'first_by_host' in found:
    parts.append(f"first start of stock with our settings / the host's own "
                 f"{found['first_by_host']:.2f} (aim <= {found['first_by_host_aim']})")
  return ''.join(f'; {x}' for x in parts)


def _run(name):
  """Run one timing and return its report."""
  print(f'{name}:', flush=True)
  last = ''
  script, *options = TIMINGS[name][0]
  command = [sys.executable, '-m', f'bench.timings.{script}', *options]
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
    for last in process.stdout:
      if not last.startswith('{'):
        print(f'  {last}', end='', flush=True)
  if process.returncode:
    raise SystemExit(f'{name} ended with status {process.returncode}; its message is above.')
  return json.loads(last)


if __name__ == '__main__':
  main()
