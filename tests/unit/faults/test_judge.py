"""What ``scripts/faults`` counts: bad endings are found, good ones are not complained of."""

from __future__ import annotations

import importlib

import pytest

from tests.faults.__main__ import GROUPS
from tests.faults.judge import Accepted, Ended, judge, twice_live
from tests.faults.registry import FAULTS, Tally
from tests.faults.table import table

A, B = "a" * 40, "b" * 40
GOOD = {"one": [Ended("one#1", A, "superseded", 1), Ended("one#2", B, "live", 1)]}


def test_a_good_result_has_no_complaints() -> None:
    accepted = [Accepted("one", A), Accepted("one", B), Accepted("one", B, ("one#2",))]
    assert judge(accepted, GOOD, {"release-2": 1}) == ([], [])
    assert twice_live(GOOD["one"]) == []


@pytest.mark.parametrize(
    ("accepted", "recorded", "text"),
    [
        (Accepted("one", "c" * 40), GOOD, "no run is recorded"),
        (Accepted("two", A), GOOD, "no run is recorded"),
        (Accepted("one", B, ("one#2", "one#3")), GOOD, "one#3 was answered and is not recorded"),
        (Accepted("one", A), {"one": [Ended("one#1", A, "", 1)]}, "one#1 has no end"),
    ],
)
def test_a_lost_push_is_found(accepted: Accepted, recorded: dict[str, list[Ended]], text: str) -> None:
    lost, doubled = judge([accepted], recorded, {})
    assert text in lost[0]
    assert doubled == []


@pytest.mark.parametrize("ends", [0, 2])
def test_two_ends_and_a_missing_one_are_found(ends: int) -> None:
    assert judge([], {"one": [Ended("one#1", A, "live", ends)]}, {})[1] == [f"one#1 ended {ends} times"]


def test_a_command_or_commit_done_twice_is_found() -> None:
    assert judge([], {}, {"release-2": 2})[1] == ["release-2 was started 2 times"]
    assert "went live twice" in twice_live([Ended("one#1", A, "live", 1), Ended("one#2", A, "live", 1)])[0]


def test_the_table_sums_up_and_aligns() -> None:
    for group in GROUPS:
        importlib.import_module(f"tests.faults.{group}")
    shown = table({"stale": Tally(2, 1, 1, 0, 3.21), "crowd": Tally(1, 1, 0, 2, 9.0)}).splitlines()
    assert shown[-1].split() == ["all", "3", "2", "1", "2", "9.0", "s"]
    assert len({len(line) for line in shown}) == 1
    assert not Tally(2, 1).good
    assert not Tally(1, 1, lost=1).good
    assert not Tally(1, 1, doubled=1).good
    assert Tally(1, 1).good
    assert all(fault.rows for fault in FAULTS.values())
