"""When an environment is frozen: by a window of pipelines.yaml, or by hand. Pure rules.

Acts by hand are kept in the order in which they were done, which is also their order when the clock was set back
meanwhile. The newest one that is about an environment decides: a thaw ends every freeze by hand before it, and opens
the windows that were open at its time, as they were then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pipeline.config.promotion.freezes import Window
from pipeline.lib import windows
from pipeline.lib.windows import Span

FREEZE, THAW = "freeze", "thaw"
KEPT = 400 * 86400.0  # seconds that a thaw is kept: no window of dates is likely to be longer
_NEVER = 90 * 86400.0  # seconds; weekly windows that leave no gap for so long never do


@dataclass(frozen=True)
class Opened:
    """A window that a thaw opened: where, and from when to when it was."""

    pipeline: str
    environment: str
    begin: float
    end: float


@dataclass(frozen=True)
class FreezeAct:
    """What a person did. ``pipeline``, ``environment``: "" for all; ``until``: 0 without an end. ``opened``: the
    windows that a thaw opened, None if it was stored before thaws had any: it opens each that is open at its time."""

    act: str
    pipeline: str
    environment: str
    reason: str
    by: str
    at: float
    until: float = 0.0
    zone: str = "UTC"
    opened: tuple[Opened, ...] | None = None

    def opens(self, pipeline: str, environment: str, span: Span) -> bool:
        """True if it is a thaw that opened this window there. One that was added or changed later is another window."""
        if self.act != THAW or not self.is_for(pipeline, environment):
            return False
        if self.opened is None:
            return self.at in span
        return Opened(pipeline, environment, span.begin, span.end) in self.opened

    def is_for(self, pipeline: str, environment: str) -> bool:
        return self.pipeline in ("", pipeline) and self.environment in ("", environment)

    def includes(self, other: FreezeAct) -> bool:
        """True if it is about everything that the other one is about."""
        return self.is_for(other.pipeline, other.environment)


def thaw_command(pipeline: str, environment: str) -> str:
    return command_for(THAW, pipeline, environment)


def command_for(act: str, pipeline: str, environment: str) -> str:
    """The command for the act there; "" for all of them."""
    place = f"{pipeline} {environment}" if pipeline and environment else pipeline
    if environment and not pipeline:
        place = f"--env {environment}"
    return " ".join(filter(None, ("pushlive", act, place, "--reason TEXT")))


@dataclass(frozen=True)
class Frozen:
    """``until``: when it is over by itself, 0 if only a thaw ends it; ``by``: who froze it, "" for a window."""

    until: float
    zone: str
    reason: str
    by: str
    since: float

    def text(self, environment: str, now: float) -> str:
        """``live is frozen until Mon 30 Nov 08:00 Europe/Dublin: no deploys at weekends (by ann)``"""
        until = f" until {windows.show(self.until, self.zone, now)}" if self.until else ""
        return f"{environment} is frozen{until}{self.why}"

    @property
    def why(self) -> str:
        """``: the reason (by ann)``, or a part of it."""
        return (f": {self.reason}" if self.reason else "") + (f" (by {self.by})" if self.by else "")


@dataclass(frozen=True)
class Thawed:
    """What a thaw keeps open. ``until``: the end of the window that it opened, or when the next one begins."""

    until: float
    zone: str
    reason: str
    by: str
    at: float

    def text(self, environment: str, now: float) -> str:
        """``live is open by a thaw until Mon 30 Nov 08:00 Europe/Dublin: a fix that cannot wait (by ann)``"""
        until = windows.show(self.until, self.zone, now)
        return f"{environment} is open by a thaw until {until}: {self.reason} (by {self.by})"


def frozen(
    file: Iterable[Window], acts: Iterable[FreezeAct], pipeline: str, environment: str, now: float
) -> Frozen | None:
    """What keeps runs out of that environment at ``now``, until none of the windows that follow on each other does any
    more. ``file``: the windows of pipelines.yaml for the pipeline; ``acts``: oldest first."""
    file, acts = tuple(file), tuple(acts)
    found = next(_at(file, acts, pipeline, environment, now), None)
    if found is None:
        return None
    end = found
    while end.until:
        after = list(_at(file, acts, pipeline, environment, end.until))
        if not after:
            break
        if end.until - now > _NEVER:
            end = replace(end, until=0.0)  # weekly windows without a gap
        else:
            end = max(after, key=lambda one: one.until or float("inf"))
    return replace(end, reason=found.reason, by=found.by, since=found.since)


def _at(
    file: Iterable[Window], acts: tuple[FreezeAct, ...], pipeline: str, environment: str, at: float
) -> Iterator[Frozen]:
    """Everything that freezes it at that time, the newest act first."""
    for one in reversed(acts):
        if not one.is_for(pipeline, environment):
            continue
        if one.act == THAW:
            break
        if one.until == 0.0 or at < one.until:
            yield Frozen(one.until, one.zone, one.reason, one.by, one.at)
    for window, span in _spans(file, environment, at):
        if at in span and not any(one.opens(pipeline, environment, span) for one in acts):
            yield Frozen(span.end, window.zone, window.reason, "", span.begin)


def opened(file: Iterable[Window], pipeline: str, environment: str, now: float) -> tuple[Opened, ...]:
    """The windows that a thaw opens ``now``, also those that another one opened already: it may take its place."""
    return tuple(
        Opened(pipeline, environment, span.begin, span.end)
        for _, span in _spans(file, environment, now)
        if now in span
    )


def thawed(
    file: Iterable[Window], acts: Iterable[FreezeAct], pipeline: str, environment: str, now: float
) -> Thawed | None:
    """The thaw but for which a window would freeze that environment now; None if something freezes it."""
    file, acts = tuple(file), tuple(acts)
    if frozen(file, acts, pipeline, environment, now):
        return None
    found = [
        Thawed(span.end, window.zone, one.reason, one.by, one.at)
        for window, span in _spans(file, environment, now)
        if now in span
        for one in reversed(acts)
        if one.opens(pipeline, environment, span)
    ]
    last = max(found, key=lambda one: one.until, default=None)
    after = following(file, environment, now)
    if last and after and after.since < last.until:  # a window that the thaw did not open
        return replace(last, until=after.since, zone=after.zone)
    return last


def _spans(file: Iterable[Window], environment: str, around: float) -> Iterator[tuple[Window, Span]]:
    return ((window, span) for window in file if window.is_for(environment) for span in window.spans(around))


def following(file: Iterable[Window], environment: str, now: float) -> Frozen | None:
    """The next window that begins after ``now``, None if none does within two weeks or by its date."""
    ahead = [
        Frozen(span.end, window.zone, window.reason, "", span.begin)
        for window, span in _spans(file, environment, now)
        if span.begin > now
    ]
    return min(ahead, key=lambda one: one.since, default=None)


def with_act(acts: Iterable[FreezeAct], act: FreezeAct) -> tuple[FreezeAct, ...]:
    """The acts and one more, without those that have no effect any more."""
    if act.act == THAW:
        kept = [one for one in acts if not act.includes(one)]
    else:
        same = (act.pipeline, act.environment)
        kept = [one for one in acts if one.act == THAW or (one.pipeline, one.environment) != same]
    over = [one for one in kept if one.act == FREEZE and 0 < one.until <= act.at]
    old = [one for one in kept if one.act == THAW and act.at - one.at > KEPT]
    return (*(one for one in kept if one not in over and one not in old), act)
