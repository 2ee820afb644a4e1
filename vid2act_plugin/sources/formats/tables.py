"""Tables in Parquet and Arrow: what they claim is checked before it is read.

A run length or a dictionary makes gigabytes of a few bytes. What follows is
capped by `survey` as well, for files whose own directories lie.
"""

import os

from ...common import files
from ...common.budget import Budget

WIDTHS = {'BOOLEAN': 1, 'INT32': 4, 'FLOAT': 4, 'INT64': 8, 'DOUBLE': 8, 'INT96': 12}
ROWS = 16  # Of what is read at once, images among it.
CELL = 64  # Bytes that a number takes as an object of Python.


def check(path, columns=None):
  """Refuse a Parquet file whose `columns`, default all, cannot be what its size means.

  Raises an `OSError` for what is no regular file, otherwise a `ValueError`.
  """
  import pyarrow.parquet as pq
  limit, about = Budget.of(files.regular(path)), pq.read_metadata(local(path))
  paths = [about.schema.column(i).path for i in range(about.num_columns)]
  for name in columns or ():
    if not any(_within(x, [name]) for x in paths):
      raise ValueError(f"it has no column '{name:.80}'")
  for group in map(about.row_group, range(about.num_row_groups)):
    for i in range(group.num_columns):
      column = group.column(i)
      if columns is None or _within(column.path_in_schema, columns):
        width = WIDTHS.get(column.physical_type) or max(1, about.schema.column(i).length)
        limit.take(max(
            column.num_values * width, column.total_uncompressed_size), column.path_in_schema[:80])


def batches(path, form, columns=None, rows=ROWS):
  """Yield the record batches of a file of the form 'parquet' or 'arrow', as `check` checks them.

  columns: paths of fields, with dots; of the latter form, whole top-level fields are read.
  """
  if form == 'parquet':
    import pyarrow.parquet as pq
    check(path, columns)
    with pq.ParquetFile(local(path)) as file:
      yield from file.iter_batches(rows, columns=columns, use_threads=False)
    return
  with _opened(path, columns) as file:
    limit = Budget.of(path)
    for batch in map(file.get_batch, range(file.num_record_batches)):
      limit.fits(max(batch.nbytes, CELL * len(batch)), 'a part of it')
      batch.validate(full=True)  # Else lengths that are not there are read all the same.
      for t in range(0, len(batch), rows):
        yield batch.slice(t, rows)


def schema(path, form):
  """Return the schema of such a file."""
  if form == 'parquet':
    import pyarrow.parquet as pq
    return pq.read_schema(local(path))
  with _opened(path) as file:
    return file.schema


def parquet(path, columns=None):
  """Return a Parquet file as a table; its rows may become objects of Python."""
  import pyarrow as pa
  import pyarrow.parquet as pq
  found, limit = [], Budget.of(files.regular(path))
  for batch in batches(path, 'parquet', columns, rows=1024):
    limit.take(max(batch.nbytes, CELL * len(batch) * batch.num_columns), 'it')
    found.append(batch)
  return pa.Table.from_batches(found) if found else pq.read_table(local(path), columns=columns)


def numbers(column):
  """Return a column `[N]`, or `[N, A]` if it has lists; text is left as objects.

  Raises a `ValueError` for lists of different lengths.
  """
  import pyarrow as pa
  import pyarrow.compute as pc
  flat, lists = column.combine_chunks(), False
  while pa.types.is_list(flat.type) or pa.types.is_fixed_size_list(flat.type):
    lengths = pc.min_max(pc.list_value_length(flat)).as_py()
    if lengths['min'] != lengths['max']:
      raise ValueError('it has lists of different lengths')
    flat, lists = flat.flatten(), True
  value = flat.to_numpy(zero_copy_only=False)
  return value.reshape(len(column), -1) if lists else value


def _opened(path, columns=None):
  import pyarrow as pa
  read = lambda **options: pa.ipc.open_file(
      local(path), options=pa.ipc.IpcReadOptions(use_threads=False, **options))
  if columns is None:
    return read()
  with read() as file:
    names = file.schema.names
  return read(included_fields=[names.index(x.split('.')[0]) for x in columns])


def local(path):
  """Return a regular file as Arrow takes it: a path, or opened where it finds none of that name, which is no UTF-8."""
  path = str(files.regular(path))
  return path if path.encode(errors='ignore') == os.fsencode(path) else open(path, 'rb')


def _within(path, columns):
  return any(path == x or path.startswith(f'{x}.') for x in columns)
