"""Do the tests notice faults in the method's code?

Each mutant is a copy of the repository with one fault put in; the tests named
with it run there and one of them has to fail. The last line of the output is a
JSON object with `killed`, `total` and `survivors`; status 1 if there are any.

    python -m bench.robustness.mutants [--list] [--only NAME...] [--jobs N]
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from vid2act_plugin.common import progress

ROOT = pathlib.Path(__file__).resolve().parents[2]
PARTS = ('vid2act_plugin', 'configs', 'patches', 'tests', 'bench', 'pyproject.toml', 'README.md')
LIMIT = 900  # Seconds for the tests of one mutant.

LOSSES, METHOD = 'tests/test_losses.py', 'tests/test_method.py'
RELEVANCE, PAIRS = 'tests/test_relevance.py', 'tests/test_pairs.py'
ACTIONS, CONVERT = 'tests/test_actions.py', 'tests/test_convert.py'

# (name, file in the package, old text, new text, tests)
MUTANTS = [
    ('softmax-over-time', 'agent/losses.py', 'jax.nn.softmax(f32(logits), -1)',
     'jax.nn.softmax(f32(logits), max(-2, -logits.ndim))', [LOSSES]),
    ('softmax-over-batch', 'agent/losses.py', 'jax.nn.softmax(f32(logits), -1)',
     'jax.nn.softmax(f32(logits), 0)', [LOSSES]),
    ('floor-dropped', 'agent/losses.py', 'jnp.maximum(floor, weights)', 'weights', [LOSSES]),
    ('floor-added', 'agent/losses.py', 'jnp.maximum(floor, weights)', '(floor + weights)', [LOSSES]),
    ('weights-detached', 'agent/losses.py', 'jnp.maximum(floor, weights)',
     'jnp.maximum(floor, sg(weights))', [LOSSES]),
    ('mean-to-sum', 'agent/losses.py', '[..., None, :]).mean(-1)', '[..., None, :]).sum(-1)', [LOSSES]),
    ('mean-over-sources', 'agent/losses.py', '[..., None, :]).mean(-1)',
     '[..., None, :]).mean((-1, -2), keepdims=True)[..., 0]', [LOSSES]),
    ('kl-sign', 'agent/losses.py', 'kl = -0.5 *', 'kl = 0.5 *', [LOSSES]),
    ('kl-log-variance', 'agent/losses.py', 'jnp.exp(2 * logstd)', 'jnp.exp(logstd)', [LOSSES]),
    ('amortised-sign', 'agent/losses.py', 'return -(sg(weights)', 'return (sg(weights)', [LOSSES]),
    ('amortised-moves-weights', 'agent/losses.py', '-(sg(weights) *', '-(weights *', [LOSSES]),
    ('padding-counted', 'agent/losses.py', '(mask * jnp.square(recon - action)).sum(-1)',
     'jnp.square(recon - action).sum(-1)', [LOSSES]),
    ('padding-in-the-mean', 'agent/losses.py', 'jnp.maximum(1, mask.sum(-1))', 'mask.shape[-1]',
     [LOSSES]),
    ('relevance-linear', 'agent/relevance.py',
     "nn.act('silu')(self.sub('norm', nn.Norm, 'rms')(x))", 'x', [RELEVANCE]),
    ('amortised-moves-student', 'agent/relevance.py', 'self.units)(sg(feat))', 'self.units)(feat)',
     [METHOD]),
    ('source-unknown-to-vae', 'agent/guide.py', 'jax.nn.one_hot(source, ', 'jax.nn.one_hot(0 * source, ',
     [METHOD]),
    ('source-of-the-next', 'agent/guide.py', 'noise, jnp.argmax(weights, -1))',
     'noise, (jnp.argmax(weights, -1) + 1) % self.vae.sources)', [METHOD]),
    ('least-relevant-source', 'agent/guide.py', 'noise, jnp.argmax(weights, -1))',
     'noise, jnp.argmin(weights, -1))', [METHOD]),
    ('mixture-unweighted', 'agent/guide.py', '(nn.cast(weights)[..., None] * hidden).sum(-2)',
     'hidden.mean(-2)', [METHOD]),
    ('actor-moves-the-guide', 'agent/guide.py',
     'self.head(sg(jnp.concatenate([nn.cast(feat), hidden], -1)), bdims)',
     'self.head(jnp.concatenate([nn.cast(feat), hidden], -1), bdims)', [METHOD]),
    ('noise-drawn-anew', 'agent/guide.py', 'noise = along(self.noise,',
     'noise = along(self.vae.draw(len(feat)),', [METHOD]),
    ('noise-not-clipped', 'agent/guide.py',
     'jnp.clip(jax.random.normal(nj.seed(), (batch, self.noise)), -0.5, 0.5)',
     'jax.random.normal(nj.seed(), (batch, self.noise))', [METHOD]),
    ('one-noise-for-all', 'agent/guide.py', 'nj.seed(), (batch, self.noise))',
     'nj.seed(), (1, self.noise)).repeat(batch, 0)', [METHOD]),
    ('noise-in-evaluation', 'agent/agent.py',
     "noise if mode == 'train' else jnp.zeros_like(noise)", 'noise', [METHOD]),
    ('noise-shared-by-starts', 'agent/agent.py', 'self.vae.draw(B * K)', 'self.vae.draw(1)', [METHOD]),
    ('student-not-detached', 'agent/agent.py', 'student = feat if options.distill else sg(feat)',
     'student = feat', [METHOD]),
    ('student-detached', 'agent/agent.py', 'student = feat if options.distill else sg(feat)',
     'student = sg(feat)', [METHOD]),
    ('vae-moves-adapter', 'agent/agent.py', 'sg(self.adapter(unpack(memory, classes)))',
     'self.adapter(unpack(memory, classes))', [METHOD]),
    ('burnin-dropped', 'agent/agent.py', "{'distill': distill * settled}", "{'distill': distill}",
     [METHOD]),
    ('context-not-counted', 'agent/agent.py', 'jnp.arange(T) + self.config.replay_context >=',
     'jnp.arange(T) >=', [METHOD]),
    ('teacher-shifted', 'agent/agent.py', "self.ext[f'teacher/{k}'][:S, -T:]",
     "self.ext[f'teacher/{k}'][:S, :T]", [METHOD]),
    ('floor-whatever-n', 'agent/agent.py', 'options.floor / N if options.floor_per_source',
     'options.floor if options.floor_per_source', [METHOD]),
    ('mask-of-another-source', 'agent/agent.py', "manifest['act_sizes'])[source]",
     "manifest['act_sizes'])[0 * source]", [METHOD]),
    ('held-from-the-first-steps', 'agent/agent.py', 'self.feat2tensor(feat)[:, -K:]',
     'self.feat2tensor(feat)[:, :K]', [METHOD]),
    ('action-not-shifted', 'teacher/model.py',
     'jnp.concatenate([0 * action[:, :1], action[:, :-1]], 1)', 'action', [PAIRS]),
    ('action-shifted-twice', 'teacher/model.py',
     'jnp.concatenate([0 * action[:, :1], action[:, :-1]], 1)',
     'jnp.concatenate([0 * action[:, :2], action[:, :-2]], 1)', [PAIRS]),
    ('sources-folded-wrongly', 'teacher/model.py',
     'jnp.tile(jnp.arange(N, dtype=jnp.int32)[:, None], (B, T))',
     'jnp.repeat(jnp.tile(jnp.arange(N, dtype=jnp.int32)[:, None], (1, T)), B, 0)', [PAIRS]),
    ('acting-without-last-action', 'teacher/model.py', "self._acts(fold(prevact)",
     "self._acts(0 * fold(prevact)", [PAIRS]),
    ('foreign-actions-seen', 'teacher/model.py', "{'action': action * own,", "{'action': action,", [ACTIONS]),
    ('last-action-unseen', 'teacher/model.py', '< jnp.asarray(self.act_sizes)',
     '< jnp.asarray(self.act_sizes) - 1', [ACTIONS, PAIRS]),
    ('others-of-the-seen', 'agent/agent.py', "feat[self.ext['teacher/row'][:S, 0]]", 'feat[:S]', [METHOD]),
    ('always-the-first-sequences', 'teacher/model.py', 'jax.random.permutation(choose, shape[0])[:seen]',
     'jnp.arange(shape[0])[:seen]', [PAIRS]),
    ('others-not-scaled', 'agent/losses.py', 'f32(N - count + 1)', 'f32(1)', [LOSSES]),
    ('others-again-the-best', 'agent/losses.py', 'jnp.where(taken, -jnp.inf, ', 'jnp.where(taken, 0, ',
     [LOSSES]),
    ('least-relevant-picked', 'agent/losses.py', 'jax.lax.top_k(weights,', 'jax.lax.top_k(-weights,',
     [LOSSES]),
    ('actions-not-clipped', 'teacher/model.py', 'action = jnp.clip(action, -1, 1)', 'action = action',
     [PAIRS]),
    ('last-steps-encoded-anew', 'teacher/model.py', "~windows['is_last'] & late",
     "(windows['is_last'] | True) & late", [PAIRS]),
    ('last-steps-in-memory', 'training/pretrain.py', " & ~batch['is_last']", '', [PAIRS]),
    ('action-that-led-there', 'training/pretrain.py', "'action': batch['action'][keep]",
     "'action': np.roll(batch['action'], 1, 1)[keep]", [PAIRS]),
    ('prior-moves-the-vae', 'agent/guide.py', 'sg(self.vae.act(hidden))', 'self.vae.act(hidden)', [METHOD]),
    ('prior-against-the-sources', 'agent/guide.py', '.mean += sg', '.mean -= sg', [METHOD]),
    ('prior-of-another-body', 'agent/agent.py', "self.options.prior and {*act_space['action'].shape} == {*sizes}",
     'self.options.prior', [METHOD]),
    ('folded-sum-of-sources', 'agent/initialise.py', 'for k in each]].mean(0)', 'for k in each]].sum(0)', [CONVERT]),
    ('adapter-all-ones', 'agent/initialise.py', 'np.eye(len(kernel),', 'np.ones(kernel.shape,', [CONVERT]),
    ('states-without-history', 'training/pretrain.py', 'np.arange(T) >= T // 4', 'np.arange(T) >= 0',
     [PAIRS]),
]


def main(argv=None):
  """Run the command line and return the status."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--list', action='store_true', help='only check and list the mutations')
  parser.add_argument('--only', nargs='+', metavar='NAME', help='only these mutations')
  parser.add_argument('--jobs', type=int, default=1, help='at the same time')
  args = parser.parse_args(argv)
  chosen = [x for x in MUTANTS if not args.only or x[0] in args.only]
  unknown = set(args.only or ()) - {x[0] for x in MUTANTS}
  faults = [f"no mutant is named '{x}'" for x in sorted(unknown)] + list(filter(None, map(stale, chosen)))
  if faults:
    raise SystemExit('\n'.join(faults))
  if args.list:
    for name, file, old, new, _ in chosen:
      print(f'{name:28} {file:12} {old} -> {new or "(nothing)"}')
    return 0
  unmutated(chosen)
  survivors = run(chosen, args.jobs)
  print(json.dumps(dict(
      killed=len(chosen) - len(survivors), total=len(chosen), survivors=survivors)))
  return 1 if survivors else 0


def stale(mutant):
  """Return what is wrong with a mutant whose old text is not found exactly once, or None."""
  name, file, old, _, _ = mutant
  count = (ROOT / 'vid2act_plugin' / file).read_text().count(old)
  if count != 1:
    return f'{name}: found {count} times in {file}, not once: {old}'


def unmutated(chosen):
  """Raise `SystemExit` unless the tests pass where nothing was changed."""
  with progress.stage('the tests without a mutation'):
    tests = sorted({test for x in chosen for test in x[4]})
    failed, output = attempt(None, tests)
  if failed:
    raise SystemExit(f'{output[-3000:]}\nThe tests fail without a mutation; mend that first.')


def run(chosen, jobs):
  """Try all mutants and return the names of those that no test noticed."""
  survivors = []
  with progress.bar('mutants', len(chosen), 'tried') as bar, \
      concurrent.futures.ThreadPoolExecutor(jobs) as pool:
    futures = {pool.submit(timed, x): x[0] for x in chosen}
    for future in concurrent.futures.as_completed(futures):
      name, (failed, seconds) = futures[future], future.result()
      survivors += [] if failed else [name]
      print(f"{'killed' if failed else 'SURVIVED':9} {name:28} {seconds:5.1f} s  {failed}", flush=True)
      bar.advance()
  return [x[0] for x in chosen if x[0] in survivors]


def timed(mutant):
  start = time.monotonic()
  failed, _ = attempt(mutant, mutant[4])
  return failed, time.monotonic() - start


def attempt(mutant, tests):
  """Run tests in a copy with the mutation; return the failed one's name or '', and the output."""
  with tempfile.TemporaryDirectory(prefix='mutant-') as folder:
    root = pathlib.Path(folder)
    copy(root)
    if mutant:
      _, file, old, new, _ = mutant
      path = root / 'vid2act_plugin' / file
      path.write_text(path.read_text().replace(old, new))
    # First in the path, so that the copy is what is imported, in child processes too.
    env = {**os.environ, 'PYTHONPATH': folder, 'PYTHONDONTWRITEBYTECODE': '1'}
    python = lambda *args: subprocess.run(
        [sys.executable, *args], cwd=root, env=env, capture_output=True, text=True, timeout=LIMIT)
    found = python('-c', 'import vid2act_plugin; print(vid2act_plugin.__file__)').stdout.strip()
    if pathlib.Path(found).parent.parent.resolve() != root.resolve():
      raise SystemExit(f'The copy {root} was to be imported, but Python imported {found}.')
    done = python('-m', 'pytest', '-x', '-q', '-p', 'no:cacheprovider', *tests)
    if done.returncode not in (0, 1):
      raise SystemExit(f'{done.stdout[-3000:]}{done.stderr}\n{mutant}: pytest could not run.')
    names = re.findall(r'^(?:FAILED|ERROR) \S*::(\S+)', done.stdout, re.M)
    return (names or ['?'])[0] if done.returncode else '', done.stdout


def copy(root):
  """Copy what the tests need into `root`."""
  for name in PARTS:
    if (ROOT / name).is_dir():
      shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns('__pycache__'))
    else:
      shutil.copy(ROOT / name, root / name)


if __name__ == '__main__':
  sys.exit(main())
