"""The judgement of how fast what serves answers, kept until another release serves. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.domain.judging.counts import JUDGED, MINUTE, compared
from pipeline.domain.judging.latency import rule
from pipeline.domain.judging.latency.counts import Judged, Latency, Timings, all_of, latency
from pipeline.domain.judging.verdict import Verdict, Worse
from pipeline.lib import codec


def judged(found: Timings, now: float) -> Timings:
    """For an hour, what is known by now; after it, or once it is worse, what was known then."""
    known = found.judged
    if known and (known.verdict is Verdict.WORSE or now - found.since > JUDGED * MINUTE):
        return found
    new, before = compared(found)
    if not new:
        return found
    result = rule.judge(new, before)
    one = Judged(
        result.verdict,
        before[-1].release if before else 0,
        latency(all_of(new)),
        latency(all_of(before)),
        result.needed,
        result.slower,
    )
    return replace(found, judged=one)


def worse(found: Timings) -> Worse | None:
    """For what follows from it. None unless it is worse."""
    if found.judged is None or found.judged.verdict is not Verdict.WORSE:
        return None
    return Worse(found.release, found.run, found.since, text(found))


def plain(found: Timings, release: int, run: int) -> dict[str, Any] | None:
    """For programs: ``{"requests", "p50", "p95", "verdict", "slower", "before", "needed", "text"}``, times in seconds.
    ``before``: the release that it is compared with, and the same of it; None if there is none. None if nothing is
    known of that release."""
    one = found.judged
    if one is None or (found.release, found.run) != (release, run):
        return None
    return {
        **codec.plain(one.new),
        "verdict": one.verdict.value,
        "slower": list(one.slower),
        "before": {"release": one.before, **codec.plain(one.base)} if one.before else None,
        "needed": one.needed,
        "text": text(found),
    }


def text(found: Timings) -> str:
    """For people: ``p50 12 ms and p95 80 ms of 12,340 answers, no worse than r12 (12 ms and 76 ms)``; "" if there were
    no answers."""
    one = found.judged
    if one is None:
        return ""
    said = f"{shown(one.new, ('p50', 'p95'))} of {one.new.requests:,} answers"
    if one.verdict is Verdict.NOTHING_BEFORE:
        return f"{said}; nothing to compare with"
    if one.verdict is Verdict.TOO_FEW:
        more = f": about {one.needed:,} are needed" if one.needed > one.new.requests else ""
        return f"{said}; not enough traffic to judge{more}"
    base = f"{milliseconds(one.base.p50)} and {milliseconds(one.base.p95)}"
    return f"{said}, {one.verdict.value} than r{one.before} ({base})"


def shown(one: Latency, names: tuple[str, ...]) -> str:
    return " and ".join(f"{name} {milliseconds(getattr(one, name))}" for name in names)


def milliseconds(seconds: float) -> str:
    """``0.4 ms``, ``12 ms``, ``1.3 s``."""
    if seconds >= 0.9995:
        return f"{seconds:.1f} s"
    found = 1000 * seconds
    return f"{found:.0f} ms" if found >= 9.95 else f"{found:.1f} ms"
