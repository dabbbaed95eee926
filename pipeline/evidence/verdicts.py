"""The record of the judge's verdict on a release: after an hour, once it is worse, or when another one serves."""

from __future__ import annotations

from typing import Any

from pipeline.domain.judging import judgement
from pipeline.domain.judging.counts import Minute, compared
from pipeline.domain.judging.final import Final
from pipeline.domain.judging.verdict import Verdict
from pipeline.evidence import record
from pipeline.evidence.record import Subject, time_of
from pipeline.lib import codec

KIND = "verdict"


def environment_of(kind: str) -> str:
    """Of a kind such as ``verdict-live``; "" for a record of another kind."""
    name, _, environment = kind.partition("-")
    return environment if name == KIND else ""


def made(subject: Subject, environment: str, final: Final) -> dict[str, Any]:
    """``subject``: the run that brought the release. Raises DamagedRecord and StoreUnavailable."""
    parts = {"verdict": verdict_part(final), "release": record.release_part(subject)}
    return record.of_run(subject, KIND, {"environment": environment, **parts})


def verdict_part(final: Final) -> dict[str, Any]:
    """The figures, and what was counted in each minute: its begin, requests, errors."""
    found, one = final.counted, final.counted.judged
    mine, before = compared(found)
    figures = (
        {"requests": one.new.requests, "errors": one.new.errors} if one else {"requests": 0, "errors": 0}
    )
    base = {"release": one.before, **codec.plain(one.base)} if one and one.before else None
    return {
        "outcome": (one.verdict if one else Verdict.TOO_FEW).value,
        "reason": judgement.text(found) or "it was not asked in that time",
        "since": time_of(found.since),
        "ended": time_of(final.at),
        **figures,
        "before": base,
        "needed": one.needed if one else 0,
        "minutes": [_minute(one) for one in mine],
        "minutes_before": [_minute(one) for one in before],
    }


def _minute(one: Minute) -> list[Any]:
    return [time_of(one.at), one.requests, one.errors]
