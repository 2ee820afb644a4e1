"""Runs by DreamerV3's own scripts: their logdirs hold curves, but no score files."""

import re

from ..common import files, safe_yaml

LOGS = 'metrics.jsonl', 'scores.jsonl'  # Either holds the scores of episodes.
OURS = re.compile(rb'^vid2act:', re.MULTILINE)  # A key that runs without us do not have.
THEIRS = re.compile(rb'^  eval_every: 0(\.0)?\s*$', re.MULTILINE)  # With us, by which its own scripts run.


def logdirs(path):
  """Yield `(log, {task, method, seed})` of such logdirs below a folder, itself included.

  log: the path of their `metrics.jsonl` or `scores.jsonl`. Runs by our scripts are left out, which write
  score files when they end, and what has no configuration that can be read.
  """
  for file in sorted(path.rglob('config.yaml')):
    folder = file.parent
    log = next((folder / x for x in LOGS if (folder / x).is_file()), None)
    if not log or (folder / 'scores').is_dir():
      continue
    try:
      content = files.read(file, safe_yaml.LONGEST)
      config = {} if OURS.search(content) and not THEIRS.search(content) else safe_yaml.load(file)
      names = [config['task'], config.get('method', 'name'), config.get('seed', 0)]
      agent, script = config.get('agent'), config.get('script')
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
      continue
    if script == 'eval_only':  # Of a run that is another's.
      continue
    if names[1] == 'name':  # As DreamerV3 has it where nobody named one.
      names[1] = agent.get('typ', 'dreamerv3') if isinstance(agent, dict) else 'dreamerv3'
    yield log, dict(zip(('task', 'method', 'seed'), names))
