"""Charts for a page: SVG in which lines differ in colour, marker and dash, and text stays text."""

import contextlib
import io
import math
import re

import numpy as np

from . import images

# Each has a contrast of at least 3 to white, and to a reader who sees no red or no green a
# brightness or hue of its own.
COLORS = ('#0072b2', '#c04a00', '#00795c', '#a8327e', '#000000', '#8a6a00', '#5a5fc8', '#6b6b6b')
MARKERS = 'os^DvPX*'
DASHES = '-', '--', '-.', ':'
POINT = 0.8  # Opacity of points, of which many may lie on each other; their contrast is 3 still.
MOST = 10  # Lines of a chart.
POINTS = 300  # Of a line.
MARKS = 8  # Of these, how many have a marker.
SIZE = 5.2, 3.3  # Inches.


def lines(series, xlabel, ylabel, **axes):
  """Draw lines; returns `svg`, bytes, and where in it the axes are, `left`, `right`, `top`, `bottom`.

  series: dicts with `name`, `xs`, `ys` and perhaps `low` and `high`, which bound
  a band around the line, or `dots`: points without a line; `style`: the number of
  its style, by default its place. axes: of matplotlib's axes.
  """
  with _figure() as (fig, ax):
    for i, line in enumerate(series[:MOST]):
      style = _style(line.get('style', i))
      xs, ys = thin(line['xs'], line['ys'])
      every = max(1, len(xs) // MARKS)
      more = dict(markevery=(i % every, every), markersize=5, linewidth=1.6)
      if line.get('dots'):
        style['linestyle'], more = 'none', dict(markersize=3, alpha=POINT)
      ax.plot(xs, ys, label=images.label(line['name']), **style, **more)
      if 'low' in line:
        ax.fill_between(
            line['xs'], line['low'], line['high'], color=style['color'], alpha=0.12, linewidth=0)
    ax.set(xlabel=xlabel, ylabel=ylabel, **axes)
    if len(series) > 1:
      fig.legend(fontsize=8, loc='outside lower left', ncols=2, frameon=False)
      fig.set_figheight(SIZE[1] + 0.19 * math.ceil(min(MOST, len(series)) / 2))
    return _drawn(fig, ax)


def intervals(rows, xlabel):
  """Draw rows (name, mean, low, high, number of its style) as `lines` does: a dot and an interval each, and zero."""
  with _figure(1 + 0.34 * len(rows)) as (fig, ax):
    for y, (_, mean, low, high, number) in enumerate(rows):
      style = _style(number)
      ax.plot([low, high], [y, y], color=style['color'], linewidth=2.2, solid_capstyle='butt')
      ax.plot([mean], [y], style['marker'], color=style['color'], markersize=7)
    ax.axvline(0, color='#444444', linewidth=1, linestyle='--')
    ax.set(xlabel=xlabel, yticks=range(len(rows)), yticklabels=[images.label(x[0]) for x in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    return _drawn(fig, ax)


def thin(xs, ys):
  """Return at most `POINTS` points: the means of as many neighbours each as it takes."""
  xs, ys = np.asarray(xs, float), np.asarray(ys, float)
  every = -(-len(xs) // POINTS)
  if every <= 1:
    return xs, ys
  parts = [slice(i, i + every) for i in range(0, len(xs), every)]
  known = [ys[x][~np.isnan(ys[x])] for x in parts]
  return (np.array([xs[x].mean() for x in parts]),
          np.array([x.mean() if len(x) else np.nan for x in known]))


def _style(index):
  turn = index // len(COLORS)  # Where colours come again, marker and dash are others.
  return dict(
      color=COLORS[index % len(COLORS)], marker=MARKERS[(index + 3 * turn) % len(MARKERS)],
      linestyle=DASHES[(index + turn) % len(DASHES)])


@contextlib.contextmanager
def _figure(height=SIZE[1]):
  plt = images.pyplot()
  fig, ax = plt.subplots(figsize=(SIZE[0], height), layout='constrained')
  ax.grid(alpha=0.3)
  ax.spines[['top', 'right']].set_visible(False)
  try:
    yield fig, ax
  finally:
    plt.close(fig)


def _drawn(fig, ax):
  import matplotlib
  out = io.StringIO()
  with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'chart'}):
    fig.savefig(out, format='svg', metadata={'Date': None, 'Creator': None})
  text = out.getvalue()
  # Coordinates to a hundredth of a point; what is not in a tag is text.
  rounded = lambda tag: re.sub(r'(\.\d\d)\d+', r'\1', tag[0])
  svg = re.sub(r'<[^>]*>', rounded, text[text.index('<svg'):]).encode()
  box = ax.get_position()
  sides = dict(left=box.x0, right=box.x1, top=1 - box.y1, bottom=box.y0)
  return dict(svg=svg, **{k: round(float(v), 4) for k, v in sides.items()})
