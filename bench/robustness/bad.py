"""Strategies of hypothesis that spoil inputs of every kind.

An input is `{name: bytes}`, the files of a folder.
"""

import gzip
import hashlib
import json
import os
import pathlib
import pickle

from hypothesis import strategies as st

from . import odd
from .arrays import npy, npz, tensors
from .odd import raw, tree
from .tables import arrow, csv, hdf5, parquet


@st.composite
def jsons(draw, content):
  """JSON of another structure, or damaged text; of several lines, one is changed."""
  lines = [content] if content.startswith(b'{\n') else content.splitlines()
  i = draw(st.integers(0, len(lines) - 1))
  how = draw(st.sampled_from(['tree'] * 4 + ['bytes', 'deep']))
  if how == 'tree':
    lines[i] = json.dumps(draw(tree(json.loads(lines[i])))).encode()
  elif how == 'deep':
    levels = draw(st.sampled_from([30, 400, 900, 100_000]))
    lines[i] = lines[i].replace(b'{}', b'{"a":' * levels + b'1' + b'}' * levels)
  else:
    lines[i] = draw(raw(lines[i]))
  return b'\n'.join(lines)


@st.composite
def yaml(draw, content):
  """An overlay with odd lines or values, bombs, or other bytes."""
  how = draw(st.sampled_from(['line', 'line', 'line', 'alone', 'bytes', 'value', 'bomb']))
  if how == 'bytes':
    return draw(raw(content))
  if how == 'bomb':
    return draw(st.sampled_from(
        [odd.BOMB, odd.PATTERNS, 'seed: 1\n' * 20_000, '# x\n' * 10 ** 6])).encode()
  new = draw(st.sampled_from(odd.YAML))
  if how == 'alone':
    return new.encode('utf-8', 'surrogatepass')
  lines = content.decode().splitlines()
  at = draw(st.integers(0, len(lines) - 1))
  if how == 'value':
    lines[at] = f"{lines[at].partition(':')[0]}: {draw(st.sampled_from(odd.ODD[:16] + odd.YAML))!r}"
  else:
    lines.insert(draw(st.sampled_from([at, len(lines), len(lines)])), new)
  return '\n'.join(lines).encode('utf-8', 'surrogatepass')


@st.composite
def scores(draw, content):
  """A score file with odd rows or curves, bombs, or damaged."""
  how = draw(st.sampled_from(['json', 'json', 'json', 'curve', 'bytes', 'zeros', 'plain']))
  text = gzip.decompress(content)
  if how == 'bytes':
    return draw(raw(content))
  if how == 'zeros':
    return gzip.compress(bytes(2 ** 29))
  if how == 'plain':
    return text
  if how == 'json':
    return gzip.compress(draw(jsons(text)))
  rows = json.loads(text)
  row, key = draw(st.sampled_from(rows)), draw(st.sampled_from(['xs', 'ys', 'seed', 'task']))
  row[key] = draw(st.sampled_from([*odd.ODD, [[[1.0]]], [1, 1], [2, 1], [1e308] * 4, [None] * 4]))
  return gzip.compress(json.dumps(rows).encode())


@st.composite
def arguments(draw, content):
  """A command line with odd, missing or repeated arguments."""
  words = json.loads(content)
  for _ in range(draw(st.integers(1, 2))):
    at = draw(st.integers(1, len(words) - 1))
    how = draw(st.sampled_from(['change'] * 4 + ['gone', 'more', 'twice']))
    new = draw(st.sampled_from(odd.ARGUMENTS))
    words[at: at + (how in ('change', 'gone'))] = {
        'gone': [], 'twice': [words[at]] * 2}.get(how, [new])
    if len(words) < 2:
      break
  return json.dumps(words).encode()


@st.composite
def pickles(draw, content):
  """A checkpoint with other arrays or foreign objects, or damaged."""
  how = draw(st.sampled_from(['bytes', 'bytes', 'insert', 'state', 'tree']))
  if how == 'bytes':
    return draw(raw(content))
  if how == 'insert':
    at = draw(st.integers(0, len(content)))
    return content[:at] + draw(st.sampled_from(odd.GADGETS)) + content[at:]
  if how == 'tree':
    return pickle.dumps(draw(tree(dict(params={}, counters=dict(updates=1)))))
  old, new = draw(st.sampled_from([
      (b'f4', b'O8'), (b'f4', b'V4'), (b'K\x03', b'J\xff\xff\xff\xff'), (b'f4', b'f8'),
      (b'K\x03', b'\x8a\x08' + b'\xff' * 7 + b'\x7f'), (b'C\x01b', b'C\x01O'), (b'<', b'>'),
      (b'ndarray', b'memmap_'), (b'_reconstruct', b'_frombuffer.')]))
  return content.replace(old, new)


# What an input has in the place of bytes -> what is no regular file.
SPECIAL = {
    b'\0pipe': os.mkfifo, b'\0folder': os.mkdir,
    b'\0device': lambda path: path.symlink_to('/dev/zero'),
    b'\0circle': lambda path: path.symlink_to(path.name)}
BY_SUFFIX = {
    '.json': jsons, '.jsonl': jsons, '.npz': npz, '.npy': npy, '.safetensors': tensors,
    '.yaml': yaml, '.csv': csv, '.parquet': parquet, '.pkl': pickles, '.arrow': arrow,
    '.hdf5': hdf5, '.gz': scores, '.argv': arguments}


@st.composite
def spoiled(draw, files, only=''):
  """One file of an input is spoiled; recordings and bundles mostly get the right hashes again."""
  files = dict(files)
  name = draw(st.sampled_from([x for x in sorted(files) if only in x]))
  suffix = pathlib.PurePath(name).suffix
  spoil, others = BY_SUFFIX.get(suffix, raw), ['empty', 'gone', 'special']
  # Command lines are in files for the sake of the fuzzer alone.
  how = draw(st.sampled_from(['spoil'] * 12 + others * (suffix != '.argv')))
  if how == 'gone':
    del files[name]
  elif how == 'special':
    files[name] = draw(st.sampled_from(sorted(SPECIAL)))
  else:
    files[name] = b'' if how == 'empty' else draw(spoil(files[name]))
  return rehashed(files) if draw(st.integers(0, 9)) else files


def rehashed(files):
  """Write the hashes of the files into the manifest, where it still has places for them."""
  digest = lambda x: hashlib.sha256(x).hexdigest()
  try:
    manifest = json.loads(files['manifest.json'])
    for entry in manifest.get('episodes', ()):
      entry['sha256'] = digest(files[entry['file']])
    if 'hash' in manifest:
      manifest['files'] = {k: digest(v) for k, v in files.items() if k in manifest['files']}
      del manifest['hash']
      manifest['hash'] = digest(json.dumps(manifest, sort_keys=True).encode())
    return {**files, 'manifest.json': json.dumps(manifest, indent=1).encode()}
  except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
    return files
