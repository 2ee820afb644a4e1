"""The command `vid2act`: everything around a run of `python -m dreamerv3`."""

import argparse
import importlib
import os
import select
import sys

from .common.errors import as_user_errors
from .common.output import aside

# Only the module of the chosen command is imported: `vid2act host` works where
# JAX and the host are not installed yet.
COMMANDS = {
    'host': ('host.install', 'find, build, patch, verify and revert DreamerV3'),
    'doctor': ('tools.doctor', 'check this machine and what is installed'),
    'collect': ('sources.collect', 'record episodes of source tasks'),
    'import': ('sources.importing', "turn other people's recordings into ours"),
    'label': ('tools.label', 'infer the actions of films from recordings that have them'),
    'inspect': ('tools.inspect', 'show what recordings, teacher bundles and behaviours hold'),
    'teacher': ('teacher.from_runs', 'make a teacher from finished DreamerV3 runs'),
    'rank': ('tools.rank', "play the sources' behaviours in a task: which of them help there?"),
    'ablate': ('studies.ablate', 'run variants x tasks x seeds and compare them'),
    'plot': ('studies.plot', 'compare finished runs'),
    'report': ('studies.report', 'one HTML page about a run or a study'),
    'export': ('sources.export', 'write recordings as data sets of other projects'),
}


def main(argv=None):
  """Run one command; `argv` defaults to the process's arguments."""
  argv = sys.argv[1:] if argv is None else argv
  parser = argparse.ArgumentParser(
      prog='vid2act', description=__doc__,
      epilog='`vid2act COMMAND --help` tells more about one of them.')
  sub = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
  chosen = next((x for x in argv if not x.startswith('-')), None)
  for name, (module, text) in COMMANDS.items():
    if name == chosen:
      importlib.import_module(f'.{module}', __package__).add_parser(sub)
    else:
      sub.add_parser(name, help=text)
  args = parser.parse_args(argv)
  try:
    with as_user_errors(getattr(args, 'out', None) or '.'), aside(getattr(args, 'json', False)):
      args.run(args)
    sys.stdout.flush()
  except BrokenPipeError:
    if not unread():
      raise
    sys.exit(1)


def unread():
  """Say whether nobody reads our output any more, as after `vid2act ... | head`; if so, drop it."""
  poll = select.poll()
  poll.register(sys.stdout.fileno(), 0)
  closed = any(event & select.POLLERR for _, event in poll.poll(0))
  if closed:  # Python flushes once more when it exits.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
  return closed


if __name__ == '__main__':
  main()
