"""The command line: what the host would trip over, or leave out, is one sentence."""

import elements
import pytest
from dreamerv3 import arguments, plugins

GOOD = [
    '--configs vid2act metaworld', '--configs=vid2act,metaworld --seed 3',
    '--agent.vid2act.floor 0.2', '--agent.vid2act.floor=.5', '--run.steps 1e5', '--seed 1e2',
    '--run.debug True', '--logger.outputs jsonl scope', '--logger.outputs jsonl,scope',
    '--vid2act.sources+ ./more', r'--.*\.units 64', '--agent.vid2act.init_source -x',
    '--run.train_ratio -1', '--run.steps 1 --run.steps 2']


@pytest.mark.parametrize('line, words', [
    ('--configs vid2act --configs metaworld', ['--configs 2 times', '--configs vid2act metaworld']),
    ('--configs=vid2act --configs=metaworld', ['--configs 2 times']),
    ('vid2act metaworld', ["the word 'vid2act'", '--logdir']),
    ('-logdir x', ["the word '-logdir'"]),
    ('--run.debug', ['--run.debug has no value']),
    ('--run.debug --seed 3', ['--run.debug has no value']),
    ('--configs', ['--configs has no value']),
    ('--config vid2act', ["'config'", 'did you mean configs']),
    ('--agent.vid2act.flor 1', ["'agent.vid2act.flor'", 'agent.vid2act.floor']),
    ('--agent.vid2act 1', ["'agent.vid2act' is a group", 'agent.vid2act.distill']),
    ('--agent.vid2act.floor abc', ["'agent.vid2act.floor'", "'abc'", 'float']),
    ('--agent.vid2act.floor nan', ["'agent.vid2act.floor'", 'nan', 'float']),
    ('--agent.vid2act.floor 1 2', ["'agent.vid2act.floor'", "['1', '2']", 'float']),
    ('--agent.vid2act.distill off', ["'agent.vid2act.distill'", "'off'", 'bool']),
    ('--seed 1.5', ["'seed'", '1.5', 'int']), ('--seed', ['--seed has no value']),
    ('--seed inf', ["'seed'", 'inf', 'int']),
    ('--env.metaworld.size 64x64', ["'env.metaworld.size'", "'64x64'", 'list of int']),
    (r'--.*\.unit[s 3', ['malformed']), (r'--nothing.*\.x 3', ["'nothing.*", 'no setting']),
    ('--(a*)*b 3', ['too involved']),
    ('--task=', []), ('--task \x1b[31m', ["'task'", 'str'])])
def test_one_sentence(overlays, line, words):
  if not words:
    arguments.check(line.split(), overlays)  # An empty text is a value.
    return
  with pytest.raises(plugins.PluginError) as error:
    arguments.check(line.split(' '), overlays)
  message = str(error.value)
  assert all(x in message for x in words), message
  assert '\n' not in message and '\x1b' not in message


@pytest.mark.parametrize('line', GOOD)
def test_what_the_host_takes_passes(overlays, line):
  arguments.check(line.split(), overlays)
  config = elements.Config(overlays['defaults'])
  parsed, other = elements.Flags(configs=['defaults']).parse_known(line.split())
  elements.Flags(config).parse(other)


@pytest.mark.parametrize('word', [
    '--seed=x=y', '--seed', '--x', 'a', '--run.debug=1', '--vid2act.sources+'])
def test_what_the_host_refuses_does_not_pass(overlays, word):
  """The check is no weaker than the host's own parser."""
  config = elements.Config(overlays['defaults'])
  with pytest.raises((KeyError, ValueError, TypeError)):
    elements.Flags(config).parse([word])
  with pytest.raises(plugins.PluginError):
    arguments.check([word], overlays)
