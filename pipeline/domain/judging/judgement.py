"""The judgement of what serves, kept until another release serves. Pure."""

from __future__ import annotations

from dataclasses import replace

from pipeline.domain.judging import kept, rule
from pipeline.domain.judging.counts import Counted, Judged, Minute, compared, total
from pipeline.domain.judging.kept import Minutes
from pipeline.domain.judging.verdict import Verdict, Worse


def judged(found: Counted, now: float) -> Counted:
    """See ``kept.renewed``."""
    one = kept.renewed(found, now, _judged)
    return found if one == found.judged else replace(found, judged=one)


def _judged(new: Minutes[Minute], before: Minutes[Minute]) -> Judged:
    result, release = rule.judge(new, before), before[-1].release if before else 0
    return Judged(result.verdict, release, total(new), total(before), result.needed)


def is_worse(found: Counted) -> bool:
    """The verdict on what serves, which stays until another release serves."""
    return kept.is_worse(found)


def worse(found: Counted) -> Worse | None:
    """For what follows from it. None unless it is worse."""
    return kept.worse(found, lambda: text(found))


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
