"""How long the answers of both slots took while they share the traffic, and whether the new one is slower. Pure.

What the proxy has counted is read at the begin of each stretch of a shift. The rule is that of the judge after a
switch, over the same time of both (``pipeline.domain.judging.latency.rule``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pipeline.domain.judging.latency import rule
from pipeline.domain.judging.latency.counts import WARM, Latency, Minute, latency
from pipeline.domain.judging.latency.judgement import quantile, shown
from pipeline.domain.judging.latency.rule import Judgement
from pipeline.domain.judging.latency.scale import coarser
from pipeline.domain.judging.latency.times import Timed, merged, since
from pipeline.domain.judging.verdict import Verdict
from pipeline.domain.shifting.records import Shift
from pipeline.domain.shifting.stretches import stretch
from pipeline.lib import codec


@dataclass(frozen=True)
class Stretch:
    """Answers of both slots in the same time, by the number of their bucket. ``at``: its begin, in watched seconds of
    the whole shift."""

    at: float
    step: int
    new: dict[int, int]
    old: dict[int, int]


@dataclass(frozen=True)
class Times:
    """Of the shift that ``run`` began at ``since``. ``at``, ``step``: the stretch that is not over; ``seen``,
    ``seen_old``: what the proxy had counted at its begin."""

    run: int
    since: float
    at: float
    step: int
    seen: Timed
    seen_old: Timed
    stretches: tuple[Stretch, ...] = ()

    @property
    def bounds(self) -> tuple[float, ...]:
        """Of all buckets; see ``Timed``."""
        return self.seen.bounds


def _at(shift: Shift) -> float:
    """The begin of its present stretch."""
    return shift.watched - shift.watched % stretch(shift)


def known(found: Times | None, shift: Shift) -> Times | None:
    """What is known of that shift."""
    mine = found is not None and (found.run, found.since) == (shift.run, shift.since)
    return found if mine else None


def is_due(found: Times | None, shift: Shift) -> bool:
    """A stretch is over, so that the proxy is to be asked."""
    return found is None or (found.at, found.step) != (_at(shift), shift.step)


def looked(found: Times | None, shift: Shift, new: Timed, old: Timed) -> Times:
    """After one more look; both have to be ``comparable``. The first minutes are left out, as after a switch: the new
    slot's caches are empty. Buckets of two kinds are made alike; if they are others than at the look before, counting
    begins again."""
    if new.bounds != old.bounds:
        new, old = _alike(new, old)
    if found is None or found.bounds != new.bounds:
        return Times(shift.run, shift.since, _at(shift), shift.step, new, old)
    one = Stretch(found.at, found.step, since(found.seen, new), since(found.seen_old, old))
    more = (one,) if one.at >= WARM and (one.new or one.old) else ()
    moved = replace(found, at=_at(shift), step=shift.step, seen=new, seen_old=old)
    return replace(moved, stretches=_with(found.stretches, more))


def comparable(new: Timed, old: Timed) -> bool:
    """Both are counted in the same buckets, or in some that can be made alike. One without answers fits any other."""
    return new.bounds == old.bounds or not (new.bounds and old.bounds) or bool(_common(new, old))


def _common(new: Timed, old: Timed) -> tuple[float, ...]:
    if not new.bounds or not old.bounds:  # nothing was answered there yet
        return new.bounds or old.bounds
    return tuple(sorted({*new.bounds} & {*old.bounds}))


def _alike(new: Timed, old: Timed) -> tuple[Timed, Timed]:
    common = _common(new, old)
    first, last = (
        replace(one, times=coarser(one.times, one.bounds or common, common), bounds=common)
        for one in (new, old)
    )
    return first, last


def _with(stretches: tuple[Stretch, ...], more: tuple[Stretch, ...]) -> tuple[Stretch, ...]:
    """What another worker, or the end of the shift, has cut into pieces is one."""
    if not stretches or not more or (stretches[-1].at, stretches[-1].step) != (more[0].at, more[0].step):
        return (*stretches, *more)
    last, one = stretches[-1], more[0]
    whole = replace(last, new=merged((last.new, one.new)), old=merged((last.old, one.old)))
    return (*stretches[:-1], whole)


def is_slower(found: Times | None, shift: Shift) -> bool:
    """Of the stretches that are over."""
    return _judgement(found, shift).verdict is Verdict.WORSE


def _judgement(found: Times | None, shift: Shift) -> Judgement:
    ready = [
        one
        for one in (found.stretches if found else ())
        if one.new and one.old and (one.at + stretch(shift) <= shift.watched or one.step < shift.step)
    ]
    new = [Minute(one.at, shift.release, shift.run, one.new) for one in ready]
    old = [Minute(one.at, shift.before, 0, one.old) for one in ready]
    return rule.judge(new, old, found.bounds if found else (), beside=True)


def both(found: Times | None, step: int | None = None) -> tuple[Latency, Latency]:
    """Of the new slot, and of the old one; ``step``: in that step only."""
    ones = [one for one in (found.stretches if found else ()) if step is None or one.step == step]
    bounds = found.bounds if found else ()
    return latency(merged(one.new for one in ones), bounds), latency(merged(one.old for one in ones), bounds)


def plain(found: Times | None) -> dict[str, Any] | None:
    """For programs: ``{"new", "old"}``, each a ``Latency``; None before it is known."""
    new, old = both(found)
    return {"new": codec.plain(new), "old": codec.plain(old)} if new.requests else None


def text(found: Times | None, shift: Shift, step: int | None = None) -> str:
    """``p50 12 ms and p95 80 ms, beside 11 ms and 76 ms of r7``; "" if there is nothing to compare."""
    new, old = both(found, step)
    if not new.requests or not old.requests:
        return ""
    beside = f"{quantile(old, 'p50')} and {quantile(old, 'p95')} of r{shift.before}"
    coarse = " and ".join(_judgement(found, shift).coarse) if found and found.bounds and step is None else ""
    more = f"; the buckets are too coarse to judge {coarse}" if coarse else ""
    return f"{shown(new, ('p50', 'p95'))}, beside {beside}{more}"


def fact_name(environment: str) -> str:
    """Where the store has it. ``environment``: its id."""
    return f"shift-times:{environment}"


def read(text: str) -> Times | None:
    """What ``codec.dump`` wrote; None for any other text: these are figures, and are counted again."""
    try:
        return codec.load(Times, text)
    except ValueError:
        return None
