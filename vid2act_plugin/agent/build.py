"""The finetuning agent beside its teacher: built, checked against each other, tied together."""

import functools
import json
import math
import pathlib

import elements
from dreamerv3 import agent as hostagent
from dreamerv3 import main as hostmain

from ..common import files
from ..common.errors import UserError, differences, reading, reason
from ..common.output import note
from ..host import checkpoints, convolutions
from ..sources.locate import locate
from ..teacher import behaviours
from ..teacher import bundle as bundles
from . import acting, demonstrated, imitate, initialise, rehearse
from .agent import Agent
from .frozen_teacher import Taught
from .options import acts, executes, needs_recordings, needs_teacher

PIN = 'teacher.json'  # In the logdir.
ACTED = 'camera', 'repeat', 'orientation'  # Settings of an environment that decide what an action does, or seems to.


def make(config, obs_space, act_space, agent_config):
  """Build the agent for the whole `config`; without distillation and guide it is the host's."""
  if not config.agent.vid2act.rehearse or not needs_recordings(config):
    return _make(config, obs_space, act_space, agent_config)
  rehearsal = rehearse.Rehearsal(config, obs_space, act_space)
  agent = _make(
      config, obs_space, act_space, agent_config, [lambda x: rehearse.apart(x, rehearsal.rows)])
  rehearsal.choose(config)
  return rehearse.Rehearsing(agent, rehearsal)


def _make(config, obs_space, act_space, agent_config, parts=()):
  """Build the agent; parts: functions class -> class, for the one that the host builds it from."""
  options = config.agent.vid2act
  taught = options.distill or options.guide
  own = []
  if options.folded:
    own.append(convolutions.folding)
  if executes(config) and options.imitate:
    own.append(lambda kind: imitate.imitating(kind, options.imitate))
  parts = [*own, *parts]  # Those of the caller see the losses that ours add.
  changed = lambda kind: functools.reduce(lambda x, part: part(x), parts, kind)
  if not needs_teacher(config):
    if executes(config):
      check_actions(config, act_space)
    return _acting(changed(hostagent.Agent)(obs_space, act_space, agent_config), config)
  bundle = bundles.load(config.vid2act.teacher)
  bundle.check()
  check(bundle, config, obs_space, act_space)
  _pin(elements.Path(agent_config.logdir), bundle)
  if taught:
    kind = changed(type('Agent', (Agent,), {'bundle': bundle}))
    windows = _windows(config, bundle) if options.guide and options.vae.online and needs_recordings(config) else None
    agent = Taught(
        _acting(kind(obs_space, act_space, agent_config), config, bundle), bundle, windows)
  else:
    bundle.model()  # Its parameters are looked up below, and have to be there.
    agent = _acting(changed(hostagent.Agent)(obs_space, act_space, agent_config), config, bundle)
  if options.init and config.script != 'eval_only':
    initialise.initialise(agent, bundle, config)
    demonstrated.start(agent, config)
  return agent


def _acting(agent, config, bundle=None):
  """Return the agent with the sources' behaviours beside it, if any of its episodes are theirs."""
  if not acts(config):
    return agent
  found, where = _given(config, bundle)
  if not found:
    raise UserError(
        f"The key agent.vid2act.execute is {dict(config.agent.vid2act.execute)}, but there are no "
        f"behaviours in the teacher '{where}'; repeat your command with run.eval_every above 0, or "
        'make them with --script clone and name LOGDIR/behaviours as vid2act.cloned.')
  _check_behaviours(config, found.facts, where, agent.obs_space, agent.act_space)
  _note_other_settings(found.facts, config)
  return acting.Acting(
      agent, found, config.agent.vid2act,
      config.env.get(config.task.split('_')[0], {}).get('repeat', 1))


def _given(config, bundle=None):
  """Return the behaviours of the folder or else the teacher that a run is given, None if there are none, and where."""
  folder, teacher = config.vid2act.cloned, config.vid2act.teacher
  if folder:
    return behaviours.read(folder), folder
  if teacher and not bundle:  # Of which nothing else is needed.
    bundle = bundles.load(teacher)
  return bundle and behaviours.of(bundle), teacher


def _check_behaviours(config, facts, where, obs_space, act_space):
  """Raise a `UserError` where behaviours are for other images than the task's; a note says if none has its actions."""
  shape = _image(obs_space)
  if facts['image'] != shape:
    raise UserError(
        f'The task {config.task} has images of shape {shape}, but the behaviours '
        f"in {where} are for {facts['image']}; set env.{config.task.split('_')[0]}.size "
        'accordingly.')
  actions = act_space['action'].shape[0] if 'action' in act_space else 0
  if actions and actions not in facts['act_sizes']:
    _note_idle(actions, config.logdir)


@functools.cache  # Before a stage or else once the agent is built, and not again.
def _note_idle(actions, logdir):
  note(f'Note: no source has {actions} actions as the task, so that none carries out episodes, and nothing is imitated.')


def _note_other_settings(facts, config):
  """Note by what the task looks or moves otherwise than where the behaviours were recorded."""
  suite = config.task.split('_')[0]
  mine, theirs = config.env.get(suite, {}), facts['env']
  other = [k for k in ACTED if k in mine and k in theirs and mine[k] != theirs[k]]
  if other and facts['sources'][0].split('_')[0] == suite:
    note(f"Note: of env.{suite} the task has {differences(other, mine, 'the recordings of the sources', theirs)}, so "
         'that sources may not do here what they did there.')


def _windows(config, bundle):
  """Return a function counter -> windows of the recordings of every source, for the VAE."""
  from ..sources import dataset
  data = dataset.Sources(
      [x.folder for x in locate(config)], holdout=0, act_width=bundle.act_width, seed=config.seed)
  if data.names != bundle.manifest['sources']:
    raise UserError(
        f"The recordings are of {data.names}, but the teacher {config.vid2act.teacher} was made "
        f"from {bundle.manifest['sources']}, in this order; set vid2act.sources accordingly.")
  data.check_windows(config.batch_length, 'batch_length')
  each = -(-config.agent.vid2act.vae.batch // (len(data.names) * config.batch_length))
  return lambda counter: data.sample(
      counter, each * len(data.names), config.batch_length, more=['confidence'])


def check(bundle, config, obs_space, act_space):
  """Raise a `UserError` where the bundle does not fit the run."""
  path, have = config.vid2act.teacher, bundle.manifest
  dataset = list(config.vid2act.sources)
  # Names of an imported teacher's sources need not be tasks.
  if dataset not in (['auto'], have['sources']) and not tied(config.logdir, bundle) and [
      x.name for x in locate(config)] != have['sources']:  # Of a run that goes on, data may have been moved.
    raise UserError(
        f'The key vid2act.sources is {dataset}, but the teacher {path} was made from '
        f"{have['sources']}, in this order; name these or pretrain another teacher.")
  shape = _image(obs_space)
  if shape != have['image']:
    raise UserError(
        f"The task {config.task} has images of shape {shape}, but the teacher {path} was made for "
        f"{have['image']}; set env.{config.task.split('_')[0]}.size accordingly or pretrain again.")
  check_actions(config, act_space, have['act_width'])
  seen, wanted = have.get('actions', True), config.vid2act.pretrain.actions
  if seen != wanted:
    raise UserError(
        f'The key vid2act.pretrain.actions is {wanted}, but the teacher {path} was pretrained '
        f"{'with' if seen else 'without'} actions; set that key to {seen}"
        f"{' (overlay finetune in place of actionfree)' * seen}, or leave vid2act.teacher out.")
  options = config.agent.vid2act
  if options.guide and not options.vae.online and not have.get('guide', True):
    raise UserError(
        f'The teacher {path} was imported with --no-guide and agent.vid2act.guide is True; import '
        'it again with the replays, or set that to False.')
  if options.init:
    initialise.check_sizes(config, bundle)


def check_task(config):
  """Make the task's environment for a moment: a `UserError` says why it has none, or no teacher."""
  with reading(
      f'The environment of the task {config.task}', 'install what it lacks, or choose another task',
      'cannot be made'):
    env = hostmain.make_env(config, 0)
  obs = {k: v for k, v in env.obs_space.items() if not k.startswith('log/')}
  act = {k: v for k, v in env.act_space.items() if k != 'reset'}
  env.close()
  if 'image' not in obs:
    raise UserError(
        f"The task {config.task} has the observations {', '.join(obs)}, but vid2act needs 'image'; "
        'switch its images on, or choose another task.')
  taught, given = needs_teacher(config), config.vid2act.teacher
  bundle = bundles.load(given) if given else None
  if taught and given:
    check(bundle, config, obs, act)
  if acts(config) and (found := _given(config, bundle))[0]:
    _check_behaviours(config, found[0].facts, found[1], obs, act)
  check_actions(config, act, config.vid2act.act_width if taught and not given else math.inf)
  for key in ('agent.vid2act.rehearse', 'agent.vid2act.init_policy.source'):
    if config[key]:
      rehearse.check_spaces(config, obs, act, key)


def _image(obs_space):
  return list(obs_space['image'].shape) if 'image' in obs_space else 'no image'


def check_actions(config, act_space, width=math.inf):
  """Raise a `UserError` where a teacher of actions of that width, or a source that acts, cannot teach the task."""
  if list(act_space) != ['action'] or act_space['action'].discrete:
    raise UserError(
        f'The task {config.task} has the actions {dict(act_space)}, but vid2act needs one '
        "continuous action named 'action'.")
  if act_space['action'].shape[0] > width:
    raise UserError(
        f"The task {config.task} has {act_space['action'].shape[0]} action dimensions, more than "
        f"the teacher's {width}; make one for more, with vid2act.act_width, or --act-width of `vid2act teacher import`.")


def tied(logdir, bundle):
  """Return whether a run is tied to this teacher; False without one, a `UserError` with another once it has a checkpoint."""
  folder = pathlib.Path(str(logdir)).expanduser()
  try:
    before = files.parse(folder, PIN)
    if not isinstance(before, dict) or not isinstance(before.get('hash'), str):
      raise ValueError('it has no hash of a teacher')
  except (OSError, ValueError) as e:
    if checkpoints.latest(folder) and not isinstance(e, FileNotFoundError):
      raise UserError(
          f'The file {folder / PIN} cannot be read ({reason(e)}), so that the teacher of this run is '
          f'not known; delete it if that is {bundle.hash[:12]} of sources '
          f"{bundle.manifest['sources']}, or choose another --logdir.") from e
    return False
  if before['hash'] not in (bundle.hash, bundle.manifest.get('before')):
    if not checkpoints.latest(folder):  # It failed, or was stopped, before anything was learned.
      return False
    raise UserError(
        f"The run {folder} was started with the teacher {before['hash'][:12]} of sources "
        f"{before.get('sources')}, not with {bundle.hash[:12]}; continue with that teacher or "
        'choose another --logdir.')
  return True


def _pin(logdir, bundle):
  """Tie a run to its teacher: a run continued with another one would mix two meanings."""
  if not tied(logdir, bundle):
    with files.atomic_write(pathlib.Path(str(logdir)) / PIN) as part:
      part.write_text(
          json.dumps({'hash': bundle.hash, 'sources': bundle.manifest['sources']}), encoding='utf-8')
