"""A text whose default is '{}' may be written as a mapping, in overlays and in place."""

import json

import elements
import pytest
from dreamerv3 import overlays as known

MAKE = {'reward_type': 'dense', 'config': {'sizes': [1, 2.5], 'on': True, 'none': None}}
KEY = 'env.gymnasium.make'
BOMB = 'x0: &x0 [1, 1]\n' + ''.join(
    f'x{i}: &x{i} [{", ".join([f"*x{i - 1}"] * 9)}]\n' for i in range(1, 9)) + f'{KEY}: {{a: *x8}}'


@pytest.mark.parametrize('text', [
    'env.gymnasium.make: MAKE', 'env: {gymnasium: {make: MAKE}}', 'env.gymnasium: {make: MAKE}',
    'env.gymnasium:\n  limit: 9\n  make: MAKE'])
def test_a_mapping_becomes_its_json(overlays, tmp_path, text):
  (tmp_path / 'mine.yaml').write_text(text.replace('MAKE', json.dumps(MAKE)))
  config = elements.Config(overlays['defaults']).update(overlays[str(tmp_path / 'mine.yaml')])
  assert json.loads(config.env.gymnasium.make) == MAKE


def test_json_stays_as_it_is_on_the_command_line_too(overlays, tmp_path):
  text = json.dumps(MAKE)
  (tmp_path / 'mine.yaml').write_text(f"{KEY}: '{text}'")
  assert overlays[str(tmp_path / 'mine.yaml')] == {KEY: text}
  config = elements.Config(overlays['defaults'])
  assert elements.Flags(config).parse([f'--{KEY}', text]).env.gymnasium.make == text


@pytest.mark.parametrize('text, words', [
    ('env.gymnasium.make: {a: .nan}', "'env.gymnasium.make' has a value that is no JSON"),
    ('env.gymnasium.make: {a: 2020-01-01}', 'no JSON .*date'),
    ('env.gymnasium.make: {a: !!set {b}}', 'no JSON'), ('env.gymnasium.make: [3]', 'needs str'),
    ('env.gymnasium.make: &a {b: *a}', 'no JSON .*Circular'), ('env: &a {gymnasium: *a}', 'no setting|keys are words'),
    (BOMB, 'more than 100,000 characters'), ('env.gymnasium.make: ' + 5000 * '{a: ' + 5000 * '}', 'YAML|no JSON'),
    ('env.gymnasium.image: {a: 3}', "no setting has the key 'env.gymnasium.image.a'"),
    ('env.gymnasium.made: {a: 3}', "no setting has the key 'env.gymnasium.made.a'"),
    ('logdir: {a: 3}', "no setting has the key 'logdir.a'")])
def test_what_is_no_mapping_of_json(overlays, tmp_path, text, words):
  (tmp_path / 'mine.yaml').write_text(text)
  with pytest.raises(known.PluginError, match=words):
    overlays[str(tmp_path / 'mine.yaml')]
