"""A verdict on what serves, kept until another release serves. Pure. By errors and by times alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from pipeline.domain.judging.counts import JUDGED, MINUTE, ByMinute, OfRelease, compared
from pipeline.domain.judging.verdict import Verdict, Worse


class HasVerdict(Protocol):
    @property
    def verdict(self) -> Verdict: ...


One = TypeVar("One", bound=HasVerdict, covariant=True)


class Found(ByMinute[OfRelease], Protocol[OfRelease, One]):
    """What was seen in one environment; see ``judging.counts.Counted``."""

    @property
    def since(self) -> float: ...
    @property
    def judged(self) -> One | None: ...


Minutes = tuple[OfRelease, ...]


def renewed(
    found: Found[OfRelease, One], now: float, judge: Callable[[Minutes[OfRelease], Minutes[OfRelease]], One]
) -> One | None:
    """For an hour, what is known by now; after it, or once it is worse, what was known then. ``judge``: makes a verdict
    of the minutes of the release, and of those of the one before it."""
    known = found.judged
    if known and (known.verdict is Verdict.WORSE or now - found.since > JUDGED * MINUTE):
        return known
    new, before = compared(found)
    return judge(new, before) if new else known


def is_worse(found: Found[OfRelease, One]) -> bool:
    return found.judged is not None and found.judged.verdict is Verdict.WORSE


def worse(found: Found[OfRelease, One], text: Callable[[], str]) -> Worse | None:
    """For what follows from it. None unless it is worse. ``text``: says so in figures."""
    return Worse(found.release, found.run, found.since, text()) if is_worse(found) else None
