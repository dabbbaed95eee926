"""How often an environment was asked and how often its answer was an error, by minute and release. Pure.

The proxy counts each slot's answers since it started. Two looks at these counters give what lies between them; a
counter that became smaller belongs to a proxy that has started again, and begins at zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from pipeline.domain.engine_types import Answered
from pipeline.domain.judging.verdict import Verdict
from pipeline.lib import codec

MINUTE = 60.0
JUDGED = (
    60  # minutes for which a release is judged, and as many of the one before it that it is compared with
)
Known = TypeVar("Known")
KEPT = 2 * JUDGED
RELEASES = 3  # of an environment whose counts are told apart, so that there are no more series than that


@dataclass(frozen=True)
class Minute:
    """``at``: its begin, seconds since the epoch."""

    at: float
    release: int
    run: int
    requests: int
    errors: int


@dataclass(frozen=True)
class Judged:
    """How the release that serves compares with the one before it, 0 if there was none. ``needed``: see
    ``rule.Judgement``."""

    verdict: Verdict
    before: int
    new: Answered
    base: Answered
    needed: int = 0


@dataclass(frozen=True)
class Counted:
    """What was counted in one environment. ``release``, ``run``: of the slot that was looked at last, since ``since``;
    ``seen``: the proxy's counters then; ``minutes``: those with requests, oldest first; ``whole``: all that was ever
    counted there; ``recorded``: the verdict is final, and noted for its record; ``releases``: what was counted of
    each of the last ``RELEASES`` that served, in the order in which they last came to serve."""

    release: int = 0
    run: int = 0
    since: float = 0.0
    seen: Answered = field(default_factory=Answered)
    minutes: tuple[Minute, ...] = ()
    judged: Judged | None = None
    whole: Answered = field(default_factory=Answered)
    recorded: bool = False
    releases: dict[int, Answered] = field(default_factory=dict)


def counted(before: Counted, release: int, run: int, seen: Answered, now: float) -> Counted:
    """After one more look at the slot that serves. What it had answered at the first look were checks."""
    if (before.release, before.run) != (release, run):
        releases = newest(before.releases, release, Answered())
        return Counted(release, run, now, seen, before.minutes, whole=before.whole, releases=releases)
    new = since(before.seen, seen)
    if not new.requests:
        return replace(before, seen=seen)
    at = now - now % MINUTE
    one, earlier = Minute(at, release, run, new.requests, min(new.errors, new.requests)), before.minutes
    if earlier and (earlier[-1].at, earlier[-1].release, earlier[-1].run) == (at, release, run):
        last, earlier = earlier[-1], earlier[:-1]
        one = replace(last, requests=last.requests + one.requests, errors=last.errors + one.errors)
    errors = min(new.errors, new.requests)
    more = Answered(new.requests, errors)
    releases = newest(before.releases, release, Answered())
    releases[release] = added(releases[release], more)
    whole = added(before.whole, more)
    return replace(before, seen=seen, minutes=(*earlier, one)[-KEPT:], whole=whole, releases=releases)


def added(one: Answered, more: Answered) -> Answered:
    return Answered(one.requests + more.requests, one.errors + more.errors)


def newest(releases: Mapping[int, Known], release: int, none: Known) -> dict[int, Known]:
    """The last ``RELEASES``, that one at the end with what is known of it, ``none`` if nothing is."""
    others = [(one, known) for one, known in releases.items() if one != release]
    return {**dict(others[1 - RELEASES :]), release: releases.get(release, none)}


def since(before: Answered, now: Answered) -> Answered:
    """What was answered between two looks."""
    if now.requests < before.requests or now.errors < before.errors:
        return now
    return Answered(now.requests - before.requests, now.errors - before.errors)


def total(minutes: Iterable[Minute]) -> Answered:
    found = tuple(minutes)
    return Answered(sum(one.requests for one in found), sum(one.errors for one in found))


class _OfRelease(Protocol):
    """What was seen in one minute; see ``Minute``."""

    @property
    def at(self) -> float: ...
    @property
    def release(self) -> int: ...
    @property
    def run(self) -> int: ...


OfRelease = TypeVar("OfRelease", bound=_OfRelease, covariant=True)


class ByMinute(Protocol[OfRelease]):
    """What was seen in one environment; see ``Counted``."""

    @property
    def release(self) -> int: ...
    @property
    def run(self) -> int: ...
    @property
    def minutes(self) -> tuple[OfRelease, ...]: ...


def compared(found: ByMinute[OfRelease]) -> tuple[tuple[OfRelease, ...], tuple[OfRelease, ...]]:
    """The minutes of what serves, and those of the release that served before it: its last hour."""
    mine = tuple(one for one in found.minutes if (one.release, one.run) == (found.release, found.run))
    earlier = [one for one in found.minutes if (one.release, one.run) != (found.release, found.run)]
    if not earlier:
        return mine, ()
    last = earlier[-1]
    first = last.at - JUDGED * MINUTE
    return mine, tuple(one for one in earlier if one.release == last.release and one.at > first)


def fact_name(environment: str) -> str:
    """Where the store has it. ``environment``: its id."""
    return f"answers:{environment}"


def read(text: str) -> Counted:
    """What ``codec.dump`` wrote; nothing for any other text: these are figures, and are counted again."""
    try:
        return codec.load(Counted, text)
    except ValueError:
        return Counted()
