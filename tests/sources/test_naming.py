"""In which order pictures come, and which of them belong together."""

import pathlib
import random

import pytest

from vid2act_plugin.sources.formats import naming

ORDERS = {
    'steps': ['frame_1', 'frame_2', 'frame_10'],
    'steps without zeros': ['9', '10', '11'],
    'times': ['1700000000.0', '1700000000.05', '1700000000.1', '1700000000.15', '1700000000.2'],
    'whole times': ['0', '0.05', '0.1', '1'],
    'small times': ['1e-05', '5e-05', '0.0001', '0.01'],
    'negative times': ['-1.5', '-0.25', '0.0', '0.5'],
    'times with letters': ['t0.5s', 't0.75s', 't1.0s'],
    'versions': ['1.1', '1.2', '1.9', '1.10', '2.1'],
    'times of the day': ['10.00.09', '10.00.10', '10.01.02'],
    'padded decimals': ['a0.05', 'a0.10', 'a0.15'],
    'copies of a browser': ['frame', 'frame (1)', 'frame (2)', 'frame (10)'],
    'copies without a blank': ['frame', 'frame(1)', 'frame(2)', 'frame(10)'],
    'copies of a Mac': ['shot', 'shot 2', 'shot 3', 'shot 10'],
    'copies from one': ['shot (1)', 'shot (2)', 'shot (11)'],
    'nanoseconds': ['1700000000000000001', '1700000000000000002', '1700000000100000000'],
    'two numbers': ['s1_f9', 's1_f10', 's2_f1'],
    'words': ['a', 'b', 'c'], 'a figure that is no digit': ['x1²', 'x2²'],
    'dates': ['2024-01-01 09.59', '2024-01-01 10.00', '2024-01-02 01.00']}


@pytest.mark.parametrize('kind', ORDERS)
def test_order(kind):
  paths = [pathlib.Path('x') / f'{x}.png' for x in ORDERS[kind]]
  for seed in range(3):
    mixed = random.Random(seed).sample(paths, len(paths))
    assert naming.natural(mixed) == paths
    assert naming.series(mixed) == (paths, [])


@pytest.mark.parametrize('names, strays', [
    (['frame_0.png', 'frame_1.png', 'frame_2.png'], ['preview.png']),
    (['0.png', '1.png', '10.png'], ['cover.png']),
    (['0.0.png', '0.05.png', '0.1.png'], ['thumb.jpg']),
    (['f1.png', 'f2.png', 'f3.png', 'f4.png'], ['f2 (1).png']),
    (['f1.png', 'f2.png', 'f3.png', 'f4.png'], ['f2 copy.png', 'mask1.png']),
    (['f 1.png', 'f 2.png', 'f 3.png'], ['f.png']),
    (['f_2.png', 'f_3.png', 'f_4.png'], ['f.png']),
    (['f (0).png', 'f (1).png', 'f (2).png'], ['f.png']),
    (['f1.png', 'f2.png', 'f3.png'], ['f1.jpg', 'f2.jpg']),
    (['left_0.png', 'left_1.png', 'right_0.png', 'right_1.png'], [])])
def test_what_is_of_no_series(names, strays):
  paths = [*map(pathlib.Path, [*names, *strays])]
  assert naming.series(paths[::-1]) == (paths[:len(names)], paths[len(names):])


def test_numbers_of_pictures():
  numbers = lambda *names: naming.numbers([*map(pathlib.Path, names)])
  assert numbers('f_8.png', 'f_010.png') == [8, 10]
  assert numbers('cam1_f8.png', 'cam1_f9.png') == [8, 9]
  for names in (('cam1_f8.png', 'cam2_f8.png'), ('0.5.png', '0.7.png'), ('a.png', 'b.png'), ()):
    assert numbers(*names) is None


@pytest.mark.parametrize('names, kinds', [
    (['f-0.color.png', 'f-1.color.png', 'f-0.depth.png', 'f-1.depth.png'], ['f-#.color.png', 'f-#.depth.png']),
    (['left_0.png', 'left_1.png', 'right_5.png', 'right_6.png'], ['left_#.png', 'right_#.png']),
    (['0.png', '1.png', '0.jpg', '1.jpg'], ['#.jpg', '#.png']),
    (['a0.png', 'a1.png', 'a2.png', 'b0.png', 'b1.png', 'c2.png'], ['a#.png', 'b#.png']),
    (['a0.png', 'a1.png', 'b0.png', 'b1.png', 'c0.png', 'c1.png'], ['a#.png', 'b#.png', 'c#.png']),
    (['a0.png', 'a1.png', 'a2.png', 'b7.png', 'b8.png', 'c.png'], []),
    (['a0.png', 'a1.png', 'a2.png', 'b0.png', 'b1.png'], []),
    *(([f'{x}.png' for x in names], []) for names in ORDERS.values())])
def test_kinds_of_pictures_of_which_none_is_most(names, kinds):
  assert [k for k, _ in naming.rivals([*map(pathlib.Path, names)])] == kinds
