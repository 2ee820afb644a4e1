"""The main job and its variants through the real command on real Meta-World, at the smallest size."""

import concurrent.futures
import contextlib
import functools
import io
import json
import pickle
import shutil

import elements
import numpy as np
import pytest
from helpers import outputs
from helpers.commands import command

from bench.timings import agents
from vid2act_plugin import prepare as chain
from vid2act_plugin.common import resources
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.host import checkpoints

RUNS = 'vid2act_published', 'actionfree', 'rehearse'  # By their command; the others in-process.
VARIANTS = (
    *RUNS, 'vid2act_nodistill', 'vid2act_guide', 'vid2act_uniform', 'finetune',
    'vid2act_scratch', 'vid2act_likeness', 'vid2act_noexecute', 'vid2act_noimitate', 'finetune_exec', 'finetune_rehearse')
SOURCES = ('metaworld_door-close', 'metaworld_faucet-open')
ACTIONS = {'action': elements.Space(np.float32, 4, -1, 1)}  # As the runs', whose compiled updates fit.
STARTED = '--agent.vid2act.init_policy.source', SOURCES[0], '--agent.vid2act.init_policy.updates', '3'
SHARED = 'vid2act_published', 'vid2act_guide', 'vid2act_uniform'  # Those with gradient shares.


def test_chain_leaves_what_it_promises(first):
  logdir, output = first
  left = (
      'config.yaml', 'metrics.jsonl', 'scores.jsonl', 'ckpt/latest', 'curves.png', 'summary.json', 'relevance.png', 'teacher.json',
      'openloop_image.gif', 'eval.gif', 'eval_relevance.png', 'scores/score.json.gz', 'eval_episode.json', 'report.html')
  assert not [x for x in left if not (logdir / x).exists()]
  assert output.splitlines()[-1] == f'Report: {logdir}/report.html; open it in a browser.'
  page = (logdir / 'report.html').read_text(encoding='utf-8')
  assert 'Initialised from the teacher as' in page and 'Relevance along the episode' in page
  summary = json.loads((logdir / 'summary.json').read_text())
  assert summary['host'] and summary['jax'] and summary['code'] == resources.code()
  assert summary['env_steps'] == 80 and summary['updates'] > 5
  assert summary['pretrain_updates'] == 4 and f'"{summary["teacher"]}"' in (logdir / 'teacher.json').read_text()
  assert summary['sources'] == [*summary['final_relevance']] == ['metaworld_door-close', 'metaworld_faucet-open']
  assert abs(sum(summary['final_relevance'].values()) - 1) < 1e-3
  assert all(summary['stages'][k] > 0 for k in ('collect', 'pretrain', 'train'))
  works = 'collect', 'loading recordings', 'compiling the pretraining step', 'pretrain', 'clone', 'try behaviours', 'train'
  assert not [x for x in works if f'\n{x} ...\n' not in output]  # Whoever waits is told for what.


def test_evaluation_counts_env_steps(first):
  rows = [json.loads(x) for x in (first[0] / 'metrics.jsonl').read_text().splitlines()]
  assert [x['step'] for x in rows if 'eval/score' in x] == [0, 40, 80]
  assert all(x['eval/length'] == 16 for x in rows if 'eval/length' in x)


@pytest.mark.parametrize('output', outputs.OUTPUTS[1:])
def test_outputs_of_the_logger_hold_what_was_drawn(first, output):
  if output in outputs.LACKING:
    pytest.skip(f'{outputs.LACKING[output]} is not installed; make install EXTRA={output}')
  for name in ('report/relevance', 'eval/relevance', 'eval/video', 'report/openloop/image'):
    assert outputs.written(first[0], output, name), name


def test_resume(first, tiny):
  """The same command with more steps continues, and a finished run is not trained again."""
  args = '--configs', 'vid2act', 'metaworld', 'quickstart', tiny, '--logdir', first[0]
  status, output = command(*args, '--run.steps', 100, '--run.debug', 'True')
  assert status == 0, output[-3000:]
  assert 'Loaded checkpoint' in output
  summary = json.loads((first[0] / 'summary.json').read_text())
  assert summary['env_steps'] == 100
  assert len({*outputs.wandb_runs(first[0])}) == ('wandb' in outputs.INSTALLED)


@pytest.mark.parametrize('line, words', [
    ('--configs vid2act metaworld --task metaworld_door-lok', ["'metaworld_door-lok'", 'door-lock']),
    ('--configs vid2act --configs metaworld', ['--configs 2 times']),
    ('--configs vid2act metaworld --agent.vid2act.guide_by mixtur', ['did you mean mixture']),
    ('--configs vid2act metaworld TINY --vid2act.cache NOTHING/cache --env.metaworld.camera nowhere',
     ["env.metaworld.camera is 'nowhere'"])])
def test_one_sentence_and_nothing_written(tiny, line, words):
  nothing = tiny.parent / 'nothing'
  line = line.replace('TINY', str(tiny)).replace('NOTHING', str(nothing))
  status, output = command(*line.split(), '--logdir', nothing)
  assert status == 1 and 'Traceback' not in output
  assert all(x in output.splitlines()[-1] for x in words), output
  assert not nothing.exists()


def test_a_run_is_not_continued_as_another(first, tiny):
  folder = first[0]
  before = {x: x.read_bytes() for x in folder.rglob('*') if x.is_file()}
  status, output = command(
      '--configs', 'vid2act', 'metaworld', 'quickstart', tiny, '--logdir', folder, '--seed', 1)
  assert status == 1 and 'seed 0 (now 1)' in output.splitlines()[-1]
  after = {x: x.read_bytes() for x in folder.rglob('*') if x.is_file() and x.name != '.lock'}
  assert after == {k: v for k, v in before.items() if k.name != '.lock'}


@pytest.fixture(scope='module')
def resolved(overlays, tiny):
  """Return a function (names of variants) -> config, as the command resolves it."""
  def fn(*names):
    config = elements.Config(overlays['defaults'])
    for name in ('vid2act', 'metaworld', 'quickstart', *names, str(tiny)):
      config = config.update(overlays[name])
    return config
  return fn


@pytest.fixture
def config(resolved):
  return resolved()


def test_auto_false_names_the_commands(config, tmp_path):
  config = config.update({'vid2act.auto': False, 'vid2act.cache': str(tmp_path)})
  with pytest.raises(UserError, match='vid2act.auto.*vid2act collect metaworld_door-close'):
    chain.prepare(config)


@pytest.fixture(scope='module')
def runs(first, tiny):
  """Return {variant: (output, metrics)} of runs; two at a time, as compiling fills one core."""
  def run(name):
    logdir = tiny.parent / name
    status, output = command(
        '--configs', 'vid2act', 'metaworld', 'quickstart', name, tiny, '--logdir', logdir,
        '--run.steps', 60, '--run.eval_eps', 1, '--run.debug', 'True',
        '--agent.vid2act.gradshare', name in SHARED, *STARTED * (name == 'rehearse'))
    assert status == 0, (name, output[-3000:])
    rows = [json.loads(x) for x in (logdir / 'metrics.jsonl').read_text().splitlines()]
    return output, {k: v for row in rows for k, v in row.items()}
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    return dict(zip(RUNS, pool.map(run, RUNS)))


@pytest.mark.parametrize('name', RUNS)
def test_runs_from_the_cache(runs, name, tiny):
  output, metrics = runs[name]
  assert 'Recordings: reused' in output
  assert ('Teacher: reused' in output) == (name != 'actionfree')
  stages = json.loads((tiny.parent / name / 'summary.json').read_text())['stages']
  assert stages['collect'] == 0 and (stages['pretrain'] == 0) == (name != 'actionfree')
  assert metrics['eval/length'] == 16


@pytest.fixture(scope='module')
def updated(first, tiny, resolved, spaces, batches):
  """Return a function variant -> metrics of two updates with the run's teacher, in this process."""
  @functools.cache
  def fn(name):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
      config = chain.prepare(resolved(name).update({
          'logdir': str(tiny.parent / name), 'agent.vid2act.gradshare': name in SHARED}))
    assert all(f'{x}: reused' in output.getvalue() for x in ('Recordings', 'Teacher'))
    agent = agents.build(config, (spaces[0], ACTIONS), tiny.parent / name, report=False)
    carry = agent.init_train(agent.config.batch_size)
    for batch in batches(agent, 2):
      carry, _, metrics = agent.train(carry, batch)
    found = {f'train/{k}': v for k, v in metrics.items()}
    if name in SHARED:
      _, metrics = agent.report(agent.init_report(agent.config.batch_size), batches(agent, 1)[0])
      found.update({f'report/{k}': v for k, v in metrics.items()})
    return found
  return fn


@pytest.fixture
def metrics(runs, updated):
  """Return a function variant -> the last of each metric, from its run or its two updates."""
  return lambda name: runs[name][1] if name in RUNS else updated(name)


@pytest.mark.parametrize('name', VARIANTS)
def test_losses_are_finite(metrics, name):
  losses = {k: v for k, v in metrics(name).items() if k.startswith('train/loss')}
  assert losses and all(map(np.isfinite, losses.values())), losses


def test_execution_is_booked_and_told(runs, tiny):
  output, metrics = runs['rehearse']
  episodes = {k.rpartition('/')[2]: v for k, v in metrics.items() if '/execute/episodes/' in k}
  assert set(episodes) == {'policy', *SOURCES} and 3 <= sum(episodes.values()) <= 5
  assert 0 < metrics['train/execute/probability'] < 1
  assert 'train/loss/imitate' in metrics and 'policy/success_any' in metrics
  assert f'The policy starts as {SOURCES[0]}, learned from ' in output
  logdir = tiny.parent / 'rehearse'
  summary = json.loads((logdir / 'summary.json').read_text())
  assert set(summary['execution']) == set(episodes)
  assert set(summary['behaviours']) == {*SOURCES} and all({*x} == {'error', 'success'} for x in summary['behaviours'].values())
  assert (logdir / 'scores' / 'policy_score.json.gz').exists() and 'Of the sources, ' in output
  kept = pickle.loads((checkpoints.newest(logdir) / 'agent.pkl').read_bytes())['execution']
  assert not np.isnan(kept['won'][~np.isnan(kept['gained'])]).any()  # Meta-World tells.
  chunk = np.load(min((logdir / 'replay').glob('*.npz')))
  assert (np.diff(chunk['episode'][:34]) >= 0).all() and chunk['episode'][0] == 1
  np.testing.assert_array_equal(chunk['episode'][:34], chunk['is_first'][:34].cumsum())


def test_a_finished_run_is_evaluated_as_it_acted(runs, tiny, tmp_path):
  """By whoever has earned most, here a source, and by the policy alone beside it."""
  folder = tmp_path / 'ckpt'
  shutil.copytree(checkpoints.newest(tiny.parent / 'rehearse'), folder)
  content = pickle.loads((folder / 'agent.pkl').read_bytes())
  content['execution'].update(by=np.array([-1, 1, -1]), gained=np.array([np.nan, 9, 1]), won=np.array([np.nan, 1, 0]))
  (folder / 'agent.pkl').write_bytes(pickle.dumps(content))
  (folder / checkpoints.HASHES).unlink()
  status, output = command(
      '--configs', 'vid2act', 'metaworld', 'quickstart', 'rehearse', tiny, '--logdir', tmp_path / 'run', '--script',
      'eval_only', '--run.from_checkpoint', folder, '--run.eval_eps', 1, '--run.debug', 'True')
  assert status == 0, output[-3000:]
  rows = [json.loads(x) for x in (tmp_path / 'run/metrics.jsonl').read_text().splitlines()]
  found = {k: v for row in rows for k, v in row.items()}
  assert json.loads((tmp_path / 'run/eval_episode.json').read_text())['by'] == SOURCES[1]
  assert {'eval/score', 'policy/score'} <= found.keys() and found['eval/score'] != found['policy/score']


def relevance(metrics):
  return [metrics.get(f'train/relevance/{x}') for x in SOURCES]


@pytest.mark.parametrize('name', ['vid2act_published', 'vid2act_guide', 'vid2act_noimitate'])
def test_relevance_is_learned(metrics, name):
  weights = relevance(metrics(name))
  assert abs(sum(weights) - 1) < 1e-4 and weights[0] != weights[1]


def test_uniform(metrics):
  np.testing.assert_allclose(relevance(metrics('vid2act_uniform')), [0.5, 0.5], rtol=1e-5)
  assert 'train/amortised/agreement' not in metrics('vid2act_uniform')


def test_parts_that_are_off(metrics):
  assert 'train/loss/vae' not in metrics('vid2act_noimitate') and 'train/loss/imitate' not in metrics('vid2act_noimitate')
  assert 'train/amortised/agreement' not in metrics('vid2act_published')
  assert all(x is None for x in relevance(metrics('finetune')))


@pytest.mark.parametrize('name', SHARED)
def test_what_moves_the_student(metrics, name):
  """At the student's features only the world model's losses, repval and L_distill have a gradient."""
  share = lambda loss: metrics(name).get(f'report/gradshare/{loss}', 0)  # Without a guide, no VAE.
  for loss in ('vae', 'amortised', 'policy', 'value'):
    assert share(loss) == 0, loss
  assert share('image') > 0
  assert share('distill') > 0
