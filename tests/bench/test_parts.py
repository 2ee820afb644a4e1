"""Which part gives what: the README's table is what is committed."""

import numpy as np
from helpers.told import interval, means, paired, rows_of

TASK = 'metaworld_handle-press-side'


def test_the_readme_has_which_part_gives_what():
  """Every run that is committed is told, beside `vid2act` with the same seed."""
  agent, policy = means('success_any', 'parts'), means('policy_success_any', 'parts')
  policy = {**agent, **policy}  # Where nobody else acts, the whole evaluation is the policy's.
  told = rows_of('| variant (sparse) |')
  assert {x[0].strip('`') for x in told} == {x for _, _, x in agent} and len({x[0] for x in told}) == len(told)
  shares = lambda found, method, seeds: ' '.join(
      f'{found[TASK, s, method]:.2f}'.removeprefix('0') for s in seeds)
  for name, seeds, *cells in told:
    method = name.strip('`')
    mine = [s for _, s in paired(agent, method)]
    assert mine == list(range(len(mine))) and seeds == f'0 to {mine[-1]}', name
    for found, values, difference in zip((agent, policy), cells[::2], cells[1::2], strict=True):
      assert values == shares(found, method, mine), name
      less = np.array([found[TASK, s, method] - found[TASK, s, 'vid2act'] for s in mine])
      assert difference == ('' if method == 'vid2act' else interval(less)), name
