"""Make an update that was not finite once more, from the parameters of the run's last checkpoint.

    python -m vid2act_plugin.tools.nonfinite LOGDIR/nonfinite-UPDATE
"""

import pathlib
import sys

import elements

from ..common import safe_yaml
from ..common.errors import UserError, reading
from ..common.output import say
from ..host import checkpoints, platform
from ..training import clone, finite, pretrain


def main(argv=None):
  """Repeat the update that a folder `nonfinite-UPDATE` holds, and print what is not finite."""
  argv = sys.argv[1:] if argv is None else argv
  folder = pathlib.Path(argv[0] if argv else '').expanduser()
  if len(argv) != 1 or not (folder / 'batch.safetensors').is_file():
    raise UserError(
        f"The folder is '{' '.join(argv)}', but one LOGDIR/nonfinite-UPDATE that a run wrote is "
        'needed: name that.')
  cure = 'name a folder as a run wrote it'
  with reading(f"The file {folder / 'config.yaml'}", cure):
    config = elements.Config(safe_yaml.load(folder / 'config.yaml'))
    script, logdir = config.script, folder.resolve().parent  # Wherever the run has been moved since.
  config = platform.resolve(config.update(logdir=str(logdir)))
  if script == 'pretrain':
    agent = pretrain.build(config, clone.recordings(config))
  else:
    from dreamerv3 import main as hostmain
    agent = hostmain.make_agent(config)
  content = checkpoints.last(logdir)
  if not content:
    raise UserError(f'There is no checkpoint in {logdir}, the run of {folder}; restore it.')
  with reading(f'The update in {folder}', cure):
    update = finite.read(folder, agent)
  bad, params = finite.repeat(agent, content, *update)
  say(f"From the checkpoint of update {content['counters']['updates']}:")
  say(f"not finite in the update: {', '.join(bad) or 'nothing'}")
  modules = dict.fromkeys(x.split('/')[0] for x in params)
  say(f"parameters not finite after it: {', '.join(modules) or 'none'}")


if __name__ == '__main__':
  main()
