"""The one exception that is shown to the user without a traceback, and the words of others."""


class UserError(ValueError, SystemExit):
  """Report a mistake that the user can mend.

  The message is one sentence that names the key or file, the value and the
  cure. Uncaught, Python prints the sentence alone and exits with status 1,
  whichever entry point the process was started through; code and tests catch
  it as a `ValueError`. Names in it may come from files of others: whatever
  would break the line or steer a terminal becomes '?'. A `report` of several
  lines may follow.
  """

  def __init__(self, message, report=''):
    SystemExit.__init__(self, printable(message) + f'\n{report}' * bool(report))


def reason(error):
  """Return what an exception of another library says, in one line of plain characters."""
  return f"{type(error).__name__}: {printable(' '.join(str(error).split())[:200])}"


def printable(text):
  """Return a text with '?' for all characters that are not printed."""
  return ''.join(x if x.isprintable() else '?' for x in text)
