"""Counters of another program as one: many series, each of which may begin at zero again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline.domain.engine_types import Answered

Series = Mapping[str, float]
FRESH = 120.0  # seconds after which what was seen is too old to go on from
LAG = 60.0  # seconds after a switch in which a scrape may still bring what the slot before it answered


@dataclass(frozen=True)
class Seen:
    """The series at the last look, at that time of the monotonic clock, and what they grew by since the first one."""

    at: float
    requests: Series = field(default_factory=dict)
    errors: Series = field(default_factory=dict)
    whole: Answered = field(default_factory=Answered)


def looked(before: Seen | None, requests: Series, errors: Series, now: float) -> Seen:
    """After one more look. A series that was not there before begins at zero, since counters of a status are there from
    the first answer on. One that is gone for a while, as when it was not scraped, goes on from where it was."""
    if before is None or not 0 <= now - before.at <= FRESH:
        return Seen(now, dict(requests), dict(errors))
    more = Answered(round(_grown(before.requests, requests)), round(_grown(before.errors, errors)))
    whole = Answered(before.whole.requests + more.requests, before.whole.errors + more.errors)
    return replace(
        before,
        at=now,
        requests={**before.requests, **requests},
        errors={**before.errors, **errors},
        whole=whole,
    )


def _grown(before: Series, now: Series) -> float:
    return sum(
        value - before.get(name, 0.0) if value >= before.get(name, 0.0) else value
        for name, value in now.items()
    )
