"""The states of a run and the one transition table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.domain.run import Outcome, Run, State, Waited

ALLOWED: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.ENDED}),
    State.RUNNING: frozenset({State.RUNNING, State.QUEUED, State.WAITING, State.ENDED}),
    State.WAITING: frozenset({State.RUNNING, State.ENDED}),
    State.ENDED: frozenset(),
}


class IllegalTransition(AssertionError):
    """A bug in Pushlive: a change of state that the table does not allow."""


def move(run: Run, state: State, **changes: Any) -> Run:
    """The run in its new state. Raises IllegalTransition if the table does not allow it."""
    if state not in ALLOWED[run.state]:
        raise IllegalTransition(f"{run.id} cannot go from {run.state} to {state}; this is a bug in Pushlive")
    return replace(run, state=state, **changes)


def go_on(run: Run, by: str, now: float) -> Run:
    """The run, which has waited at its gate until now. ``by``: whose act lets it go on, "" if a freeze is over."""
    seconds = max(0.0, now - run.gate_since)
    waited = (*run.waited, Waited(run.gate, seconds, by))
    return move(run, State.RUNNING, human=run.human + seconds, waited=waited, gate="", frozen=False)


def unparked(run: Run, now: float) -> Run:
    """The run, which does not wait for another one any more."""
    waited = max(0.0, now - run.parked) if run.parked else 0.0
    run = behind(run, "", 0.0, 0.0, now)
    return replace(run, queued=run.queued + waited, parked=0.0)


def behind(run: Run, holder: str, share: float, since: float, now: float) -> Run:
    """The run, which waits for ``holder`` now, "" if for none. ``share``: percent of the new visitors that the release
    of that run has, in a shift that began at ``since``. From then until that run lets go counts as a wait for it."""
    if holder != run.behind and run.after_shift_since:
        waited = max(0.0, now - run.after_shift_since)
        run = replace(run, after_shift=run.after_shift + waited, after_shift_since=0.0)
    if share and not run.after_shift_since:
        run = replace(run, after_shift_since=max(run.parked, since))
    return replace(run, behind=holder, behind_share=share)


def end(run: Run, outcome: Outcome, reason: str, at: float, **changes: Any) -> Run:
    """The run with its one recorded end."""
    return move(unparked(run, at), State.ENDED, outcome=outcome, reason=reason, ended=at, **changes)
