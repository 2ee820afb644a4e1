"""Parts of a page: values in cells, JSON of any shape, charts without colour sight, films on a sheet."""

import io
import pathlib
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vid2act_plugin.common import charts, films, images, page

CSS = (pathlib.Path(charts.__file__).parents[1] / 'studies/page/page.css').read_text()
SHAPE = dict(a=float, b=[str], c={str: {str: float}})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda x: st.lists(x) | st.dictionaries(st.sampled_from('abcd'), x), max_leaves=8)


def contrast(color, other='#ffffff'):
  """Return the ratio of luminances as WCAG 2 defines it."""
  def luminance(text):
    text = text if len(text) == 7 else '#' + ''.join(2 * x for x in text[1:])
    parts = [int(text[i: i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])
  high, low = sorted((luminance(color), luminance(other)), reverse=True)
  return (high + 0.05) / (low + 0.05)


def test_contrast():
  assert contrast('#000000') == pytest.approx(21) and contrast('#777777') == pytest.approx(4.48, abs=.01)
  mixed = lambda x: round(charts.POINT * int(x, 16) + (1 - charts.POINT) * 255)
  points = ['#' + ''.join(f'{mixed(x[i: i + 2]):02x}' for i in (1, 3, 5)) for x in charts.COLORS]
  assert all(contrast(x) >= 3 for x in (*charts.COLORS, *points))
  colors = dict(re.findall(r'--(\w+): (#\w+);', CSS))
  for name in ('ink', 'soft', 'accent'):
    for back in ('card', 'back'):
      assert contrast(colors[name], colors[back]) >= 4.5, (name, back)


def test_no_two_lines_of_a_chart_look_alike():
  styles = [tuple(charts._style(i).values()) for i in range(charts.MOST)]
  assert len({x[:2] for x in styles[:8]}) == 8 and len({x[1] for x in styles[:8]}) == 8
  assert len({x[:2] for x in styles}) == len({x[1:] for x in styles}) == charts.MOST


def test_a_line_has_the_style_of_its_number():
  """So that a method looks the same on every task, also where another is missing."""
  series = [dict(name=x, xs=[0, 1], ys=[0, 1], style=i) for i, x in enumerate(('one', 'two', 'three'))]
  drawn = charts.lines(series[:1] + series[2:], 'x', 'y')['svg'].decode()
  colors = [charts.COLORS[i] in drawn for i in range(3)]
  assert colors == [True, False, True]


@pytest.mark.parametrize('value, text, sort', [
    (None, '–', ''), (float('nan'), '–', ''), (1234, '1,234', '1234.0'), (0.12345, '0.123', '0.12345'),
    (True, 'True', '1.0'), ('door', 'door', None), (('1 min', 60), '1 min', '60.0'), (1e300, '1e+300', '1e+300')])
def test_cells(value, text, sort):
  assert page.cell(value) == dict(text=text, sort=sort)


@pytest.mark.parametrize('value, text', [
    (float('nan'), 'nan'), (float('-inf'), '-inf'), (1e300, '1e+300'), (-3.0, '-3'), (True, 'True')])
def test_any_number_is_told(value, text):
  assert page.text(value) == text


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(JSON)
def test_what_fits_has_the_shape(value):
  found = page.fitting(value, SHAPE)
  assert found.keys() == SHAPE.keys()
  assert found['a'] is None or type(found['a']) in (int, float)
  assert all(type(x) is str for x in found['b'])
  assert all(type(y) in (int, float) for x in found['c'].values() for y in x.values())


def test_fitting():
  value = dict(a=1, b=['x', 2, 'y'], c={'k': {'l': 1.5, 'm': 'n'}, 'o': 3}, d=4)
  assert page.fitting(value, SHAPE) == dict(a=1, b=['x', 'y'], c={'k': {'l': 1.5}, 'o': {}})
  assert page.fitting({'a': True}, SHAPE)['a'] is None


def test_a_chart_keeps_its_text_and_where_its_axes_are():
  names = 'v 1.23456', '<b>', '$x$', '_hidden'
  made = charts.lines([dict(name=x, xs=[0, 1, 2], ys=[1, 2.34567, 3]) for x in names], 'steps', 'score')
  svg = made['svg'].decode()
  assert svg.startswith('<svg') and '<b>' not in svg and 'v 1.23456' in svg and '&lt;b&gt;' in svg
  assert '$x$' in svg and '_hidden' in svg and not re.search(r'd="[^"]*\.\d{3}', svg)
  assert 0 < made['left'] < 0.3 and 0.8 < made['right'] <= 1
  assert 0 <= made['top'] < 0.2 < made['bottom'] < 0.6
  assert len(svg) < 30_000


def test_long_curves_are_thinned_by_means():
  xs, ys = charts.thin(range(1000), [float('nan')] * 4 + [2.0] * 996)
  assert len(xs) == len(ys) == 250 and np.isnan(ys[0]) and (ys[1:] == 2).all() and xs[0] == 1.5
  assert charts.thin([0, 1], [2, 3])[1].tolist() == [2, 3]


def test_a_film_tells_which_frame_each_step_has(tmp_path):
  """Pillow writes equal neighbours as one frame that lasts longer."""
  levels = [0] * 11 + [50, 100] + [150] * 7
  video = np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], (len(levels), 8, 8, 3))
  for fps in (10, 15, 20, 30, 60):
    images.gif(tmp_path / 'x.gif', video, fps)
    frames, times = films.read(tmp_path / 'x.gif')
    assert len(frames) == 4
    for count in (None, len(levels)):
      assert [int(frames[k][0, 0, 0]) for k in films.steps(times, count)] == levels, fps


def test_a_sheet_has_every_step_where_it_says():
  frames = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.full((7, 8, 16, 3), 30, np.uint8)
  made = films.sheet(frames, [0, 0, 1, 2, 3, 4, 5, 6])
  sheet = np.asarray(Image.open(io.BytesIO(made['data'])))
  assert sheet.shape == (made['rows'] * 8, made['columns'] * 16, 3)
  for step, place in enumerate(made['places']):
    row, column = divmod(place, made['columns'])
    cell = sheet[row * 8: row * 8 + 8, column * 16: column * 16 + 16]
    assert (cell == 30 * [0, 0, 1, 2, 3, 4, 5, 6][step]).all()


@pytest.mark.parametrize('shape', [(2000, 8, 8), (1, 4, 4), (3, 2000, 3000), (40, 600, 600), (300, 8, 900)])
def test_a_sheet_is_never_too_large(shape):
  made = films.sheet(np.zeros((*shape, 3), np.uint8), range(shape[0]))
  height, width = made['rows'] * made['height'], made['columns'] * made['width']
  assert max(height, width) <= films.SIDE and height * width <= 1.5 * films.PIXELS
  assert max(made['places']) < made['rows'] * made['columns'] and len(made['places']) == shape[0]
