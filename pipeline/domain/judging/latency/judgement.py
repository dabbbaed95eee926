"""The judgement of how fast what serves answers, kept until another release serves. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.domain.judging import kept
from pipeline.domain.judging.figures import PROMETHEUS, PROXY
from pipeline.domain.judging.kept import Minutes
from pipeline.domain.judging.latency import rule
from pipeline.domain.judging.latency.counts import Judged, Latency, Minute, Timings, all_of, latency, of
from pipeline.domain.judging.verdict import Verdict, Worse
from pipeline.lib import codec


def judged(found: Timings, now: float) -> Timings:
    """See ``kept.renewed``."""
    one = kept.renewed(found, now, lambda new, before: _judged(new, before, found.seen.bounds))
    return found if one == found.judged else replace(found, judged=one)


def _judged(new: Minutes[Minute], before: Minutes[Minute], bounds: tuple[float, ...]) -> Judged:
    result, release = rule.judge(new, before, bounds), before[-1].release if before else 0
    mine, base = latency(all_of(new), bounds), latency(all_of(before), bounds)
    return Judged(result.verdict, release, mine, base, result.needed, result.slower, result.coarse)


def is_worse(found: Timings) -> bool:
    """The verdict on what serves, which stays until another release serves."""
    return kept.is_worse(found)


def worse(found: Timings) -> Worse | None:
    """For what follows from it. None unless it is worse."""
    return kept.worse(found, lambda: text(found))


def plain(found: Timings, release: int, run: int) -> dict[str, Any] | None:
    """For programs: ``{"requests", "p50", "p95", "p50_from", "p95_from", "source", "verdict", "slower", "coarse",
    "before", "needed", "text"}``, times in seconds (see ``Latency``). ``source``: proxy or prometheus; ``before``: the
    release that it is compared with, and the same of it; None if there is none. None if nothing is known of that
    release."""
    one = of(found, release, run)
    if one is None:
        return None
    return {
        **codec.plain(one.new),
        "source": PROMETHEUS if one.new.in_bounds else PROXY,
        "verdict": one.verdict.value,
        "slower": list(one.slower),
        "coarse": list(one.coarse),
        "before": {"release": one.before, **codec.plain(one.base)} if one.before else None,
        "needed": one.needed,
        "text": said(one),
    }


def text(found: Timings) -> str:
    """For people; "" if there were no answers."""
    return said(found.judged) if found.judged else ""


def said(one: Judged) -> str:
    """``p50 12 ms and p95 80 ms of 12,340 answers, no worse than r12 (12 ms and 76 ms)``; if a Prometheus counts them,
    ``p50 10 to 25 ms and p95 …``."""
    figures = f"{shown(one.new, ('p50', 'p95'))} of {one.new.requests:,} answers"
    if one.verdict is Verdict.NOTHING_BEFORE:
        return f"{figures}; nothing to compare with"
    if one.verdict is Verdict.TOO_FEW:
        more = f": about {one.needed:,} are needed" if one.needed > one.new.requests else ""
        return f"{figures}; not enough traffic to judge{more}"
    base = " and ".join(quantile(one.base, name) for name in ("p50", "p95"))
    if one.verdict is Verdict.TOO_COARSE:
        which = " and ".join(one.coarse)
        return f"{figures}, beside r{one.before} ({base}); the buckets are too coarse to judge {which}"
    return f"{figures}, {one.verdict.value} than r{one.before} ({base})"


def shown(one: Latency, names: tuple[str, ...]) -> str:
    return " and ".join(f"{name} {quantile(one, name)}" for name in names)


def quantile(one: Latency, name: str) -> str:
    """``12 ms``, ``10 to 25 ms``, ``more than 10 s``. ``name``: p50 or p95."""
    low, high = getattr(one, f"{name}_from"), getattr(one, name)
    if low is None:
        return milliseconds(high)
    if high is None:
        return f"more than {milliseconds(low)}"
    if low == 0:
        return f"up to {milliseconds(high)}"
    first, last = milliseconds(low), milliseconds(high)
    return f"{first.removesuffix(last[last.index(' ') :])} to {last}"


def milliseconds(seconds: float) -> str:
    """``0.4 ms``, ``12 ms``, ``1.3 s``."""
    if seconds >= 0.9995:
        return f"{seconds:.1f} s"
    found = 1000 * seconds
    return f"{found:.0f} ms" if found >= 9.95 else f"{found:.1f} ms"
