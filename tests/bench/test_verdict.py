"""The verdict of the studies: each row of its table is what is committed."""

import numpy as np
from helpers.told import interval, means, paired, rows_of

DEVELOPED = 'metaworld_button-press-wall', 'metaworld_handle-press-side'  # On other seeds.
ROWS = (  # A study and its metric, in the order of the table; the second without the targets above.
    ('sparse', 'success_any'), ('sparse', 'success_any'), ('dense', 'score'), ('far', 'score'), ('control', 'score'),
    ('noise', 'score'), ('irrelevant', 'score'), ('walker', 'score'))


def test_the_verdict_is_of_every_run():
  table = rows_of('| sources | reward | targets x seeds |')
  for i, ((study, metric), row) in enumerate(zip(ROWS, table, strict=True)):
    found = {k: x for k, x in means(metric, study).items() if i != 1 or k[0] not in DEVELOPED}
    cells = []
    for base in ('finetune', 'stock'):
      pairs = paired(found, 'vid2act', base)
      tasks = sorted({x for x, _ in pairs})
      gained = [np.array([found[t, s, 'vid2act'] - found[t, s, base] for t, s in pairs if t == x]) for x in tasks]
      cells.append(interval(*gained, places=1 + (metric != 'score')) if gained else 'left')
      if base == 'finetune':
        cells.insert(0, f'{len(tasks)} x {len(gained[0])}')
    assert row[2:5] == cells, study
