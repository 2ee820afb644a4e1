"""The one exception that is shown to the user without a traceback."""


class UserError(ValueError, SystemExit):
  """Report a mistake that the user can mend.

  The message is one sentence that names the key or file, the value and the
  cure. Uncaught, Python prints the sentence alone and exits with status 1,
  whichever entry point the process was started through; code and tests catch
  it as a `ValueError`.
  """

  def __init__(self, message):
    SystemExit.__init__(self, message)
