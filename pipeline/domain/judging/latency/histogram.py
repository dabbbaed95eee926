"""Cumulative histograms of another program as one: of each family of series, which differ by the label ``le`` alone,
how many answers took up to each bound. Pure. See ``judging.series``, which has the counters of errors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pipeline.domain.judging.latency.times import Timed

FRESH = 300.0  # seconds after which what was seen is too old to go on from; a look is made once a minute
MOST = 200  # bounds; more are no histogram
NO_SERIES = "the query for latency gives no series: nothing was answered yet, or it does not fit"
NO_LE = "the query for latency gives series without the label `le`; it has to give the buckets of histograms (…_bucket)"
NO_END = 'the query for latency gives a histogram without its last bucket (le="+Inf")'
NO_COMMON = "the histograms that the query for latency gives have no bound in common"
TOO_MANY = f"the histograms that the query for latency gives have more than {MOST} bounds"

Family = Mapping[float, float]  # how many answers took up to so many seconds, the last of which is infinite


@dataclass(frozen=True)
class Read:
    """``families``: by their labels without ``le``; ``problem``: why they say nothing, without a full stop."""

    families: Mapping[str, Family] = field(default_factory=dict)
    problem: str = ""


def read(series: Mapping[str, float]) -> Read:
    """``series``: by their labels as JSON (``ports.judging.Figures``)."""
    if not series:
        return Read(problem=NO_SERIES)
    found: dict[str, dict[float, float]] = {}
    for labels, value in series.items():
        family, bound = _split(labels)
        if bound is None:
            return Read(problem=NO_LE)
        if bound > 0:  # of a bound of zero nothing follows
            known = found.setdefault(family, {})
            known[bound] = max(value, known.get(bound, 0.0))  # 0.1 and 1e-1
    if not all(math.inf in one for one in found.values()):
        return Read(problem=NO_END)
    common = bounds_of(found.values())
    problem = NO_COMMON if not common else TOO_MANY if len(common) > MOST else ""
    return Read({} if problem else found, problem)


def _split(labels: str) -> tuple[str, float | None]:
    """Those of the family, and the bound, None if it has none."""
    try:
        each = json.loads(labels)
        bound = float(each.pop("le"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return labels, None
    return json.dumps(each, sort_keys=True), None if math.isnan(bound) else bound


def bounds_of(families: Iterable[Family]) -> tuple[float, ...]:
    """Those that all of them have, the last one not among them."""
    each = [set(one) - {math.inf} for one in families]
    return tuple(sorted(set.intersection(*each))) if each else ()


@dataclass(frozen=True)
class Seen:
    """The families at the last look, ``at`` that time of the monotonic clock, and by how much their buckets grew since
    the first one, which was at ``since`` (seconds since the epoch)."""

    at: float
    since: float
    bounds: tuple[float, ...]
    families: Mapping[str, Family]
    grown: tuple[float, ...]

    @property
    def timed(self) -> Timed:
        counts = {number: round(one) for number, one in enumerate(self.grown)}
        return Timed(int(self.since), {number: one for number, one in counts.items() if one}, self.bounds)


def looked(before: Seen | None, families: Mapping[str, Family], now: float, at: float) -> Seen:
    """After one more look, at ``now`` of the monotonic clock and ``at`` seconds since the epoch. A family that was not
    there before begins at zero; one that is gone for a while goes on from where it was. With other bounds counting
    begins again."""
    bounds = bounds_of(families.values())
    zeros = (0.0,) * (len(bounds) + 1)
    if before is None or not 0 <= now - before.at <= FRESH:
        return Seen(now, at, bounds, families, zeros)
    if not families:
        return replace(before, at=now)
    if before.bounds != bounds:
        known = {**before.families, **families}
        if before.families:
            return Seen(now, at, bounds, known, zeros)
        before = replace(before, bounds=bounds, grown=zeros)  # there was none yet
    grown = list(before.grown)
    for name, family in families.items():
        for number, more in enumerate(_more(before.families.get(name, {}), family, bounds)):
            grown[number] += more
    return replace(before, at=now, families={**before.families, **families}, grown=tuple(grown))


def _more(before: Family, now: Family, bounds: tuple[float, ...]) -> Iterable[float]:
    """By how much each bucket grew. A family one of whose counters became smaller has begun again."""
    ends = (*bounds, math.inf)
    if any(now[end] < before.get(end, 0.0) for end in ends):
        before = {}
    reached = 0.0
    for end in ends:
        # What is read while it is written may not add up.
        upto = max(reached, now[end] - before.get(end, 0.0))
        yield upto - reached
        reached = upto
