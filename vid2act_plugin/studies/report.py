"""One HTML file about a run or a study: curves, relevance, films, tables. It opens without a network."""

import importlib.metadata
import itertools
import pathlib

from ..common import files, images, page
from ..common.errors import UserError, reason
from ..common.output import say
from ..training import notes
from . import logdir, run_page

NAME = 'report.html'


def add_parser(sub):
  """Add the command `report` to the subparsers `sub`."""
  parser = sub.add_parser(
      'report', help='one HTML page about a run or a study', description=__doc__)
  add = parser.add_argument
  add('path', metavar='LOGDIR|RESULTS',
      help='a run, finished or not; or a folder of runs or of their scores, such as that of an ablation')
  add('--out', metavar='FILE', help=f'default: {NAME} in that folder')
  add('--against', help="a study's method that the others are compared with; default: that of its "
      'matrix.yaml, else stock, or dreamerv3 where no run is called so')
  parser.set_defaults(run=main)


def main(args):
  """Run the command line `vid2act report`."""
  path = write(args.path, args.out, args.against)
  say(f'Report: {path} ({path.stat().st_size / 1e6:.1f} MB); open it in a browser.')


def write(folder, out=None, against=None):
  """Write the report of a run or a study and return its path, or raise a `UserError`."""
  folder = pathlib.Path(str(folder)).expanduser().absolute()
  path = pathlib.Path(out).expanduser().absolute() if out else folder / NAME
  if path.is_dir():
    raise UserError(f'The option --out is {out}, which is a folder; name a file in it, such as {path / NAME}.')
  if logdir.is_run(folder):
    content = run_page.content(folder)
  else:
    from . import study_page  # Which takes SciPy.
    content = study_page.content(folder, against)
  content['sections'] = [
      dict(id=name, title=title, groups=[
          (k, list(v)) for k, v in itertools.groupby(blocks, lambda x: x['kind'])])
      for name, title, blocks in content['sections']]
  version = importlib.metadata.version('vid2act-plugin')
  html = page.render(
      pathlib.Path(__file__).with_name('page'), footer=f'Made by vid2act {version} from {folder}.', **content)
  path.parent.mkdir(parents=True, exist_ok=True)
  with files.atomic_write(path) as part:
    part.write_text(html, encoding='utf-8')
  return path


def after(folder, keep=notes.keep):
  """Write notes and report of a run that has ended; what goes wrong costs nothing else of it.

  keep: function of the folder that is called before; of a study there is nothing to keep.
  """
  try:
    keep(folder)
    if images.drawing():
      say(f'Report: {write(folder)}; open it in a browser.')
  except Exception as e:
    say(f'Note: the report was not written ({reason(e)}); `vid2act report {folder}` tries again.')
