"""Text that steers a terminal, forges a line, or means something to what draws it."""

STEERS = {
    'colour': '\x1b[31m', 'title': '\x1b]0;owned\x07', 'screen': '\x9b2J', 'return': 'a\rb',
    'line': 'a\nb', 'separator': 'a\u2028b\x85c', 'order': '\u202eabc\u2066', 'half': '\ud800',
    'invisible': '\u200b\ufeff\u00ad', 'nothing': '\0'}
MEANS = '[red]x[/] :smile: $\\frac$ |a| {y} %s <b>'
NASTY = ''.join(STEERS.values()).replace('\ud800', '') + MEANS  # No UTF-8 file has half a character.


def plain(text):
  """Say whether a text is lines of printed characters."""
  return all(x.isprintable() for x in text.split('\n'))
