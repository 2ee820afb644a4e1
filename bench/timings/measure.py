"""Timings that are taken in turn, and the JSON line that every script here prints last."""

import json
import pathlib
import statistics
import sys
import time

from vid2act_plugin.common import progress


def interleave(functions, rounds, warmup=2):
  """Time `{name: function}` in turn for `rounds` rounds, and return `{name: [seconds]}`.

  In turn, because whatever else the machine does then slows all of them alike.
  """
  samples = {name: [] for name in functions}
  with progress.bar('timing', warmup + rounds, 'rounds') as bar:
    for i in range(warmup + rounds):
      for name, function in functions.items():
        began = time.perf_counter()
        function()
        if i >= warmup:
          samples[name].append(time.perf_counter() - began)
      bar.advance()
  return samples


def ratio(samples, one, other):
  """Return the median over rounds of the time of `one` by that of `other`."""
  return statistics.median(a / b for a, b in zip(samples[one], samples[other]))


def meets(figure, aim, most):
  """Whether a figure meets its aim; most: it should be at most that, else at least."""
  return figure <= aim if most else figure >= aim


def report(figure, aim, settings, samples, most=True, **more):
  """Print figure and aim for people, then all of it as one JSON object, the last line; return it.

  most: whether the figure should be at most the aim, or at least.
  """
  met = meets(figure, aim, most)
  print(f"{pathlib.Path(sys.argv[0]).stem}: {figure:.3g} (aim: {'<=' if most else '>='} {aim:g}, "
        f"{'met' if met else 'missed'})")
  found = dict(
      figure=round(figure, 4), aim=aim, met=met, settings=settings,
      samples={k: [round(x, 5) for x in v] for k, v in samples.items()}, **more)
  print(json.dumps(found), flush=True)
  return found
