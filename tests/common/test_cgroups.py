"""The limits of containers, and of a cluster's jobs."""

import pytest

from vid2act_plugin.common import budget, cgroups, parallel

JOB = 'slurm/job_3'


@pytest.fixture
def group(tmp_path, monkeypatch):
  """Return a function that writes the groups of this process and their files."""
  def fn(told, **files):
    for name, content in files.items():
      path = tmp_path / 'groups' / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(content)
    (tmp_path / 'self').write_text(told)
    budget.memory.cache_clear()
  monkeypatch.setattr(cgroups, 'ROOT', tmp_path / 'groups')
  monkeypatch.setattr(cgroups, 'OURS', tmp_path / 'self')
  yield fn
  budget.memory.cache_clear()


@pytest.mark.parametrize('told, files, limits', [
    ('0::/\n', {'memory.max': '1000\n', 'cpu.max': '150000 100000\n'}, (1000, 1.5)),
    ('0::/\n', {'memory.max': 'max\n', 'cpu.max': 'max 100000\n'}, None),
    (f'0::/{JOB}\n', {f'{JOB}/memory.max': 'max\n', 'slurm/memory.max': '3000\n', f'{JOB}/cpu.max': '50000 100000'}, (3000, .5)),
    (f'5:cpu,cpuacct:/{JOB}\n4:memory:/{JOB}\n1:name=systemd:/x', {
        f'memory/{JOB}/memory.limit_in_bytes': '2000', f'cpu,cpuacct/{JOB}/cpu.cfs_quota_us': '200000',
        f'cpu,cpuacct/{JOB}/cpu.cfs_period_us': '100000'}, (2000, 2)),
    ('', {'memory/memory.limit_in_bytes': '2000', 'cpu/cpu.cfs_quota_us': '-1', 'cpu/cpu.cfs_period_us': '100000'}, (2000, None)),
    ('0::/../../elsewhere\n', {'memory.max': '77'}, (77, None)), ('nonsense', {}, None)])
def test_a_limit_of_any_group_around_ours_holds(group, told, files, limits):
  group(told, **files)
  memory, cores = limits or (None, None)
  assert min(cgroups.memory(), default=None) == memory and min(cgroups.cores(), default=None) == cores
  assert budget.memory() == (memory or budget.memory()) and parallel.cores() >= 1


def test_as_many_workers_as_cores_may_be_used(group, monkeypatch):
  monkeypatch.setattr(parallel.os, 'sched_getaffinity', lambda pid: {*range(64)})
  for quota, count in (('max', 64), ('400000', 4), ('150000', 2), ('1000', 1), ('9900000', 64)):
    group('0::/', **{'cpu.max': f'{quota} 100000'})
    assert parallel.cores() == count == parallel.places(0)
