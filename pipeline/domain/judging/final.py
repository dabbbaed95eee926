"""When the verdict on a release does not change any more, and what is kept of it then. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.domain.judging import judgement
from pipeline.domain.judging.counts import JUDGED, MINUTE, Counted


@dataclass(frozen=True)
class Final:
    """The verdict that stays, at that time (seconds since the epoch), and what was counted until then."""

    counted: Counted
    at: float


def is_final(found: Counted, now: float) -> bool:
    """Whether an hour is over, or it is worse."""
    return now - found.since > JUDGED * MINUTE or judgement.is_worse(found)


def verdict_name(environment: str, run: int) -> str:
    """Where the store has a verdict that is to be recorded."""
    return f"verdict:{environment}:{run}"
