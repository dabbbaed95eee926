"""Two releases that answer at the same time."""

import pytest

from pipeline.domain.judging import rule
from pipeline.domain.judging.beside import weighted, weights
from pipeline.domain.judging.counts import Minute, total
from pipeline.domain.judging.verdict import Verdict


def minutes(*counted: tuple[int, int]) -> list[Minute]:
    return [Minute(60.0 * at, 1, 1, *one) for at, one in enumerate(counted)]


def test_where_the_part_stays_the_same_all_of_the_old_one_counts() -> None:
    base = weighted(minutes((10, 0), (20, 0)), minutes((90, 1), (180, 5)))
    assert (base.requests, base.errors) == (pytest.approx(270), pytest.approx(6))


def test_the_old_one_is_compared_as_the_new_one_is_spread() -> None:
    new, old = minutes((10, 0), (500, 10)), minutes((990, 0), (500, 10))
    base = weighted(new, old)
    assert base.errors / base.requests == pytest.approx(10 / 510)
    assert base.requests < 600, "what it answered before says little"


def test_a_time_without_requests_of_one_counts_for_neither() -> None:
    assert weights([10, 10], [0, 10]) == [0.0, 1.0]
    assert weights([0, 10], [10, 10]) == [0.0, 1.0]
    assert weights([], []) == []
    assert weights([0], [0]) == [0.0]


def test_what_goes_wrong_for_both_in_the_larger_part_is_no_fault_of_one() -> None:
    """One in a hundred for ten minutes, one in thirty for the next ten, in which the new one has half of them."""
    early, late = [(60, 0), (60, 1)] * 5, [(3000, 100), (3000, 98)] * 5
    new = minutes(*early, *late)
    old = minutes(*[(5940, 60)] * 10, *late)
    assert rule.judge(new, old, beside=True).verdict is not Verdict.WORSE
    mine, theirs = total(new), total(old)
    added_up = mine.errors * theirs.requests / (mine.requests * theirs.errors)
    assert added_up > rule.MARGIN, "if all requests were added up"


def test_what_goes_wrong_for_the_new_one_is_found() -> None:
    new = minutes(*[(60, 1)] * 10, *[(3000, 100)] * 10)
    old = minutes(*[(5940, 60)] * 10, *[(3000, 30)] * 10)
    assert rule.judge(new, old, beside=True).verdict is Verdict.WORSE
