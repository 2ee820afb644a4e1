"""The one exception that is shown to the user without a traceback, and the words of others."""

import contextlib
import errno

from . import budget
from .output import printable

NO_SPACE = 'free some space, or name a folder that has it'
NO_FOLDER = 'mend its rights, or name another folder'
NO_NAME = 'name another one'
A_FILE = 'it is a file, or lies in one: name another'
SHOWN = 4  # Keys in a message.
# Of our requirements, those that are imported where they are used alone: some machines do without.
OPTIONAL = 'av', 'h5py', 'jinja2', 'matplotlib', 'minari', 'pyarrow', 'scipy', 'scope'
CURES = {  # What the user can mend; any other error of the system is a fault of ours.
    errno.ENOSPC: NO_SPACE, errno.EDQUOT: NO_SPACE, errno.EFBIG: NO_SPACE,
    errno.EROFS: NO_FOLDER, errno.EACCES: NO_FOLDER, errno.EPERM: NO_FOLDER,
    errno.ENOTDIR: A_FILE, errno.EEXIST: A_FILE,
    errno.ENAMETOOLONG: NO_NAME, errno.ELOOP: NO_NAME}


class UserError(ValueError, SystemExit):
  """Report a mistake that the user can mend.

  The message is one sentence that names the key or file, the value and the
  cure. Uncaught, Python prints the sentence alone and exits with status 1,
  whichever entry point the process was started through; code and tests catch
  it as a `ValueError`. Names in it may come from files of others: whatever
  would break the line or steer a terminal becomes '?'. A `report`,
  a list of lines, may follow.
  """

  def __init__(self, message, report=()):
    SystemExit.__init__(self, '\n'.join(map(printable, [message, *report])))


@contextlib.contextmanager
def as_user_errors(folder):
  """Turn what the user can mend into a `UserError`.

  That is a full disk, a folder that cannot be used, a lack of memory, and a package that is not installed.

  folder: what is named where the system does not say which file it is.
  """
  kept = 'then repeat the command: what is complete is kept'
  try:
    yield
  except ModuleNotFoundError as e:
    if found := absent(e):
      raise found from e
    raise
  except RuntimeError as e:
    if e.args and isinstance(e.args[0], UserError):  # How the host passes on what an environment's process raised.
      raise e.args[0] from e
    raise
  except MemoryError as e:
    raise UserError(
        f'Memory ran out at work in {folder} ({reason(e)}); stop other programs or use less data, '
        f'{kept}.') from e
  except OSError as e:
    if e.errno not in CURES:
      raise
    where = f'The path {e.filename}' if e.filename else f'A file in {folder}'
    raise UserError(f'{where} cannot be written ({e.strerror}); {CURES[e.errno]}, {kept}.') from e


@contextlib.contextmanager
def reading(what, cure, fault='cannot be read'):
  """Turn an error while `what` is read into a `UserError`; each library has errors of its own."""
  try:
    yield
  except UserError:
    raise
  except Exception as e:
    if budget.ran_out(e):
      raise MemoryError(f'while reading {what}') from e
    raise absent(e) or UserError(f'{what} {fault} ({reason(budget.fault(e))}); {cure}.') from e


def absent(error):
  """Return a `UserError` if an error says that one of the packages `OPTIONAL` is not installed, else None."""
  name = (getattr(error, 'name', None) or '').partition('.')[0]
  if isinstance(error, ModuleNotFoundError) and name in OPTIONAL:
    return UserError(
        f'The package {name} is not installed, which is needed for this; install it, or repeat the command '
        'on a machine that has it.')


def differences(keys, mine, word, others):
  """Return in words how settings `{key: value}` differ in `keys` from `others`, which `word` stands for."""
  more = f' and {len(keys) - SHOWN} other keys' if len(keys) > SHOWN else ''
  return ', '.join(f'{k} {mine.get(k)!r} ({word} {others.get(k)!r})' for k in keys[:SHOWN]) + more


def reason(error):
  """Return what an exception of another library says, in one line of plain characters."""
  return f"{type(error).__name__}: {printable(' '.join(str(error).split())[:200])}"
