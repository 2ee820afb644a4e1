"""Strategies that spoil tables: CSV, Parquet, Arrow and HDF5, with claims of gigabytes."""

import functools
import io

import numpy as np
from hypothesis import strategies as st

from . import odd
from .odd import raw

ROWS, GROUPS = 2 ** 20, 128  # Of a bomb: 1 GB a column.
SHAPES = [(2 ** 40,), (10 ** 9, 16, 16, 3), (6, 2 ** 33), (6, 2 ** 31 - 1), (2 ** 27, 2), (), (0,)]


@st.composite
def csv(draw, content):
  """A table of text with odd cells, rows or bytes."""
  rows = [x.split(',') for x in content.decode().splitlines()]
  row = draw(st.sampled_from(rows))
  how = draw(st.sampled_from(['cell', 'cell', 'row', 'wide', 'long', 'bytes', 'head', 'head']))
  if how == 'bytes':
    return draw(raw(content))
  if how == 'cell':
    row[draw(st.integers(0, len(row) - 1))] = str(draw(st.sampled_from(odd.ODD)))
  elif how == 'head':  # Names of other meanings, comments before them, or digits.
    rows[0] = [draw(st.sampled_from(odd.HEADS)) for _ in rows[-1]]
    rows[:0] = [['# ' + draw(st.sampled_from(odd.HEADS))]] * draw(st.integers(0, 2))
  elif how == 'wide':
    rows = [x * 5000 for x in rows]
  elif how == 'long':  # As an array of text, every cell would be as wide as the longest.
    rows += [['x' * 10 ** 6, *row[1:]], *[row] * 5000]
  else:
    rows.remove(row)
  return '\n'.join(map(','.join, rows)).encode('utf-8', 'surrogatepass')


@st.composite
def parquet(draw, content):
  """A table without a column, with empty cells, other types or rows, bombs, or damaged."""
  import pyarrow as pa
  import pyarrow.parquet as pq
  how = draw(st.sampled_from([
      'bytes', 'bytes', 'gone', 'empty', 'text', 'rows', 'negative', 'huge', 'runs', 'words']))
  if how == 'bytes':
    return draw(raw(content))
  if how == 'runs':
    return run_lengths(content)
  table = pq.read_table(io.BytesIO(content))
  name = draw(st.sampled_from(table.column_names))
  at, n = table.column_names.index(name), len(table)
  values = dict(
      empty=[None] * n, text=['../x'] * n, negative=[-1] * n, huge=[2 ** 62] * n,
      words=['x' * 2 ** 16] * n)
  if how == 'gone':
    table = table.remove_column(at)
  elif how == 'rows':
    table = table.slice(draw(st.integers(0, n)))
  else:
    table = table.set_column(at, name, pa.array(values[how]))
  if how == 'words':  # A dictionary of one word, and a run length.
    table = pa.concat_tables([table] * 2000)
  made = io.BytesIO()
  pq.write_table(table, made)
  return made.getvalue()


@functools.cache
def run_lengths(content):
  """Return a table of the same columns, with one row repeated until it claims gigabytes."""
  import pyarrow as pa
  import pyarrow.parquet as pq
  row = pq.read_table(io.BytesIO(content)).slice(0, 1).combine_chunks()
  nested = any(map(pa.types.is_nested, row.schema.types))  # They are written value by value.
  count = max(1, 2 ** 17 // row.nbytes) if nested else ROWS
  index = np.zeros(count, np.int8)
  again = lambda x: x.take(pa.array(index)) if pa.types.is_nested(x.type) else (
      pa.DictionaryArray.from_arrays(index, x.chunk(0)))
  table = pa.table({k: again(row[k]) for k in row.column_names})
  made = io.BytesIO()
  with pq.ParquetWriter(made, table.schema, store_schema=False) as writer:
    for _ in range(GROUPS):
      writer.write_table(table, row_group_size=count)
  return made.getvalue()


@st.composite
def arrow(draw, content):
  """An Arrow file with a column of other values or lengths, a bomb, or damaged."""
  import pyarrow as pa
  how = draw(st.sampled_from(['bytes', 'bytes', 'bytes', 'gone', 'text', 'zeros', 'null']))
  if how == 'bytes':
    return draw(raw(content))
  table = pa.ipc.open_file(io.BytesIO(content)).read_all()
  at = draw(st.integers(0, table.num_columns - 1))
  name, n = table.column_names[at], len(table)
  if how == 'gone':
    table = table.remove_column(at)
  elif how == 'text':
    table = table.set_column(at, name, pa.array(['../x'] * n))
  elif how == 'zeros':
    wide = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(n * 2 ** 23)), 2 ** 23)
    table = table.set_column(at, name, wide)
  else:
    table = pa.table({x: pa.nulls(2 ** 24) for x in table.column_names})
  made = io.BytesIO()
  with pa.ipc.new_file(
      made, table.schema, options=pa.ipc.IpcWriteOptions(compression='zstd')) as file:
    file.write_table(table)
  return made.getvalue()


@st.composite
def hdf5(draw, content):
  """An HDF5 file with a data set of other kind, size or place, or damaged."""
  import h5py
  how = draw(st.sampled_from([
      'bytes', 'bytes', 'gone', 'fill', 'fill', 'chunks', 'words', 'lists', 'soft', 'external',
      'circle', 'group']))
  if how == 'bytes':
    return draw(raw(content))
  made, names = io.BytesIO(content), []
  with h5py.File(made, 'r+') as file:
    file.visititems(lambda k, x: names.append(k) if isinstance(x, h5py.Dataset) else None)
    name = draw(st.sampled_from(names))
    shape = file[name].shape
    del file[name]
    if how == 'fill':
      file.create_dataset(name, draw(st.sampled_from(SHAPES)), 'f4')
    elif how == 'chunks':  # Zeros, and only the first chunk of them.
      size = draw(st.sampled_from([2 ** 24, 2 ** 29]))
      data = file.create_dataset(name, (6, size), 'u1', chunks=(1, size), compression='gzip')
      data[0, :9] = 1
    elif how == 'words':
      file.create_dataset(name, (2 ** 10,), f'S{2 ** 30}')
    elif how == 'lists':
      data = file.create_dataset(name, (len(shape) and shape[0] or 1,), h5py.vlen_dtype('u1'))
      data[:] = [np.zeros(10 ** 6, 'u1')] * len(data)
    elif how == 'soft':
      file[name] = h5py.SoftLink(names[0])
    elif how == 'external':
      file[name] = h5py.ExternalLink('/etc/passwd', 'x')
    elif how == 'circle':
      file[name] = file['/']
    elif how == 'group':
      file.create_group(name)
  return made.getvalue()
