"""What can be known before the first stage is refused before it, and nothing is changed."""

import json
import os
import pathlib
import pickle
import tempfile

import elements
import pytest
from helpers.payloads import touch, works
from helpers.stages import Stage
from helpers.suites import needs_dmc
from ruamel.yaml import YAML

from vid2act_plugin import prepare
from vid2act_plugin.common import lock
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.host import checkpoints
from vid2act_plugin.training import start

NOBODY = 65534


@pytest.mark.parametrize('changes, words', [
    ({'env.metaworld.camera': 'nowhere'}, 'env.metaworld.camera'), ({'env.metaworld.size': (0, 16)}, 'env.metaworld.size'),
    ({'env.metaworld.reward': 'v3'}, 'env.metaworld.reward'), ({'vid2act.sources': ('metaworld_reach',) * 2}, 'named twice'),
    ({'env.metaworld.render': 'nice'}, 'env.metaworld.render'), ({'env.metaworld.orientation': 'left'}, 'orientation'),
    ({'env.metaworld.repeat': 0}, 'env.metaworld.repeat'), ({'env.metaworld.limit': 0}, 'env.metaworld.limit'),
    ({'vid2act.act_width': 3}, 'vid2act.act_width is 3.*set it to 4 or more'),
    pytest.param({
        'task': 'dmcontrol_humanoid_walk', 'vid2act.act_width': 20, 'env.dmcontrol.size': (16, 16),
        'vid2act.sources': ('metaworld_reach',)}, '21 action dimensions', marks=needs_dmc),
    pytest.param({
        'task': 'dmcontrol_walker_walk', 'vid2act.sources': ('dmcontrol_humanoid_run',),
        'env.dmcontrol.size': (16, 16)}, "'dmcontrol_humanoid_run' has 21 actions; set it to 21", marks=needs_dmc),
    pytest.param({
        'task': 'dmcontrol_walker_walk', 'vid2act.sources': ('metaworld_reach',), 'env.dmcontrol.size': (16, 16),
        'agent.vid2act.init_policy.source': 'metaworld_reach'}, 'has 4 actions, but the task .* has 6', marks=needs_dmc),
    ({'task': 'gymnasium_Reacher-v5', 'vid2act.sources': ('metaworld_reach',), 'env.gymnasium.size': (16, 16),
      'agent.vid2act.init_policy.source': 'metaworld_reach'}, 'has 4 actions, but the task gymnasium_Reacher-v5 has 2'),
    ({'task': 'dummy_disc'}, "'dummy' has no published sources"),
    ({'task': 'dummy_disc', 'vid2act.sources': ('metaworld_reach',)}, 'env.dummy.size.*metaworld or'),
    ({'task': 'crafter_reward', 'vid2act.sources': ('metaworld_reach',),
      'env.crafter.size': (16, 16)}, 'environment of the task crafter_reward cannot be made'),
    ({'env.metaworld.size': (8, 16)}, 'env.metaworld.size.*multiples of 4 from 12'),
    ({'agent.vid2act.burnin': 9}, 'agent.vid2act.burnin is 9.*9 steps'),
    ({'agent.vid2act.rank': 33}, 'agent.vid2act.rank is 33.*32 values'), ({'agent.vid2act.adapted': 1}, 'adapted is 1'),
    ({'agent.vid2act': {'guide': True, 'guide_from': 'start'}}, 'agent.vid2act.share is 0.25.*set it to 1.0'),
    ({'agent.vid2act': {'guide': True, 'guide_from': 'start', 'share': 1.0, 'imitate': 1.0, 'execute.start': 1.0}},
     'agent.vid2act.guide_from is start.*set it to amortised, or imitate to 0'),
    ({'agent.vid2act.init_policy.source': 'door'}, "is 'door', but the sources are metaworld_.* add it to vid2act.sources"),
    ({'agent.vid2act.rehearse': 0.1}, 'agent.vid2act.rehearse is 0.1.*batch of 4'),
    ({'agent.vid2act.rehearse': 0.9}, 'agent.vid2act.rehearse is 0.9.*leave one to the task'),
    ({'agent.vid2act.init_source': 'door'}, "agent.vid2act.init_source is 'door'.*door-close"),
    ({'vid2act.teacher': '/nowhere'}, 'vid2act.teacher.*/nowhere'),
    ({'vid2act.recordings': '/nowhere'}, 'vid2act.recordings.*vid2act collect'), ({'task': 'metaworld'}, 'task.*SUITE_TASK'),
    ({'vid2act.sources': ('metaworld_door',)}, 'vid2act.sources'), ({'vid2act.sources': ('./nowhere',)}, 'vid2act.sources'),
    ({'replay.size': 10.0}, 'replay.size is 10.*36 steps'), ({'run.from_checkpoint': '/nowhere'}, 'run.from_checkpoint'),
    ({'run.from_checkpoint': '/nowhere', 'run.from_checkpoint_regex': '('}, 'from_checkpoint_regex'),
    ({'agent.dyn.rssm.classes': 300}, 'The teacher to be made has agent.dyn.rssm.classes = 300'),
    ({'report_length': 9}, 'report_length is 9 and a report takes 9 .* gives 8 .* set it to 8 or less'),
    ({'report_length': 5, 'consec_report': 2}, 'report_length is 5 and a report takes 10 .* set it to 4 or less'),
    ({'run.eval_every': 0, 'run.from_checkpoint': '/nowhere'}, 'set run.eval_every above 0'),
    ({'agent.typ': 'dreamerv3'}, 'method is vid2act, but agent.typ is dreamerv3'),
    ({'script': 'eval_only'}, "run.from_checkpoint is '', but the script eval_only"),
    ({'logdir': '/dev/null/run'}, '/dev/null/run cannot be written, .* --logdir'), ({'task': 'metaworld_nothing'}, 'task'),
    *(({'logdir': f'/tmp/runs/lr{x}'}, r"logdir is '/tmp/runs/lr.* for a pattern .* without \[, \* and \?") for x in ('[1]', '*', '?')),
    ({'run.report_batches': 0}, 'run.report_batches is 0, but a report takes a batch or more'),
    ({'consec_report': 0}, 'consec_report is 0, but a report takes a part'),
    ({'replay.fracs': {'uniform': 0.5, 'recency': 0.25}}, r"replay.fracs is .*'uniform': 0.5.*, which sum to 0.75, .* such as 0.5, 0.25 and 0.25"),
    ({'agent.opt': {'schedule': 'linear'}}, r'agent.opt.schedule is linear, but .* agent.opt.anneal is 0; .* above \d+, .* const'),
    ({'logger.filter': '('}, r"logger.filter is '\(', which is no regular expression .*; write something like"),
    ({'run.usage.gputil': True}, 'run.usage.gputil is True, but the package GPUtil is not installed; .* False'),
    ({'vid2act.collect.limit': 6}, "pretrain.batch_length is 8, but the source 'metaworld_.*' has 7 steps in its part train"),
    ({'batch_length': 30, 'agent.vid2act.rehearse': 0.5}, 'has 26 steps, but agent.vid2act.rehearse needs 31'),
    ({'batch_length': 30, 'vid2act.sources': ('metaworld_reach',), 'agent.vid2act.init_policy.source': 'metaworld_reach'},
     'worth repeating have at most 26 steps, but batch_length is 30'),
    ({'batch_length': 30, 'agent.vid2act': {'guide': True, 'vae.online': True}}, 'batch_length is 30, but .* has 26 steps'),
    ({'vid2act.cloned': '/nowhere'}, '/nowhere cannot be read .*; name one that --script clone has written'),
    ({'script': 'pretrain', 'logdir': '/dev/null/run'}, '/dev/null/run cannot be written, .* --logdir'),
    ({'script': 'clone', 'logdir': '/dev/null/run'}, '/dev/null/run cannot be written, .* --logdir'),
    ({'logger.outputs': ('jsonl', 'expa')}, 'logger.outputs has expa, .*a_missing_one.*leave expa out')])
def test_before_the_first_stage(begin, tmp_path, changes, words):
  with pytest.raises(UserError, match=words):
    begin(**changes)
  assert not list(tmp_path.iterdir())


def test_what_is_right_begins(begin, tmp_path, capsys):
  with pytest.raises(Stage):
    begin(**{'vid2act.sources': ('metaworld_reach', 'metaworld_door-lock-v3')})
  assert "own task is among its sources, as 'metaworld_door-lock-v3'" in capsys.readouterr().out
  with pytest.raises(Stage):
    begin()
  assert 'own task' not in capsys.readouterr().out


def test_a_run_of_random_actions_needs_no_teacher(begin, tmp_path):
  config = begin(random_agent=True)
  assert not config.vid2act.teacher and not config.vid2act.cloned and not prepare.shares(config)
  assert [x.name for x in tmp_path.iterdir()] == ['run']


def test_a_folder_in_use_is_known_at_the_start(begin, tmp_path):
  with lock.locked(tmp_path / 'run'), pytest.raises(UserError, match='is in use by'):
    begin()
  with lock.locked(tmp_path / 'run'), pytest.raises(Stage):  # A stage waits for whoever makes the same.
    begin(script='pretrain')


def test_a_folder_that_cannot_be_made():
  """For whoever owns nothing, as the superuser may write anywhere."""
  with tempfile.TemporaryDirectory() as place:
    os.chmod(place, 0o555)
    before = os.geteuid()
    os.seteuid(before or NOBODY)
    try:
      with pytest.raises(UserError, match=f'cannot be written, as none can be made in {place}; .* --logdir'):
        start._free(pathlib.Path(place) / 'a' / 'run')
    finally:
      os.seteuid(before)


@pytest.mark.parametrize('then, now, words', [
    ({}, {'task': 'metaworld_door-open'}, "task 'metaworld_door-lock' .now 'metaworld_door-open'"),
    ({}, {'seed': 1}, 'seed 0 .now 1'), ({}, {'method': 'other'}, 'method'),
    ({}, {'env.metaworld.reward': 'v1'}, "env.metaworld.reward 'v2' .now 'v1'"),
    ({}, {'agent.dyn.rssm.deter': 32}, 'agent.dyn.rssm.deter 16 .now 32'),
    ({}, {'agent.typ': 'dreamerv3'}, 'agent.typ'), ({}, {'agent.vid2act.floor': 0.2}, 'agent.vid2act.floor'),
    ({}, {'batch_size': 5}, 'batch_size'), ({}, {'run.train_ratio': 3.0}, 'run.train_ratio'),
    ({}, {'vid2act.pretrain.updates': 7}, 'vid2act.pretrain.updates'),
    ({}, {'vid2act.sources': ('metaworld_reach',)}, 'vid2act.sources'),
    ({}, {'script': 'pretrain'}, "script 'train_eval' .now 'pretrain'"),
    ({}, {'seed': 1, 'batch_size': 5, 'batch_length': 9, 'agent.opt.wd': 1.0, 'method': 'x',
          'agent.vid2act.floor': 0.2}, 'and 2 other keys')])
def test_another_run_is_not_mixed_in(continued, tmp_path, then, now, words):
  with pytest.raises(UserError, match=words) as error:
    continued(then, now)
  assert (f'--run.from_checkpoint {tmp_path}' in str(error.value)) == ('script' not in now)  # A stage has none.


@pytest.mark.parametrize('then, now', [
    ({}, {}), ({}, {'run.steps': 9.0, 'run.eval_every': 3, 'run.log_every': 1, 'run.envs': 3}),
    ({}, {'logger.outputs': ('jsonl',), 'jax.platform': 'cuda', 'jax.compute_dtype': 'bfloat16'}),
    ({}, {'agent.opt.lr': 1e-5}), ({'script': 'pretrain'}, {'script': 'pretrain', 'agent.opt.lr': 1e-5}),
    ({}, {'vid2act.cache': '/x', 'vid2act.seconds.collect': 3.0, 'vid2act.collect.workers': 3}),
    ({}, {'script': 'train'}), ({}, {'env.dmcontrol.repeat': 7, 'env.dmcontrol.size': (3, 3)}),
    ({}, {'vid2act.teacher': '/x', 'vid2act.pretrain.updates': 3}),
    ({'script': 'pretrain'}, {'script': 'pretrain', 'vid2act.pretrain.updates': 7, 'method': 'x',
                              'task': 'metaworld_reach'})])
def test_what_a_continued_run_may_change(continued, then, now):
  continued(then, now)


def test_a_damaged_checkpoint_is_known_at_the_start(continued, tmp_path):
  """Before the agent is compiled."""
  continued({}, {})
  (tmp_path / 'ckpt/x').mkdir()
  (tmp_path / 'ckpt/x/agent.pkl').write_bytes(b'1')
  (tmp_path / 'ckpt/x/sha256.json').write_text(json.dumps({'agent.pkl': 64 * '0', '../y': 'z'}))
  with pytest.raises(UserError, match='x/agent.pkl is damaged'):
    continued({}, {})
  (tmp_path / 'ckpt/x/agent.pkl').unlink()
  with pytest.raises(UserError, match='x/agent.pkl of a checkpoint is missing'):
    continued({}, {})


@pytest.mark.parametrize('every', [0, 30])
def test_what_the_host_would_execute_is_refused_at_the_start(continued, owned, tmp_path, every, monkeypatch):
  """With `run.eval_every` 0 the host's own loop would load the checkpoint."""
  folder = tmp_path / checkpoints.kept(every) / 'x'
  folder.mkdir(parents=True)
  for name in ('agent', 'step', 'other', *['replay_train'] * (not every)):
    (folder / f'{name}.pkl').write_bytes(pickle.dumps(3))
  (folder / 'done').touch()
  changes = {'run.eval_every': every}
  continued(changes, changes)
  (folder / 'other.pkl').write_bytes(pickle.dumps(touch()))
  works(owned, pickle.loads, (folder / 'other.pkl').read_bytes())
  if every:  # Ours reads what it needs, and reads it so.
    continued(changes, changes)
    return
  monkeypatch.setattr(start.loading, 'by_file', lambda: False)  # As in a checkout, whose loop reads it.
  for more in ({}, {'logdir': str(tmp_path / 'new'), 'run.from_checkpoint': str(tmp_path)}):
    with pytest.raises(UserError, match='x/other.pkl'):
      continued(changes, {**changes, **more})


def test_another_teacher_is_known_at_the_start(small, bundle, tmp_path):
  """Before anything is written over; a run that has learned nothing yet may begin with another one."""
  config = small.update({'logdir': str(tmp_path), 'vid2act.teacher': str(bundle)})
  config.save(elements.Path(tmp_path) / 'config.yaml')
  (tmp_path / 'teacher.json').write_text(json.dumps({'hash': 64 * '0', 'sources': ['x']}))
  before = {x: x.read_bytes() for x in tmp_path.iterdir()}
  with pytest.raises(UserError, match='other settings of the world model'):  # It came as far as to look at this one.
    prepare.prepare(config)
  (tmp_path / 'ckpt').mkdir()
  (tmp_path / 'ckpt/latest').write_text('x')
  with pytest.raises(UserError, match='was started with the teacher 000000000000'):
    prepare.prepare(config)
  assert {x: x.read_bytes() for x in tmp_path.iterdir() if x.is_file() and x.name != '.lock'} == before


def test_settings_of_earlier_and_later_versions(continued, tmp_path):
  """A key that one of the two lacks has not changed."""
  with pytest.raises(UserError, match='seed'):
    continued({}, {'seed': 1})
  path = tmp_path / 'config.yaml'
  content = YAML(typ='safe').load(path.read_text())
  content['agent']['vid2act'].pop('floor')
  content['gone'] = 3
  with open(path, 'w') as file:
    YAML().dump(content, file)
  config = elements.Config(content | {'logdir': str(tmp_path)})
  start.check(elements.Config({k: v for k, v in config.flat.items() if k != 'gone'} | {
      'agent.vid2act.floor': 0.7}))


def test_a_run_of_an_earlier_version_goes_on_without_later_parts(continued, small, tmp_path, capsys):
  continued({}, {})
  path, now = tmp_path / 'config.yaml', small.update({
      'logdir': str(tmp_path), 'agent.vid2act.imitate': 1.0, 'agent.vid2act.execute.start': 1.0})
  assert start.as_begun(now) == now and capsys.readouterr().out == ''
  content = YAML(typ='safe').load(path.read_text())
  for key in ('imitate', 'execute'):
    content['agent']['vid2act'].pop(key)
  with open(path, 'w') as file:
    YAML().dump(content, file)
  found = start.as_begun(now)
  assert (found.agent.vid2act.imitate, found.agent.vid2act.execute.start) == (0.0, 0.0)
  assert 'without agent.vid2act.execute.start, ' in capsys.readouterr().out
  assert start.as_begun(now.update(logdir=str(tmp_path / 'other'))).agent == now.agent


@pytest.mark.parametrize('content', [b'\x00', b'[1', b'- 1', b'', b'3', b'{1: 2}'])
def test_settings_that_cannot_be_read(continued, small, tmp_path, content):
  continued({}, {})
  (tmp_path / 'config.yaml').write_bytes(content)
  with pytest.raises(UserError, match=f'{tmp_path}/config.yaml.*--logdir'):
    start.check(small.update(logdir=str(tmp_path), script='train'))
  assert (tmp_path / 'config.yaml').read_bytes() == content


def test_a_run_without_a_checkpoint_may_be_begun_anew(continued, tmp_path):
  with pytest.raises(UserError):
    continued({}, {'seed': 1})
  pathlib.Path(tmp_path / 'ckpt/latest').unlink()
  config = elements.Config.load(elements.Path(tmp_path) / 'config.yaml')
  start.check(config.update({'seed': 1, 'logdir': str(tmp_path)}))
