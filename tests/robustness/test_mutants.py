"""The faults of bench/robustness/mutants.yaml fit the code; mutants.py tries who notices them."""

import dataclasses

import pytest

from bench.robustness import mutants

KNOWN = mutants.load()


@pytest.mark.parametrize('mutant', KNOWN, ids=lambda x: x.name)
def test_a_mutant_fits_the_code(mutant):
  assert mutants.stale(mutant) is None


def test_names_of_mutants_differ():
  assert len({x.name for x in KNOWN}) == len(KNOWN) >= 55


@pytest.mark.parametrize('changes, words', [
    (dict(code='no such text'), 'found 0 times in the package, not once: no such text'),
    (dict(code='import jax\n'), 'agent/losses.py'),
    (dict(tests=('test_none.py',)), 'there are 0 files test_none.py')])
def test_a_stale_mutant_is_told(changes, words):
  assert words in mutants.stale(dataclasses.replace(KNOWN[0], **changes))
