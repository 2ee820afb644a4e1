"""Strategies of hypothesis that spoil inputs of every kind.

An input is `{name: bytes}`, the files of a folder.
"""

import hashlib
import io
import json
import pickle

from hypothesis import strategies as st

from . import odd
from .arrays import npy, npz, tensors
from .odd import raw, tree


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
def csv(draw, content):
  """A table of text with odd cells, rows or bytes."""
  rows = [x.split(',') for x in content.decode().splitlines()]
  row = draw(st.sampled_from(rows))
  how = draw(st.sampled_from(['cell', 'cell', 'row', 'bytes']))
  if how == 'bytes':
    return draw(raw(content))
  if how == 'cell':
    row[draw(st.integers(0, len(row) - 1))] = str(draw(st.sampled_from(odd.ODD)))
  else:
    rows.remove(row)
  return '\n'.join(map(','.join, rows)).encode('utf-8', 'surrogatepass')


@st.composite
def parquet(draw, content):
  """A table without a column, with empty cells, other types or rows, or damaged."""
  import pyarrow as pa
  import pyarrow.parquet as pq
  how = draw(st.sampled_from(['bytes', 'bytes', 'gone', 'empty', 'text', 'rows', 'negative',
      'huge']))
  if how == 'bytes':
    return draw(raw(content))
  table = pq.read_table(io.BytesIO(content))
  name = draw(st.sampled_from(table.column_names))
  at, n = table.column_names.index(name), len(table)
  values = dict(empty=[None] * n, text=['../x'] * n, negative=[-1] * n, huge=[2 ** 62] * n)
  if how == 'gone':
    table = table.remove_column(at)
  elif how == 'rows':
    table = table.slice(draw(st.integers(0, n)))
  else:
    table = table.set_column(at, name, pa.array(values[how]))
  made = io.BytesIO()
  pq.write_table(table, made)
  return made.getvalue()


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


BY_SUFFIX = {
    '.json': jsons, '.jsonl': jsons, '.npz': npz, '.npy': npy, '.safetensors': tensors,
    '.yaml': yaml,
    '.csv': csv, '.parquet': parquet, '.pkl': pickles}


@st.composite
def spoiled(draw, files, only=''):
  """One file of an input is spoiled; recordings and bundles mostly get the right hashes again."""
  files = dict(files)
  name = draw(st.sampled_from([x for x in sorted(files) if only in x]))
  suffix = name[name.rindex('.'):]
  how = draw(st.sampled_from(['spoil'] * 12 + ['empty', 'gone']))
  if how == 'gone':
    del files[name]
  else:
    files[name] = b'' if how == 'empty' else draw(BY_SUFFIX.get(suffix, raw)(files[name]))
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
