"""Odd values, headers, names, lines and opcodes, for inputs that are bad on purpose."""

from hypothesis import strategies as st

ODD = [
    None, True, False, 0, -1, 1.5, 2 ** 31, 2 ** 63, 10 ** 400, 1e308, float('nan'), float('inf'),
    '',
    'x', '.', '../../etc/passwd', '/etc/passwd', 'a\nb', '\ud800', '\x1b]0;owned\x07', 'x' * 9999,
    '\u0665' * 6, '{0.__class__}', '{x:999999999}', [], {}, [[]], [None], [-1, 5], {'a': {'b': 1}}]
SHAPES = [
    (10 ** 12,), (10 ** 9, 16, 16, 4), (2 ** 62, 2 ** 62), (-1,), (-6, -2), (0,), (6, 0), (), (6,),
    (6, 2), (1,) * 40, (10 ** 30,), (6, 9, 9, 3), ('6',), (True,), (6.0, 2), 6, None]
TYPES = [
    '|O', '<f4', '>f4', '<f8', '<f2', '|b1', '|u1', '<i8', '<U4', '|S0', '|V8', '<M8[ns]', '<c8',
    'x',
    '<f99', '', [('a', '<f4'), ('b', '|O')], [('a', '<f4', (10 ** 6,))], None, 7]
NAMES = ['../x.npy', '/tmp/x.npy', 'action', 'action.npy', 'a/b.npy', 'x.npy', '.npy', 'ä\n.npy',
    'x' * 9999]
ARGUMENTS = [
    '', '-', '--', '-1', '0', '1.5', '1e9', 'nan', '9' * 50, '9' * 5000, 'x', 'x' * 300, '.',
    'a=b', '=', '=b',
    'image=', '../x', '/dev/zero', '/dev/null', 'data', 'one', 'pipe', 'matrix.yaml', 'a\nb',
    '\x1b]0;owned\x07', '\udcff', '@x', '%s', '{0}', '--out', '--format', '--help', '--name',
    '--resize', '--key', '--repeat', 'minari', 'lerobot', 'video', '--configs', 'vid2act', 'nowhere',
    '--agent', '--.*', '--agent.vid2act.floor', '--run.steps=1', '1e400', 'True', 'inf', '1,2', 'None']
YAML = [
    'run: !!python/object/apply:os.system ["touch owned"]', 'task: !!python/name:os.system x',
    'a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\ntask: [*c, *c]', 'run: &r {steps: *r}',
    'run: &r\n  envs: *r', 'run: {steps: 1}\nrun: {steps: 2}', 'seed: 0x7fffffffffffffffffff',
    'seed: .inf', 'seed: .nan', 'seed: 1e999', 'agent.opt.lr: ' + '9' * 400, 'task: 2001-99-99',
    'task: "\\ud800"', 'task: "a\\nb"', 'task: !!binary /w==', '? [a, b]\n: 1', '~: 1', '1: 2',
    '0x10: 1',
    'true: 1', '(a+)+$: 1', '(.|.|a){99}x: 1', '"[": 1', '".*": 1', '"": 1', '"a\\nb": 1',
    'run: !!omap [steps: 1]', 'run: !!set {steps}', 'run: !foo {steps: 1}',
    '%YAML 9.9\n---\nseed: 1',
    'seed: 1\n---\nseed: 2', '[' * 500, 'run: ' + '{a: ' * 400, '- ' * 500, 'a: b: c', '\t', '\x00',
    '*a',
    'x: &x {steps: 3}\nagent: {<<: *x}', 'run: {<<: {steps: 3}}', 'run: {<<: 3}', 'agent: {}',
    'agent: 3',
    'seed: {a: 1}', 'seed: []', 'task: null', 'run: null', 'vid2act.sources: [[a]]', 'seed: 1_000',
    'seed: 1:30', "task: 'x", 'task: !!int x', 'task: !!float x', 'seed: !!timestamp x',
    '# \x7f', '\ufeff',
    '&a a: 1', '&a : *a', 'seed: ' + '7' * 5000, '? &k {a: *k}\n: 1', 'k' * 999 + ': 1']
HEADS = [
    'action', 'action_0', 'action_1', 'x', '', '0', '1', 'Unnamed: 0', '__index_level_0__', 'frame',
    'step', 'timestamp', 'time_s', 'image', 'episode', 'reward', 'Reward', 'done', 'terminated',
    'state_x', '"a', '#', ' ', 'a;b', '\t', '\ud800', '\x1b[2J', '²', '1e400', 'x' * 9999]
BOMB = '\n'.join(
    ['a0: &a0 {x: 1}'] + [f'a{i}: &a{i} {{{", ".join(f"{k}: *a{i - 1}" for k in "bcdefghi")}}}'
                          for i in range(1, 12)])
PATTERNS = BOMB.replace('a0: &a0 {x: 1}', '".*": &a0 {".*": 1}').replace(': *', '.*: *')
GADGETS = [
    b'cos\nsystem\n(S"touch owned"\ntR.', b'cbuiltins\neval\n(S"1"\ntR.',
    b'cnumpy\nndarray\n(K\x01tR.',
    b'\x80\x04\x8c\x02os\x8c\x06system\x93.', b'r\xff\xff\xff\x7f', b'\x8e' + b'\xff' * 7 + b'\x00',
    b'\x96\x00\x00\x00\x00\x04\x00\x00\x00', b')' + b'2\x86' * 40 + b'K\x01s.', b'}' * 999, b'.',
    b'(', b'R',
    b'\x8b\xff\xff\xff\x7f', b'\x95' + b'\xff' * 7 + b'\x7f', b'Ppid\n', b'\x82\x01', b'b',
    b'cnumpy\ndtype\n']


@st.composite
def raw(draw, content):
  """Bytes changed, cut, put in or taken out."""
  content = bytearray(content)
  for _ in range(draw(st.integers(1, 3))):
    at = draw(st.integers(0, max(0, len(content) - 1)))
    size = draw(st.sampled_from([1, 1, 2, 4, 8, 64]))
    new = draw(st.one_of(
        st.binary(min_size=size, max_size=size),
        st.sampled_from([b'\0' * size, b'\xff' * size, b'\x7f' + b'\xff' * (size - 1)])))
    how = draw(st.sampled_from(['change', 'change', 'change', 'cut', 'insert', 'remove', 'repeat']))
    if how == 'cut':
      del content[at:]
    elif how == 'repeat':
      content[at:at] = content[at: at + size] * 9
    else:
      content[at: at + size * (how != 'insert')] = new * (how != 'remove')
  return bytes(content)


@st.composite
def tree(draw, value):
  """One place in a value of JSON becomes something odd, is gone, or is there twice."""
  if isinstance(value, (dict, list)) and value and draw(st.integers(0, 5)):
    value = value.copy()
    keys = sorted(value) if isinstance(value, dict) else range(len(value))
    key = draw(st.sampled_from(keys))
    how = draw(st.sampled_from(['in'] * 6 + ['gone', 'more']))
    if how == 'in':
      value[key] = draw(tree(value[key]))
    elif how == 'gone':
      del value[key]
    elif isinstance(value, dict):
      value[f'{key}-{draw(st.sampled_from(["a", "../x", "🙂"]))}'] = value[key]
    else:
      value.append(value[key])
    return value
  return draw(st.sampled_from(ODD))
