"""Malicious checkpoints: nothing in them is executed, and nothing they claim is believed."""

import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from helpers.payloads import Call, objects, touch, works

from vid2act_plugin.common import safe_pickle as pickles
from vid2act_plugin.common.errors import UserError


def glob(name):
  """Return the opcodes that put a global on the stack."""
  return b'c%s\n%s\n' % tuple(name.encode().split(b':'))


ROUTES = {
    'system': lambda: pickle.dumps(touch()),
    'in a checkpoint': lambda: pickle.dumps({'params': {'a': touch()}, 'counters': {'updates': 1}}),
    'open': lambda: pickle.dumps(Call(open, 'owned', 'w')),
    'eval': lambda: pickle.dumps(Call(eval, "open('owned', 'w')")),
    'old opcodes': lambda: b"(S'touch owned'\nios\nsystem\n.",
    'getattr': lambda: glob('builtins:getattr') + b'(' + glob('builtins:__import__')
    + b"(S'os'\ntRS'system'\ntR(S'touch owned'\ntR.",
    'a dotted name': lambda: (
        b'\x80\x04\x8c\x06shutil\x8c\x09os.system\x93\x8c\x0btouch owned\x85R.'),
    'codecs': lambda: pickle.dumps([Call(__import__('codecs').encode, 'x', 'utf8'), touch()]),
    'a nested pickle': lambda: pickle.dumps(Call(pickle.loads, pickle.dumps(touch()))),
    'an object array': lambda: pickle.dumps({'params': {'a': objects()}}),
    'an object array of protocol 5': lambda: pickle.dumps(objects(), 5),
    'numpy.load': lambda: glob('numpy:load') + b"(S'evil.npy'\nNI01\ntR."}


@pytest.mark.parametrize('route', ROUTES)
def test_checkpoints_execute_nothing(owned, route):
  path = owned.with_name('agent.pkl')
  path.write_bytes(ROUTES[route]())
  np.save(owned.with_name('evil.npy'), objects(), allow_pickle=True)
  works(owned, pickle.loads, path.read_bytes())
  with pytest.raises(UserError, match='agent.pkl') as error:
    pickles.load(path)
  assert str(error.value).isprintable()


def word(text):
  return b'X' + len(text).to_bytes(4, 'little') + text.encode()


def dtype(code):
  return glob('numpy:dtype') + b'(' + word(code) + b'\x89\x88tR'


MEMORY = {  # What NumPy takes without a question: an address of an object, a size, a kind of data.
    'an address': (glob('numpy:ndarray') + b'((K\x01t' + dtype('O8') + b'C\x08AAAAAAAAtR.',
                   lambda x: x.dtype == object),
    'a size': (dtype('V8') + b'(K\x03' + word('|') + b'NNNJ\xff\xff\xff\x7fK\x01K\x00tb.',
               lambda x: x.itemsize == 2 ** 31 - 1),
    'objects': (dtype('f8') + b'(K\x03' + word('<') + b'NNNK\x08K\x08K\x3ftb.',
                lambda x: x.hasobject)}


@pytest.mark.parametrize('name', MEMORY)
def test_checkpoints_name_no_addresses_or_sizes(owned, name):
  path, (content, taken) = owned.with_name('agent.pkl'), MEMORY[name]
  path.write_bytes(content)
  assert taken(pickle.loads(content))
  try:
    assert pickles.load(path) == np.dtype('f8')  # What it says of itself is not asked.
  except UserError as e:
    assert 'agent.pkl' in str(e)


ARRAY = glob('numpy._core.multiarray:_reconstruct') + b'(' + glob('numpy:ndarray') + b'K\x00\x85C\x01btRq\x01'
FILLED = lambda value: b'(K\x01K\x40\x85' + dtype('u1') + b'\x89C\x40' + bytes([value] * 64) + b'tb'


@pytest.mark.parametrize('content', [
    ARRAY + FILLED(1) + FILLED(2) + b'.',
    ARRAY + FILLED(1) + glob('numpy._core.numeric:_frombuffer') + b'(h\x01' + dtype('u1') + b'K\x40\x85X\x01\0\0\0CtR.'],
    ids=['set twice', 'a view'])
def test_no_array_looks_into_what_another_may_free(owned, content):
  """NumPy takes an array for the content of another, and frees its own when it is set again."""
  path = owned.with_name('agent.pkl')
  path.write_bytes(content)
  assert np.size(pickle.loads(content)) == 64
  with pytest.raises(UserError, match='agent.pkl has an array without content|agent.pkl sets the content of an array twice'):
    pickles.load(path)


LENGTH = (2 ** 28).to_bytes(8, 'little')  # Small enough to be allocated if somebody tries.


@pytest.mark.parametrize('content', [
    b'\x80\x04Nr\xff\xff\xff\x00', b'\x80\x05\x96' + LENGTH, b'\x80\x04\x8e' + LENGTH,
    b'\x80\x04\x95' + LENGTH], ids=['memo', 'bytearray', 'bytes', 'frame'])
def test_checkpoints_take_no_more_memory_than_they_have_bytes(owned, content):
  path = owned.with_name('agent.pkl')
  path.write_bytes(content)
  tracemalloc.start()
  try:
    with pytest.raises(UserError, match='agent.pkl'):
      pickles.load(path)
    assert tracemalloc.get_traced_memory()[1] < 1e6
  finally:
    tracemalloc.stop()


def test_checkpoints_have_no_keys_that_take_for_ever(owned):
  pairs = b'q\x00h\x00\x86' * 60  # A tuple of the last one, twice: its hash asks 2 ** 60 times.
  owned.with_name('agent.pkl').write_bytes(b'\x80\x04})' + pairs + b'K\x01s.')
  program = "from vid2act_plugin.common import safe_pickle; safe_pickle.load('agent.pkl')"
  done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, timeout=60)
  assert done.returncode == 1 and done.stderr.startswith('The checkpoint agent.pkl has keys')
