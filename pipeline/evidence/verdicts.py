"""The record of the judge's verdict on a release: after an hour, once it is worse, or when another one serves."""

from __future__ import annotations

from typing import Any

from pipeline.domain.environment import Environment, Trial
from pipeline.domain.judging import judgement
from pipeline.domain.judging.counts import Minute, compared
from pipeline.domain.judging.final import Final
from pipeline.domain.judging.latency import counts as timings
from pipeline.domain.judging.latency import judgement as latency
from pipeline.domain.judging.latency.counts import Judged, Timings
from pipeline.domain.judging.verdict import Verdict, both
from pipeline.domain.watching import trials
from pipeline.evidence import record
from pipeline.evidence.record import Subject, time_of
from pipeline.lib import codec
from pipeline.store import Store

KIND = "verdict"


def environment_of(kind: str) -> str:
    """Of a kind such as ``verdict-live``; "" for a record of another kind."""
    name, _, environment = kind.partition("-")
    return environment if name == KIND else ""


def is_open(store: Store, environment: Environment | None, final: Final, now: float) -> bool:
    """Whether the record has to wait: what follows from the verdicts on the release is not known yet. Raises
    StoreUnavailable."""
    if environment is None:
        return False
    return trials.may_follow(environment, final.counted, timed(store, environment), now)


def timed(store: Store, environment: Environment) -> Timings:
    """How long answers took there. Raises StoreUnavailable."""
    return timings.read(store.facts.get(timings.fact_name(environment.id)))


def made(
    subject: Subject, name: str, environment: Environment | None, final: Final, times: Timings
) -> dict[str, Any]:
    """``subject``: the run that brought the release; ``environment``: of that name, None if it is gone; ``times``: how
    long answers took there. Raises DamagedRecord and StoreUnavailable."""
    one = final.counted
    trial = trials.by_run(environment, one.release, one.run) if environment else None
    parts = {
        "verdict": verdict_part(final, timings.of(times, one.release, one.run)),
        "followed": followed_part(subject.run.pipeline, trial) if trial else None,
        "release": record.release_part(subject),
    }
    return record.of_run(subject, KIND, {"environment": name, **parts})


def followed_part(pipeline: str, trial: Trial) -> dict[str, Any]:
    """What followed once the release was found to be worse, by its errors or the time that its answers took."""
    return {
        "state": trial.outcome.value if trial.outcome else "",
        "judge": trial.judge,
        "on_failure": trial.on_failure,
        "ended": time_of(trial.ended),
        "reason": trial.reason,
        "would": trial.would,
        "revert": f"{pipeline}#{trial.revert}" if trial.revert else "",
    }


def verdict_part(final: Final, times: Judged | None = None) -> dict[str, Any]:
    """The verdict, that by errors and that by the time which answers take, ``times``, None if nobody measured it; and
    what was counted in each minute: its begin, requests, errors."""
    found, one = final.counted, final.counted.judged
    mine, before = compared(found)
    figures = (
        {"requests": one.new.requests, "errors": one.new.errors} if one else {"requests": 0, "errors": 0}
    )
    base = {"release": one.before, **codec.plain(one.base)} if one and one.before else None
    errors = one.verdict if one else Verdict.TOO_FEW
    text = judgement.text(found) or "it was not asked in that time"
    each = [(errors, text), *([(times.verdict, latency.said(times))] if times else [])]
    outcome = both(errors, times.verdict if times else None)
    telling = [text for verdict, text in each if outcome is not Verdict.WORSE or verdict is outcome]
    return {
        "outcome": outcome.value,
        "reason": "; ".join(telling),
        "by_errors": {"outcome": errors.value, "reason": text},
        "by_latency": _by_latency(times) if times else None,
        "since": time_of(found.since),
        "ended": time_of(final.at),
        **figures,
        "before": base,
        "needed": one.needed if one else 0,
        "minutes": [_minute(one) for one in mine],
        "minutes_before": [_minute(one) for one in before],
    }


def _by_latency(one: Judged) -> dict[str, Any]:
    """Times in seconds."""
    return {
        "outcome": one.verdict.value,
        "reason": latency.said(one),
        **codec.plain(one.new),
        "slower": list(one.slower),
        "coarse": list(one.coarse),
        "before": {"release": one.before, **codec.plain(one.base)} if one.before else None,
        "needed": one.needed,
    }


def _minute(one: Minute) -> list[Any]:
    return [time_of(one.at), one.requests, one.errors]
