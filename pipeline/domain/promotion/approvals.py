"""Whose approvals a run has, and whether they are enough to enter an environment. Pure rules.

An approval is for one run, and so for the one release that was shown. Names are those of tokens, compared without
regard to case with the name of who pushed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pipeline.config.models import Pipeline
from pipeline.domain.run import Approval, Run


@dataclass(frozen=True)
class Rule:
    """``needed``: by how many people; ``others``: not by who pushed; ``expires``: after so many seconds, 0 never."""

    needed: int = 1
    others: bool = False
    expires: float = 0.0


PLAIN = Rule()


def rule(pipelines: Iterable[Pipeline | None], environment: str) -> Rule | None:
    """The strictest of all, None if no one has to promote runs into the environment."""
    found = [
        one.environment(environment).promote for one in pipelines if one and environment in one.environments
    ]
    manual = [one for one in found if one.manual]
    if not manual:
        return None
    expires = min((one.expires for one in manual if one.expires), default=0.0)
    return Rule(max(one.approvals for one in manual), any(one.not_by_pusher for one in manual), expires)


def is_pusher(run: Run, name: str) -> bool:
    """Whether that person pushed the commit, or asked for the run."""
    return name.casefold() in {who.casefold() for who in (run.pusher, run.by) if who}


def beginning(run: Run) -> str:
    """What the one did who pushed the commit, or asked for the run."""
    return "pushed" if run.pusher else "asked for"


def given(run: Run, environment: str, by: Rule, now: float) -> tuple[Approval, ...]:
    """The approvals that count now, one of each person, oldest first."""
    latest: dict[str, Approval] = {}
    for one in run.approvals:
        fresh = not by.expires or now < one.at + by.expires
        theirs = by.others and is_pusher(run, one.by)
        if one.environment == environment and one.release == run.release and fresh and not theirs:
            latest[one.by.casefold()] = one
    return tuple(sorted(latest.values(), key=lambda one: one.at))


def enough(run: Run, environment: str, by: Rule, now: float) -> bool:
    """Runs that were promoted before there were approvals have none recorded: that is as good as one of anybody."""
    if by == PLAIN:
        return environment in run.promoted
    return len(given(run, environment, by, now)) >= by.needed


def with_approval(run: Run, environment: str, by: Rule, who: str, now: float, why: str = "") -> Run:
    """The run with that person's approval, which takes the place of an earlier one of theirs."""
    number = len(given(run, environment, by, now)) + 1
    others = without(run, environment, who)
    given_now = Approval(environment, who, now, run.release, why, number, by.needed)
    return replace(others, approvals=(*others.approvals, given_now))


def without(run: Run, environment: str, who: str) -> Run:
    """The run without that person's approval."""
    kept = (
        one for one in run.approvals if one.environment != environment or one.by.casefold() != who.casefold()
    )
    return replace(run, approvals=tuple(kept))


def change(before: Run, after: Run, environment: str) -> tuple[str, str]:
    """What a promotion changed: the run as it was and as it is."""
    given = next((one for one in reversed(after.approvals) if one.environment == environment), None)
    if given is None or not given.needed:
        return before.state.value, after.state.value
    was = f"{before.state.value}, {given.number - 1} of {given.needed} approvals"
    return was, f"{after.state.value}, {given.number} of {given.needed} approvals"


def text(run: Run, environment: str, by: Rule, now: float) -> str:
    """``promotion to live is manual: 1 of 2 approvals (ann); ben, who pushed, cannot give one``"""
    found, parts = given(run, environment, by, now), []
    if by.needed > 1 or found:
        names = f" ({', '.join(one.by for one in found)})" if found else ""
        parts.append(f"{len(found)} of {by.needed} approvals{names}")
    if by.others and (pusher := run.pusher or run.by):
        parts.append(f"{pusher}, who {'pushed' if run.pusher else 'asked for it'}, cannot give one")
    return ": ".join(filter(None, (f"promotion to {environment} is manual", "; ".join(parts))))
