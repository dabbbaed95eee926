"""How long an environment's answers took, by minute and release. Pure. See ``judging.counts``, which has the errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pipeline.domain.judging.counts import KEPT, MINUTE, newest
from pipeline.domain.judging.latency.scale import Quantile, scale
from pipeline.domain.judging.latency.times import Timed, Times, merged, since, total
from pipeline.domain.judging.verdict import Verdict
from pipeline.lib import codec

WARM = 2 * MINUTE  # seconds after a switch that are left out: its caches are empty


@dataclass(frozen=True)
class Minute:
    """``at``: its begin, seconds since the epoch; ``times``: answers by the number of their bucket."""

    at: float
    release: int
    run: int
    times: dict[int, int]


@dataclass(frozen=True)
class Latency:
    """``requests``: that were timed; ``p50``, ``p95``: within how many seconds half of them, and 95 % of them, were
    answered; None if that is beyond the last bound of a Prometheus's histogram; ``p50_from``, ``p95_from``: the lower
    bounds of their buckets there, None if the proxy has timed them."""

    requests: int = 0
    p50: float | None = 0.0
    p95: float | None = 0.0
    p50_from: float | None = None
    p95_from: float | None = None

    @property
    def in_bounds(self) -> bool:
        """Timed by a Prometheus."""
        return self.p50_from is not None


@dataclass(frozen=True)
class Judged:
    """See ``judging.counts.Judged``. ``slower``: the quantiles that are worse: "p50", "p95"; ``coarse``: those whose
    buckets are too wide to tell."""

    verdict: Verdict
    before: int
    new: Latency
    base: Latency
    needed: int = 0
    slower: tuple[str, ...] = ()
    coarse: tuple[str, ...] = ()


@dataclass(frozen=True)
class Past:
    """The last verdict on a release that serves no longer, which that run brought."""

    release: int
    run: int
    judged: Judged


@dataclass(frozen=True)
class Timings:
    """What was seen in one environment. ``release``, ``run``: of the slot that was looked at last, since ``since``;
    ``seen``: what the proxy had counted then; ``minutes``: those with answers, oldest first, in the same buckets;
    ``whole``: all that the proxy ever timed, whichever release it was; ``past``: what is known of the release that was
    looked at before; ``releases``: as ``judging.counts.Counted`` has them."""

    release: int = 0
    run: int = 0
    since: float = 0.0
    seen: Timed = field(default_factory=Timed)
    minutes: tuple[Minute, ...] = ()
    judged: Judged | None = None
    whole: dict[int, int] = field(default_factory=dict)
    past: Past | None = None
    releases: dict[int, dict[int, int]] = field(default_factory=dict)


def timed(before: Timings, release: int, run: int, seen: Timed, now: float) -> Timings:
    """After one more look at the slot that serves. What it had answered at the first look is another release's, which
    was in the slot earlier."""
    if before.seen.bounds != seen.bounds:  # what is in other buckets cannot be compared
        before = replace(before, seen=seen, minutes=(), whole={}, releases={})
    if (before.release, before.run) != (release, run):
        past = Past(before.release, before.run, before.judged) if before.judged else None
        releases = newest(before.releases, release, {})
        return Timings(release, run, now, seen, before.minutes, None, before.whole, past, releases)
    new = since(before.seen, seen)
    if not new or now - before.since < WARM:
        return replace(before, seen=seen)
    one, earlier = Minute(now - now % MINUTE, release, run, new), before.minutes
    if earlier and (earlier[-1].at, earlier[-1].release, earlier[-1].run) == (one.at, release, run):
        one = replace(one, times=merged((earlier[-1].times, new)))
        earlier = earlier[:-1]
    # What a Prometheus counts is not told to another one.
    if seen.bounds:
        return replace(before, seen=seen, minutes=(*earlier, one)[-KEPT:], whole={}, releases={})
    whole, releases = merged((before.whole, new)), newest(before.releases, release, {})
    releases[release] = merged((releases[release], new))
    return replace(before, seen=seen, minutes=(*earlier, one)[-KEPT:], whole=whole, releases=releases)


def of(found: Timings, release: int, run: int) -> Judged | None:
    """The last verdict on that release; None if none is known any more."""
    if (found.release, found.run) == (release, run):
        return found.judged
    past = found.past
    return past.judged if past and (past.release, past.run) == (release, run) else None


def all_of(minutes: Sequence[Minute]) -> dict[int, int]:
    return merged(one.times for one in minutes)


def latency(times: Times, bounds: Sequence[float] = ()) -> Latency:
    """``bounds``: those of ``Timed``."""
    ends = [scale(bounds).quantile(times, share) for share in (0.5, 0.95)]
    begins = [one.low if bounds else None for one in ends]
    return Latency(total(times), *map(_seconds, ends), *begins)


def _seconds(found: Quantile) -> float | None:
    return round(found.high, 6) if math.isfinite(found.high) else None


def fact_name(environment: str) -> str:
    """Where the store has it. ``environment``: its id."""
    return f"latency:{environment}"


def read(text: str) -> Timings:
    """What ``codec.dump`` wrote; nothing for any other text: these are figures, and are counted again."""
    try:
        return codec.load(Timings, text)
    except ValueError:
        return Timings()
