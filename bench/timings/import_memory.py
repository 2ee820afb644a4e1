"""How much memory does an import need whose data is far larger?

Writes episodes in the format of DreamerV2, row by row, into a temporary folder,
imports them in a process of its own, and removes them. The last line of the
output is a JSON object with `figure`, the peak of that process's resident
memory in MiB, and `aim`; status 1 if it is above.

    python -m bench.timings.import_memory [--gigabytes N] [--folder DIR]
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile

import numpy as np
import psutil

from vid2act_plugin.common import progress
from vid2act_plugin.sources import recording as recordings

AIM = 1536  # MiB.
EPISODES, HEIGHT, WIDTH = 5, 240, 320
PAUSE = 0.02  # Seconds between two looks at the process.


def main(argv=None):
  """Run the command line and return the status."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--gigabytes', type=float, default=2.2, help='default: %(default)s')
  parser.add_argument('--folder', default=None, help='gets the temporary data; default: the system')
  args = parser.parse_args(argv)
  steps = int(args.gigabytes * 1e9 / EPISODES / (HEIGHT * WIDTH * 3)) + 1
  with tempfile.TemporaryDirectory(dir=args.folder) as folder:
    free = shutil.disk_usage(folder).free / 1e9
    if free < 1.3 * args.gigabytes:
      print(f'{folder} has {free:.1f} GB of space, too little; name another one with --folder.')
      return 1
    data, out = pathlib.Path(folder) / 'data', pathlib.Path(folder) / 'out'
    data.mkdir()
    with progress.bar('writing data', EPISODES, 'episodes') as bar:
      for i in range(EPISODES):
        write(data / f'episode{i}.npz', steps, i)
        bar.advance()
    size = sum(x.stat().st_size for x in data.iterdir())
    began = time.monotonic()
    rss, pss = watch([
        sys.executable, '-m', 'vid2act_plugin.cli', 'import', data, '--out', out, '--resize', '64'])
    seconds = time.monotonic() - began
    entries = recordings.load_manifest(out / 'data')['episodes']
    assert [x['steps'] for x in entries] == [steps] * EPISODES, entries
  print(json.dumps(dict(
      figure=round(rss / 2**20), aim=AIM, unit='MiB', pss=round(pss / 2**20),
      seconds=round(seconds),
      data_gigabytes=round(size / 1e9, 2), steps=steps * EPISODES, episodes=EPISODES)))
  return int(rss / 2**20 > AIM)


def write(path, steps, seed):
  """Write an episode of images of noise, one image in memory at a time."""
  rng = np.random.default_rng(seed)
  noise = rng.integers(0, 256, HEIGHT * WIDTH * 3 + steps, np.uint8)
  head = lambda stream, dtype, *shape: np.lib.format.write_array_header_1_0(
      stream, dict(shape=shape, fortran_order=False, descr=dtype))
  action, reward = rng.uniform(-1, 1, (steps, 6)), rng.uniform(size=steps)
  action[0] = 0
  with zipfile.ZipFile(path, 'w') as archive:
    with archive.open('image.npy', 'w', force_zip64=True) as stream:
      head(stream, '|u1', steps, HEIGHT, WIDTH, 3)
      for t in range(steps):
        stream.write(noise[t: t + HEIGHT * WIDTH * 3].tobytes())
    for key, value in (('action', action), ('reward', reward)):
      with archive.open(f'{key}.npy', 'w') as stream:
        head(stream, '<f8', *value.shape)
        stream.write(value.tobytes())


def watch(command):
  """Run a command and return the peaks of its RSS, the kernel's figure, and PSS, in bytes."""
  process = subprocess.Popen([str(x) for x in command])
  rss = pss = 0
  while process.poll() is None:
    try:
      pss = max(pss, psutil.Process(process.pid).memory_full_info().pss)
      status = pathlib.Path(f'/proc/{process.pid}/status').read_text()
      rss = max(rss, int(status.split('VmHWM:')[1].split()[0]) * 1024)
    except (psutil.Error, OSError, IndexError):  # It has just ended.
      pass
    time.sleep(PAUSE)
  if process.returncode:
    raise SystemExit(process.returncode)
  return rss, pss


if __name__ == '__main__':
  sys.exit(main())
