"""What is known of a process that runs by a schedule, and of each of its runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class CronRun:
    """A run that was decided. ``at``: the time of the schedule, which names its container; ``started``: 0 until its
    container was seen; ``waits``: why it could not be started yet."""

    at: float
    timeout: float
    started: float = 0.0
    release: int = 0
    waits: str = ""


@dataclass(frozen=True)
class CronState:
    """``since``: every time of the schedule up to this one is dealt with; ``waiting``: the time of the run that comes
    after the one that is at work, 0 if none does."""

    since: float
    running: CronRun | None = None
    waiting: float = 0.0


class CronOutcome(StrEnum):
    OK = "ok"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    SKIPPED = "skipped"
    REPLACED = "replaced"
    MISSED = "missed"
    UNKNOWN = "unknown"

    @property
    def is_bad(self) -> bool:
        return self in (CronOutcome.FAILED, CronOutcome.TIMED_OUT, CronOutcome.MISSED, CronOutcome.UNKNOWN)


@dataclass(frozen=True)
class CronEntry:
    """A run that has ended, or that did not take place. ``output``: its last lines, without secrets; ``count``: how
    many times were missed, the last of them ``at``."""

    at: float
    outcome: CronOutcome
    release: int = 0
    started: float = 0.0
    ended: float = 0.0
    exit_code: int | None = None
    output: tuple[str, ...] = ()
    said: str = ""
    count: int = 1
