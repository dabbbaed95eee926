"""The transition table: each pair of states is either allowed or a bug that says so."""

from __future__ import annotations

import itertools

import pytest

from pipeline.domain.run import Outcome, State
from pipeline.domain.transitions import ALLOWED, IllegalTransition, behind, end, move, unparked
from pipeline.errors import PushliveError
from tests.support.records import run

LEGAL = {
    (State.QUEUED, State.RUNNING),
    (State.QUEUED, State.ENDED),
    (State.RUNNING, State.RUNNING),  # another worker takes it up
    (State.RUNNING, State.QUEUED),  # until its commit is in the repository
    (State.RUNNING, State.WAITING),
    (State.RUNNING, State.ENDED),
    (State.WAITING, State.RUNNING),
    (State.WAITING, State.ENDED),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_a_run_moves_only_between_states_that_the_table_allows(before: State, after: State) -> None:
    given = run(state=before)
    if (before, after) in LEGAL:
        assert move(given, after, stage="dev") == run(state=after, stage="dev")
    else:
        with pytest.raises(IllegalTransition, match=f"hello#1 cannot go from {before} to {after}"):
            move(given, after)


def test_the_table_names_every_state() -> None:
    assert set(ALLOWED) == set(State)


def test_moving_changes_nothing_else() -> None:
    given = run(state=State.RUNNING, stage="dev", message="m")
    assert move(given, State.WAITING) == run(state=State.WAITING, stage="dev", message="m")
    assert given.state == State.RUNNING


def test_a_run_ends_once() -> None:
    ended = end(run(state=State.RUNNING), Outcome.LIVE, "all good", 12.0, release=4)
    assert (ended.state, ended.outcome, ended.reason, ended.ended, ended.release) == (
        State.ENDED, Outcome.LIVE, "all good", 12.0, 4,
    )  # fmt: skip
    with pytest.raises(IllegalTransition):
        end(ended, Outcome.FAILED, "again", 13.0)


def test_an_illegal_transition_is_a_bug_and_not_an_error_that_is_handled() -> None:
    assert not issubclass(IllegalTransition, PushliveError)


def test_what_waits_for_a_shift_is_counted_from_its_start_until_that_run_lets_go() -> None:
    waits = behind(run(state=State.RUNNING, parked=10.0), "hello#1", 0.0, 0.0, 11.0)
    shared = behind(waits, "hello#1", 25.0, 15.0, 20.0)  # the shift began while it waited already
    done = behind(shared, "hello#1", 0.0, 0.0, 60.0)  # it switches
    over = unparked(done, 65.0)
    assert (over.queued, over.after_shift, over.after_shift_since, over.behind) == (55.0, 50.0, 0.0, "")


def test_a_wait_for_another_run_after_a_shift_is_counted_apart() -> None:
    shared = behind(run(state=State.RUNNING, parked=10.0), "hello#1", 25.0, 5.0, 11.0)
    assert shared.after_shift_since == 10.0  # it began before
    other = behind(shared, "hello#2", 0.0, 0.0, 30.0)
    ended = end(other, Outcome.CANCELLED, "", 100.0)
    assert (ended.queued, ended.after_shift) == (90.0, 20.0)


def test_a_wait_for_no_shift_counts_in_the_whole_budget() -> None:
    found = unparked(behind(run(state=State.RUNNING, parked=10.0), "hello#1", 0.0, 0.0, 11.0), 30.0)
    assert (found.queued, found.after_shift) == (20.0, 0.0)
