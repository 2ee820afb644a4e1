"""Which part gives what: the README's table is what is committed."""

import numpy as np
from helpers.told import README, interval, means, paired, rows_of

TASK, BASES = 'metaworld_handle-press-side', ('vid2act', 'finetune')


def test_the_readme_has_which_part_gives_what():
  """Every run that is committed is told, beside `vid2act` and `finetune` with the same seed."""
  agent, policy = means('success_any', 'parts'), means('policy_success_any', 'parts')
  policy = {**agent, **policy}  # Where nobody else acts, the whole evaluation is the policy's.
  told = rows_of('| variant (sparse) |')
  assert {x[0].strip('`') for x in told} == {x for _, _, x in agent} and len({x[0] for x in told}) == len(told)
  shares = lambda found, method, seeds: ' '.join(
      f'{found[TASK, s, method]:.2f}'.removeprefix('0') for s in seeds)
  text = ' '.join(README.read_text().split())
  for name, seeds, *cells in told:
    method = name.strip('`')
    mine = [s for _, s in paired(agent, method)]
    assert mine == list(range(5)) and seeds == '0 to 4', name
    for found, values, *differences in ((agent, *cells[:3]), (policy, *cells[3:])):
      assert values == shares(found, method, mine), name
      for base, difference in zip(BASES, differences, strict=True):
        less = np.array([found[TASK, s, method] - found[TASK, s, base] for s in mine])
        assert difference == ('' if method == base else interval(less)), (name, base)
    if method == 'vid2act_published':
      more = [interval(np.array([x[TASK, s, 'vid2act'] - x[TASK, s, method] for s in mine])) for x in (agent, policy)]
      assert f'less often than `vid2act`, by {more[0]}, the policy alone by {more[1]}, and no more often' in text
