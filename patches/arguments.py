"""The command line, checked as overlay files are, before the host reads it."""

from .overlays import PluginError, flat, keys, misfit

WHERE = 'The command line'


def check(argv, configs):
  """Raise a `PluginError` where the host would end in a traceback, or leave a word out silently.

  argv: the words after the program's name. configs: the `Overlays`.
  """
  if '--help' in argv:
    return
  known, chosen = dict(flat(configs['defaults'])), 0
  for flag, words in _options(argv):
    name = flag.removeprefix('--')
    if not words:
      raise PluginError(f'{WHERE}: the option {flag} has no value; give one, or leave it out.')
    if name == 'configs':
      chosen += 1
      continue
    _option(name.removesuffix('+') if name[:-1] in known else name, words, known)
  if chosen > 1:
    raise PluginError(
        f'{WHERE} has --configs {chosen} times, of which the host keeps only the last; name all '
        'overlays after one: --configs vid2act metaworld.')


def _options(argv):
  """Return [option, its words]; both `--key value` and `--key=value` are options."""
  found = []
  for word in argv:
    if word.startswith('--'):
      flag, _, value = word.partition('=')
      found.append((flag, [value] if '=' in word else []))
    elif found:
      found[-1][1].append(word)
    else:
      raise PluginError(
          f"{WHERE}: the word '{word}' belongs to no option; options begin with two dashes, such "
          'as --logdir.')
  return found


def _option(name, words, known):
  groups = {k.rsplit('.', i)[0] for k in known for i in range(1, k.count('.') + 1)}
  if name in groups:
    below = [k for k in known if k.startswith(f'{name}.')]
    raise PluginError(f"{WHERE}: the key '{name}' is a group; name one of its keys, such as {below[0]}.")
  for key in keys(WHERE, name, known, whole=True):
    misfit(WHERE, name, _value(known[key], words), key, known[key])


def _value(default, words):
  """Return what an overlay file would hold in place of the words, as far as the type allows."""
  if isinstance(default, (list, tuple)):
    words = words[0].split(',') if len(words) == 1 else words
    return [_value(default[0], [x]) for x in words]
  if len(words) > 1:
    return words
  if isinstance(default, bool):
    return {'True': True, 'False': False}.get(words[0], words[0])
  if isinstance(default, (int, float)):
    try:
      return float(words[0])
    except ValueError:
      pass
  return words[0]
