"""The judgement of what serves, kept until another release serves. Pure."""

from __future__ import annotations

from dataclasses import replace

from pipeline.domain.judging import rule
from pipeline.domain.judging.counts import JUDGED, MINUTE, Counted, Judged, compared, total
from pipeline.domain.judging.verdict import Verdict, Worse


def judged(found: Counted, now: float) -> Counted:
    """For an hour, what is known by now; after it, or once it is worse, what was known then."""
    known = found.judged
    if known and (known.verdict is Verdict.WORSE or now - found.since > JUDGED * MINUTE):
        return found
    new, before = compared(found)
    if not new:
        return found
    result = rule.judge(new, before)
    release = before[-1].release if before else 0
    return replace(found, judged=Judged(result.verdict, release, total(new), total(before), result.needed))


def is_worse(found: Counted) -> bool:
    """The verdict on what serves, which stays until another release serves."""
    return found.judged is not None and found.judged.verdict is Verdict.WORSE


def worse(found: Counted) -> Worse | None:
    """For what follows from it. None unless it is worse."""
    return Worse(found.release, found.run, found.since, text(found)) if is_worse(found) else None


def text(found: Counted) -> str:
    """For people: ``errors 0.2 % of 12,340 requests, no worse than r12 (0.2 %)``; "" if there were no requests."""
    one = found.judged
    if one is None:
        return ""
    errors = f"errors {share(one.new.errors, one.new.requests)} of {one.new.requests:,} requests"
    if one.verdict is Verdict.NOTHING_BEFORE:
        return f"{errors}; nothing to compare with"
    if one.verdict is Verdict.TOO_FEW:
        return f"{errors}; not enough traffic to judge{_missing(found, one)}"
    return f"{errors}, {one.verdict.value} than r{one.before} ({share(one.base.errors, one.base.requests)})"


def _missing(found: Counted, one: Judged) -> str:
    """What a judgement needs that is not there yet."""
    minutes = sum(bool(minute.errors) for minute in compared(found)[0])
    higher = one.new.errors * one.base.requests > one.base.errors * one.new.requests
    if higher and one.new.requests >= rule.FIRST_LOOK and 0 < minutes < rule.SPREAD:
        seen = "a single minute" if minutes == 1 else f"{minutes} minutes"
        return f": errors in {seen} so far, and it takes {rule.SPREAD}"
    return f": about {one.needed:,} are needed" if one.needed > one.new.requests else ""


def share(part: int, whole: int) -> str:
    """``0.2 %``, with two figures."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.0f} %" if percent >= 10 or not part else f"{percent:.2g} %"
