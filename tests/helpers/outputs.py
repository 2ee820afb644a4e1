"""The outputs of DreamerV3's logger: which are installed, and what they have written."""

import importlib.util

WRITERS = {'scope': 'scope', 'tensorboard': 'tensorboard', 'wandb': 'wandb'}
OUTPUTS = 'jsonl', 'scope', 'tensorboard', 'wandb'
LACKING = {x: WRITERS[x] for x in OUTPUTS[1:] if not importlib.util.find_spec(WRITERS[x])}
INSTALLED = [x for x in OUTPUTS if x not in LACKING]


def written(logdir, output, name):
  """Return the number of places where `output` has a picture or a film `name`, as `eval/video`."""
  if output == 'scope':
    return len(list(logdir.glob(f'scope/{name.replace("/", "-")}.*/*')))
  if output == 'tensorboard':  # Tags stand as they are in its protocol buffers.
    return sum(x.read_bytes().count(name.encode()) for x in logdir.glob('events.out.tfevents.*'))
  group, _, kind = name.rpartition('/')
  return len(list(logdir.glob(f'wandb/*/files/media/*/{group}/{kind}_*')))


def wandb_runs(logdir):
  """Return the ids of the runs of Weights & Biases in a logdir, one for each start."""
  return [x.name.split('-')[-1] for x in logdir.glob('wandb/offline-run-*')]
