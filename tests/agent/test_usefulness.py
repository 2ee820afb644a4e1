"""Which source carries out an episode: chosen by what each has earned."""

import numpy as np
import pytest

from vid2act_plugin.agent.usefulness import NONE, POLICY, RECENT, Ledger

SOURCES = [POLICY, 0, 1, 2]


def play(ledger, source, gained):
  ledger.end(ledger.begin(source), gained)


def shares(ledger, count=2000):
  rng = np.random.default_rng(0)
  chosen = [ledger.choose(SOURCES, rng) for _ in range(count)]
  return {k: chosen.count(k) / count for k in SOURCES}


def test_episodes_are_numbered_from_one():
  ledger = Ledger()
  assert NONE == 0 and [ledger.begin(POLICY), ledger.begin(1)] == [1, 2]
  assert ledger.by.tolist() == [POLICY, POLICY, 1] and np.isnan(ledger.gained).all()


def test_all_are_tried_before_any_is_tried_again():
  ledger, rng = Ledger(), np.random.default_rng(0)
  for _ in range(2):
    tried = []
    for _ in SOURCES:
      tried.append(ledger.choose(SOURCES, rng))
      play(ledger, tried[-1], 0.0)
    assert sorted(tried) == sorted(SOURCES)


def test_what_earns_is_chosen_and_the_rest_not_given_up():
  ledger = Ledger()
  for _ in range(8):
    for source in SOURCES:
      play(ledger, source, 1.0 if source == 1 else 0.0)
  found = shares(ledger)
  assert found[1] > 0.95
  ledger = Ledger()
  for gained in (1, 0, 1, 0):
    play(ledger, 1, gained)
    play(ledger, 0, 0)
    play(ledger, 2, 0)
  found = shares(ledger)
  assert 0.5 < found[1] < 0.95 and found[POLICY] > 0.05


def test_one_failure_does_not_bar_a_source():
  ledger = Ledger()
  for source, gained in ((0, 0), (1, 1), (2, 0)):
    play(ledger, source, gained)
  found = shares(ledger)
  assert found[0] > 0.05 and found[1] == max(found.values())


@pytest.mark.parametrize('scale, offset', [(1, 0), (1000, 0), (1, -50)])
def test_units_do_not_matter(scale, offset):
  plain, other = Ledger(), Ledger()
  for gained in (0.1, 0.7, 0.2):
    for source in SOURCES:
      play(plain, source, gained * (source + 2))
      play(other, source, scale * gained * (source + 2) + offset)
  assert shares(plain) == shares(other)


def test_the_policy_is_judged_by_its_last_episodes():
  ledger = Ledger()
  for gained in [0.0] * 5 + [1.0] * RECENT:
    play(ledger, POLICY, gained)
    play(ledger, 0, gained)
  assert ledger.earned(POLICY).tolist() == [1.0] * RECENT
  assert len(ledger.earned(0)) == 5 + RECENT


def test_the_best():
  ledger = Ledger()
  assert ledger.best(SOURCES) == POLICY
  play(ledger, 0, 1.0)
  for _ in range(4):
    play(ledger, 1, 0.95)
  play(ledger, POLICY, 0.0)
  assert ledger.best(SOURCES) == 1  # A single success is less sure than four that are almost as good.
  # Who was never tried is not, though the mean of all may be more than the policy earns by now.
  assert ledger.best([POLICY, 2]) == POLICY
  play(ledger, 2, 0.01)
  assert ledger.best([POLICY, 2]) == 2


def test_merit():
  ledger = Ledger()
  assert ledger.merit().tolist() == [0]
  for gained in (0, 0, 1, 0.5):
    play(ledger, 0, gained)
  running = ledger.begin(1)
  merit = ledger.merit()
  assert merit.dtype == np.float32 and merit[running] == 0
  np.testing.assert_allclose(merit, [0, 0, 0, 1, (0.5 - 0.375) / 0.625, 0])
  same = Ledger()
  for _ in range(3):
    play(same, 0, 4.0)
  assert not same.merit().any()


def test_merit_is_what_a_source_earned_beyond_the_policy():
  """The policy repeats none of its own episodes, and none of a source that does worse than it."""
  ledger = Ledger()
  for source, gained in ((POLICY, 2), (0, 3), (1, 7), (POLICY, 9)):
    play(ledger, source, gained)
  np.testing.assert_allclose(ledger.merit(), [0, 0, 0, 1, 0])
  play(ledger, 0, 6)
  policy = (5.4 + 2 + 9) / 3
  np.testing.assert_allclose(ledger.merit(), [0, 0, 0, 1, 0, (6 - policy) / (7 - policy)], rtol=1e-6)
  for _ in range(RECENT):
    play(ledger, POLICY, 8)
  assert not ledger.merit().any()
  for _ in range(RECENT):  # It has forgotten how.
    play(ledger, POLICY, 0)
  assert (ledger.merit()[ledger.by != POLICY] > 0).sum() == 3


def test_episodes_that_did_not_end_count_for_nothing():
  ledger = Ledger()
  ledger.begin(0)
  play(ledger, 1, 1.0)
  assert len(ledger.earned(0)) == 0 and ledger.earned(1).tolist() == [1.0]


def test_kept_and_loaded():
  ledger, other = Ledger(), Ledger()
  for i in range(20):
    play(ledger, i % 3, i % 5)
  ledger.begin(2)
  other.load(ledger.save())
  assert shares(ledger) == shares(other)
  np.testing.assert_array_equal(ledger.merit(), other.merit())
  assert other.begin(0) == ledger.begin(0)


def test_who_does_not_succeed_is_not_followed_where_success_is_told():
  """With dense rewards a source that never reaches the goal may earn more than a policy that is new."""
  ledger = Ledger()
  for source, gained, told in ((POLICY, 1, [0, 0]), (0, 9, [0, 0]), (1, 4, [0, 1, 0]), (2, 3, []), (1, 5, [0, 0])):
    number = ledger.begin(source)
    for success in told:
      ledger.tell(number, success)
    ledger.end(number, gained)
  assert ledger.won[1:].tolist()[:3] == [0, 0, 1] and np.isnan(ledger.won[4]) and ledger.won[5] == 0
  policy = (22 / 5 + 1) / 2
  np.testing.assert_allclose(ledger.merit(), [0, 0, 0, 1, (3 - policy) / (4 - policy), 0], rtol=1e-6)
  assert ledger.best(SOURCES) == 1 and ledger.best([POLICY, 0]) == POLICY and ledger.best([POLICY, 2]) == 2
  other = Ledger()
  other.load(ledger.save())
  np.testing.assert_array_equal(other.merit(), ledger.merit())
  other.load({k: v for k, v in ledger.save().items() if k != 'won'})  # An earlier version's: by what they earned.
  assert other.best(SOURCES) == 0 and other.merit()[2] == 1
  other.skip(8)
  assert len(other.won) == len(other.by) == 9
