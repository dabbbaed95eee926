"""What is kept of a release that takes the traffic over step by step."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.domain.health import Health


class ShiftOutcome(StrEnum):
    """All visitors went to the new release; it failed, or was worse; or they went back because a person, or something
    else, stopped the run."""

    DONE = "done"
    FAILED = "failed"
    BACK = "back"


@dataclass(frozen=True)
class Count:
    """Requests that a slot has answered, and how many of the answers were errors."""

    requests: int = 0
    errors: int = 0


@dataclass(frozen=True)
class Stretch:
    """What both slots answered in the same time. ``at``: its begin, in watched seconds of the whole shift."""

    at: float
    step: int
    new: Count = field(default_factory=Count)
    old: Count = field(default_factory=Count)


@dataclass(frozen=True)
class Shift:
    """The release in ``slot``, brought by ``run``, gets ``steps[step]`` percent of the new visitors, and ``before``,
    which serves, the others.

    ``lasts``: seconds of each step; ``enough``: requests after which a step ends before that, 0 if never; ``since``:
    when it began; ``passed``: seconds of the present step in which someone looked; ``watched``: those of the whole
    shift; ``looked``: when someone looked last, 0 before the first look; ``seen``, ``seen_old``: the counters of both
    slots then; ``health``: of the new slot; ``route``: the HTTPRoute that divides the visitors on a cluster;
    ``uncounted``: why no answers are counted now, "" if they are. Once ``step`` is the number of steps, only the switch
    is left.
    """

    slot: str
    release: int
    run: int
    before: int
    steps: tuple[float, ...]
    lasts: float
    enough: int
    since: float
    step: int = 0
    passed: float = 0.0
    watched: float = 0.0
    looked: float = 0.0
    seen: Count = field(default_factory=Count)
    seen_old: Count = field(default_factory=Count)
    stretches: tuple[Stretch, ...] = ()
    health: Health | None = None
    route: str = ""
    uncounted: str = ""

    @property
    def percent(self) -> float:
        """After the last step, that of the last one until the switch."""
        return self.steps[min(self.step, len(self.steps) - 1)]

    @property
    def done(self) -> bool:
        """Every step is over."""
        return self.step >= len(self.steps)
