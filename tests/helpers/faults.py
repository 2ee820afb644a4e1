"""Ways in which a run can be unfit as a teacher: how to spoil a copy of it, and what is said then."""

import pickle
import shutil

import elements
import numpy as np


def change(fn):
  """Return a function that applies `fn` to the parameters of a run's checkpoint."""
  def edit(run):
    path = next(run.glob('c*/*/agent.pkl'))
    data = pickle.loads(path.read_bytes())
    fn(data['params'])
    path.write_bytes(pickle.dumps(data))
  return edit


def rewrite(run, **changes):
  config = elements.Config.load(run / 'config.yaml')
  config.update(changes).save(run / 'config.yaml')


class Evil:
  def __reduce__(self):
    return open, ('owned', 'w')


def newest(run):
  return sorted((run / 'replay').glob('*.npz'))[-1]


def spoil(**changes):
  def edit(run):
    path = newest(run)
    data = {**np.load(path), **changes}
    np.savez(path, **{k: v for k, v in data.items() if v is not None})
  return edit


FAULTS = {
    'missing': (change(lambda x: x.pop('dyn/obs0/kernel')), 'agent.pkl.*config.yaml'),
    'extra': (change(lambda x: x.update({'dyn/new': np.zeros(3)})), 'agent.pkl.*config.yaml'),
    'shape': (change(lambda x: x.update({'enc/cnn0/bias': np.zeros(3)})), 'agent.pkl'),
    'config': (lambda x: rewrite(x, **{'agent.enc.simple.depth': 8}), 'agent.pkl'),
    'size': (lambda x: rewrite(x, **{'agent.dyn.rssm.deter': 32}),
             'run0: deter 16, .*copy: deter 32, .*agent.dyn.rssm.deter'),
    'classes': (lambda x: rewrite(x, **{'agent.dyn.rssm.classes': 300}), 'copy has agent.dyn.rssm.classes = 300'),
    'proprioception': (change(lambda x: x.update({'enc/mlp0/kernel': np.zeros((5, 16))})),
                       'copy also sees'),
    'no config': (lambda x: (x / 'config.yaml').unlink(), 'config.yaml'),
    'other config': (lambda x: (x / 'config.yaml').write_text('task: a_b'), 'config.yaml.*agent'),
    'no checkpoint': (lambda x: shutil.rmtree(x / 'checkpoint.pkl'), 'copy has no checkpoint'),
    'half a checkpoint': (lambda x: next(x.glob('c*/*/done')).unlink(), 'latest.*agent.pkl'),
    'malicious': (lambda x: next(x.glob('c*/*/agent.pkl')).write_bytes(pickle.dumps(
        {'params': Evil(), 'counters': {'updates': 1}})), r'agent.pkl.*io\.open'),
    'not a pickle': (lambda x: next(x.glob('c*/*/agent.pkl')).write_bytes(b'nonsense'),
                     'agent.pkl is damaged'),
    'not an agent': (lambda x: next(x.glob('c*/*/agent.pkl')).write_bytes(pickle.dumps([1])),
                     'agent.pkl is not'),
    'no replay': (lambda x: shutil.rmtree(x / 'replay'), 'copy/replay.*guide.*--no-guide'),
    'corrupt chunk': (lambda x: newest(x).write_bytes(newest(x).read_bytes()[:300]), 'npz'),
    'pickled chunk': (spoil(action=np.array([{}] * 5)), 'npz'),
    'other actions': (spoil(action=np.zeros((5, 4), np.float32)), 'npz.*3 continuous'),
    'one action as a number': (spoil(action=np.zeros(5, np.float32)), 'copy has actions of type float32; .* one continuous action'),
    'classes as actions': (spoil(action=np.zeros((5, 3), np.int32)), 'copy has actions of type int32; .* one continuous action'),
    'no actions': (spoil(action=None), 'npz has no action'),
    'other images': (spoil(second=np.zeros((5, 16, 16, 3), np.uint8)), 'copy also sees second'),
    'image size': (spoil(image=np.zeros((5, 32, 32, 3), np.uint8)), 'run0: .*16, 16.*32, 32'),
}
