"""The transition table: each pair of states is either allowed or a bug that says so."""

from __future__ import annotations

import itertools

import pytest

from pipeline.domain.run import Outcome, State
from pipeline.domain.transitions import ALLOWED, IllegalTransition, end, move
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
