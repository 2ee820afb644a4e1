"""Small files that claim much."""

import struct
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.robustness import arrays
from helpers.foreign import play, write_v2


def negations(path):
  """An array whose header is a sum of 9,000 signs, for which Python's parser lacks memory."""
  text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b'-' * 9000 + b'1,)}\n'
  header = b'\x93NUMPY\x01\x00' + struct.pack('<H', len(text)) + text
  with zipfile.ZipFile(path, 'w') as file:
    file.writestr('image.npy', header)
    file.writestr('action.npy', header)


def zeros(path):
  """Actions of 1 GB, in 1 MB."""
  write_v2(path, play(), action=None)
  size = 2 ** 30
  start = arrays.header('|u1', (8, size // 8))
  content, info = arrays.bomb(start, size), zipfile.ZipInfo('action.npy')
  with zipfile.ZipFile(path, 'a') as file:
    info.compress_type, info.compress_size, info.file_size = 8, len(content), size + len(start)
    info.header_offset, info.CRC = file.start_dir, 0
    file.fp.seek(file.start_dir)
    file.fp.write(info.FileHeader() + content)
    file.start_dir, file._didModify = file.fp.tell(), True
    file.filelist.append(info)
    file.NameToInfo[info.filename] = info


def png(width, height):
  """Return a picture of black pixels, which Deflate makes a thousandth of."""
  part = lambda kind, x: struct.pack('>I', len(x)) + kind + x + struct.pack(
      '>I', zlib.crc32(kind + x))
  pack = zlib.compressobj(9)
  rows = pack.compress(bytes(3 * width + 1)) + pack.flush()
  return b'\x89PNG\r\n\x1a\n' + part(b'IHDR', struct.pack('>2I5B', width, height, 8, 2, 0, 0, 0)) + (
      part(b'IDAT', rows) + part(b'IEND', b''))


def runs(path, columns, count=2 ** 17, groups=8):
  """Write a table of one row that is repeated: 8 MB a column in 3 kB."""
  index = np.zeros(count, np.int8)
  table = pa.table({k: pa.DictionaryArray.from_arrays(index, pa.array(v)) for k, v in columns.items()})
  with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
    for _ in range(groups):
      writer.write_table(table, row_group_size=count)
  return path
