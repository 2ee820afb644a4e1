"""Strategies that spoil arrays: .npy, .npz and safetensors."""

import io
import json
import struct
import zipfile
import zlib

import numpy as np
from hypothesis import strategies as st

from . import odd
from .odd import raw, tree


def header(descr, shape, fortran=False, version=1):
  """Return the start of an .npy file, whatever it claims."""
  text = repr(dict(descr=descr, fortran_order=fortran, shape=shape)).encode() + b'\n'
  size = struct.pack('<H' if version == 1 else '<I', len(text))
  return b'\x93NUMPY' + bytes([version, 0]) + size + text


def bomb(start, size):
  """Return `start` and `size` zeros as the content of a deflated member."""
  pack = zlib.compressobj(9, zlib.DEFLATED, -15)
  begin = pack.compress(start) + pack.flush(zlib.Z_FULL_FLUSH)
  zeros = pack.compress(bytes(2 ** 20)) + pack.flush(zlib.Z_FULL_FLUSH)
  return begin + zeros * (size >> 20) + pack.flush()


@st.composite
def npy(draw, content):
  """An .npy file with another header, other values or other bytes."""
  how = draw(st.sampled_from(['type', 'shape', 'order', 'version', 'value', 'bytes', 'size']))
  value = np.load(io.BytesIO(content), allow_pickle=False)
  descr, body = np.lib.format.dtype_to_descr(value.dtype), value.tobytes()
  if how == 'type':
    return header(draw(st.sampled_from(odd.TYPES)), value.shape) + body
  if how == 'shape':
    return header(descr, draw(st.sampled_from(odd.SHAPES))) + body
  if how == 'order':
    return header(descr, value.shape, draw(st.sampled_from([True, 'C', 3]))) + body
  if how == 'version':
    return header(descr, value.shape, version=draw(st.sampled_from([0, 2, 3, 4, 255]))) + body
  if how == 'bytes':
    return draw(raw(content))
  if how == 'size':
    return header(descr, value.shape) + body * draw(st.sampled_from([0, 2]))
  made = io.BytesIO()
  if value.dtype.kind == 'f' and value.size:
    value.flat[draw(st.integers(0, value.size - 1))] = draw(
        st.sampled_from([np.nan, np.inf, -np.inf, 1e30, 2, -0.0]))
  else:
    value = value[draw(st.integers(0, len(value))):] if value.ndim else value
  np.save(made, value, allow_pickle=False)
  return made.getvalue()


@st.composite
def npz(draw, content):
  """An .npz file with spoiled members, with bombs, under other names, or of damaged bytes."""
  how = draw(st.sampled_from(['member', 'member', 'member', 'bytes', 'name', 'gone', 'bomb',
      'bomb']))
  if how == 'bytes':
    return draw(raw(content))
  with zipfile.ZipFile(io.BytesIO(content)) as archive:
    members = {x: archive.read(x) for x in archive.namelist()}
  name = draw(st.sampled_from(sorted(members)))
  if how == 'member':
    members[name] = draw(npy(members[name]))
  elif how == 'name':
    members[draw(st.sampled_from(odd.NAMES))] = members.pop(name)
  elif how == 'gone':
    del members[name]
  made = io.BytesIO()
  with zipfile.ZipFile(made, 'w', draw(st.sampled_from([0, 8, 14]))) as archive:
    for key, value in members.items():
      archive.writestr(key, value)
    if how == 'bomb':
      size = 768 * draw(st.sampled_from([2 ** 10, 2 ** 20, 2 ** 30]))
      start = header('|u1', (size,) if name[0] != 'i' else (size // 768, 16, 16, 3))
      real = bomb(start, size) if size < 2 ** 32 else start
      info = archive.getinfo(name)
      info.header_offset, info.compress_type = made.tell(), 8
      info.compress_size, info.file_size = len(real), size + len(start)
      made.write(info.FileHeader(zip64=size > 2 ** 31) + real)
      archive.start_dir, archive._didModify = made.tell(), True
  return made.getvalue()


@st.composite
def tensors(draw, content):
  """A safetensors file with another header, other values or other bytes."""
  size, = struct.unpack('<Q', content[:8])
  head, body = content[8: 8 + size], content[8 + size:]
  how = draw(st.sampled_from(['header', 'header', 'value', 'length', 'bytes']))
  if how == 'header':
    new = json.loads(head)
    key = draw(st.sampled_from(sorted(x for x in new if x != '__metadata__')))
    part, odd = draw(st.sampled_from([
        ('dtype', ['F64', 'BF16', 'F8_E4M3', 'BOOL', 'I8', 'C64', 'x', 7]),
        ('shape', [[10 ** 12], [-1], [2 ** 63, 2], [0], [], None]),
        ('data_offsets', [[0, 10 ** 12], [5, 1], [0, 0], [-1, 4], [0]])]))
    new[key][part] = draw(st.sampled_from(odd))
    head = json.dumps(draw(st.one_of(st.just(new), tree(new)))).encode()
  elif how == 'value':
    at = draw(st.integers(0, len(body) // 4 - 1)) * 4
    body = body[:at] + b'\0\0\xc0\x7f' + body[at + 4:]
  elif how == 'bytes':
    return draw(raw(content))
  size = draw(st.sampled_from([0, 2 ** 40, 2 ** 63, 99])) if how == 'length' else len(head)
  return struct.pack('<Q', size) + head + body
