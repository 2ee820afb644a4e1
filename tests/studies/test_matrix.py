"""Ablation files of others: what they repeat, how deep they are, and how many runs they ask for."""

import os

import pytest
from helpers.special import in_time

from vid2act_plugin import cli
from vid2act_plugin.common.errors import UserError
from vid2act_plugin.studies import matrix

GOOD = 'tasks: [metaworld_reach]\nseeds: [0]\nagainst: a\nvariants: {a: []}\n'
ALIASES = '\n'.join(f'x{i}: &x{i} [{", ".join([f"*x{i - 1}"] * 9)}]' for i in range(1, 9))
FILES = {
    'aliases': (f'{GOOD}x0: &x0 [1, 1]\n{ALIASES}', 'not valid YAML.*items'),
    'deep': (GOOD + 'configs: ' + '[' * 99, 'nested more than 20'),
    'many': (f'{GOOD}seeds2: 1'.replace('seeds: [0]\n', f'seeds: [{", ".join(map(str, range(200)))}]\n')
             .replace('seeds2: 1', '').replace('{a: []}', '{' + ', '.join(
                 f'{x}: []' for x in ('a', *(f'v{i}' for i in range(60)))) + '}'), '12,200 runs'),
    'pairs': (GOOD.replace('[metaworld_reach]', f'[{", ".join(f"a_b{i}" for i in range(50))}]').replace('{a: []}', '{' + ', '.join(
        f'{x}: []' for x in ('a', *(f'v{i}' for i in range(10)))) + '}'), '550 pairs of method and task; give it at most 500'),
    'tasks': (GOOD.replace('[metaworld_reach]', f'[{", ".join(f"a_b{i}" for i in range(101))}]'), '101 tasks; give it at most 100'),
    'seed': (GOOD.replace('[0]', '[4294967296]'), 'is .4294967296.'),
    'against': (GOOD.replace('against: a', 'against: [a]'), r"is .'a'."),
    'metric': (f'{GOOD}metric: success', "is 'success'; give it what table.*success_any"),
    'code': (GOOD + 'configs: !!python/object/apply:os.system ["true"]', 'not valid YAML')}


@pytest.mark.parametrize('name', FILES)
def test_files_of_others(tmp_path, name):
  text, words = FILES[name]
  (tmp_path / 'matrix.yaml').write_text(text)
  with in_time(), pytest.raises(UserError, match=f'matrix.yaml.*{words}'):
    cli.main(['ablate', str(tmp_path / 'matrix.yaml'), '--dry-run', '--out', str(tmp_path / 'out')])
  assert not (tmp_path / 'out').exists()


def test_a_pipe(tmp_path):
  os.mkfifo(tmp_path / 'matrix.yaml')
  with in_time(), pytest.raises(UserError, match='matrix.yaml cannot be read .it is a pipe'):
    matrix.Matrix(tmp_path / 'matrix.yaml')


@pytest.mark.parametrize('task, folder', [
    ('gymnasium_my_robot:lab/Reach-v0', 'gymnasium_my_robot..lab--Reach-v0'), ('a/../b', 'a--..--b'),
    ('metaworld_reach', 'metaworld_reach')])
def test_names_of_tasks_are_one_folder(tmp_path, task, folder):
  (tmp_path / 'matrix.yaml').write_text(GOOD.replace('metaworld_reach', task))
  run, = matrix.Matrix(tmp_path / 'matrix.yaml').runs
  assert run.name == f'a/{folder}/0' and run.task == task
