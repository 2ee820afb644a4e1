"""What a written network says when it is read after something of it was spoilt."""

import json

import pytest

from vid2act_plugin.common.errors import UserError


def refusal(module, made, folder, spoil, said):
  """Write `made` into a folder, spoil it, and return the text of the error that reading it raises."""
  made.write(folder)
  facts = json.loads((folder / module.FACTS).read_text())
  spoil(folder, facts)
  (folder / module.FACTS).write_text(json.dumps(facts))
  with pytest.raises(UserError, match=said) as e:
    module.read(folder)
  return str(e.value)
