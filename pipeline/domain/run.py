"""A push, and the run that takes it through a pipeline: frozen data, stored as JSON by ``pipeline.lib.codec``.

Times are seconds since the epoch (float, wall clock, for people); durations are seconds measured on the
monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pipeline.config.place.origin import Origin
from pipeline.domain.measuring.difference import Difference
from pipeline.domain.tracing.context import NONE, TraceContext
from pipeline.lib.units import show_duration


@dataclass(frozen=True)
class Push:
    """One accepted push event, from any receiver."""

    pipeline: str
    repository: str
    ref: str
    commit: str  # 40 or 64 hex digits
    delivery: str  # unique for each event: "github:<uuid>", "git:<random>"; delivered twice, it makes one run
    pusher: str = ""
    message: str = ""  # the commit's first line
    before: str = ""
    forced: bool = False
    received: float = 0.0
    skip: str = ""  # why it is not to be deployed, see ``skipping``


class Kind(StrEnum):
    PUSH = "push"
    DEPLOY = "deploy"  # requested by a person: a commit again, or a changed configuration with the same image
    REVERT = "revert"


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"  # for a person, at a gate or a hold, or for the end of a freeze
    ENDED = "ended"


class Outcome(StrEnum):
    LIVE = "live"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    IGNORED = "ignored"


@dataclass(frozen=True)
class StepResult:
    """One step of one stage, as in the timing table."""

    stage: str
    step: str
    started: float
    seconds: float
    ok: bool = True
    detail: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def figures(self) -> list[str]:
        """What a release answered with each of its parts of the visitors, a line each; none of another step."""
        return [str(one) for one in self.data.get("steps") or ()] if self.step == "shift" else []


@dataclass(frozen=True)
class Check:
    """One smoke check's result: what was asked, what came back, how long it took (seconds)."""

    asked: str
    ok: bool
    answer: str
    seconds: float
    attempts: int = 1


@dataclass(frozen=True)
class Failure:
    """The failure card of a run."""

    stage: str
    step: str
    whose: str  # "application", "repository", "engine", "configuration", "accessory"
    message: str
    advice: str = ""
    evidence: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()  # what differs from the last good release
    facts: int = 0  # so many of the evidence are whole texts, the first ones; the others are output


@dataclass(frozen=True)
class Approval:
    """That a person promoted the run into an environment, with the release that it had then. ``why``: the reason that
    was given; ``number``: the how many-th of how many ``needed`` it was, 0 if it was given before that was noted."""

    environment: str
    by: str
    at: float
    release: int | None
    why: str = ""
    number: int = 0
    needed: int = 0


@dataclass(frozen=True)
class Waited:
    """A wait before an environment that is over. ``by``: who ended it, by a promotion or the end of a hold, "" if a
    freeze was over."""

    environment: str
    seconds: float
    by: str = ""


@dataclass(frozen=True)
class Ending:
    """How a run is going to end. It is written together with the change to its environment's record, so that a worker
    that takes the run up after a crash only has to finish it."""

    outcome: Outcome
    reason: str
    failure: Failure | None = None


@dataclass(frozen=True)
class Run:
    """One push's way through a pipeline."""

    pipeline: str
    number: int
    kind: Kind
    commit: str
    ref: str
    config: str  # hash of the configuration text that applies to this run
    stages: tuple[str, ...]  # ("build", "dev", "qa", "live"), or (environment,) for a revert
    accepted: float
    pusher: str = ""
    message: str = ""
    delivery: str = ""
    repository: str = ""
    state: State = State.QUEUED
    outcome: Outcome | None = None
    reason: str = ""
    release: int | None = None
    stage: str = ""  # where it is now, "" before the first
    steps: tuple[StepResult, ...] = ()
    checks: dict[str, tuple[Check, ...]] = field(default_factory=dict)  # by stage
    promoted: tuple[str, ...] = ()  # environments that people promoted it to
    approvals: tuple[Approval, ...] = ()  # who did, also where more of them are needed
    forced: dict[str, int] = field(
        default_factory=dict
    )  # environments it was forced into although an earlier one took it back, and by which revert (its number)
    gate: str = ""  # the environment it waits before, when state is waiting
    frozen: bool = False  # it waits there for the end of a freeze, and then goes on by itself
    gate_since: float = 0.0
    human: float = (
        0.0  # seconds spent waiting at gates, for people or the end of a freeze: not counted in the budget
    )
    waited: tuple[Waited, ...] = ()  # the waits in that time; runs of earlier versions have none recorded
    shifted: float = 0.0  # seconds in which two releases shared the traffic, not counted in the budget
    queued: float = 0.0  # seconds spent waiting for another run to leave an environment, not counted either
    parked: float = 0.0  # since when it waits for that, 0 if it does not
    behind: str = ""  # the run that it waits for, while it does
    behind_share: float = (
        0.0  # percent of the new visitors that the release of that run has, 0 outside of a shift
    )
    after_shift: float = 0.0  # seconds of ``queued`` that it waited for another run's shift: in no budget
    after_shift_since: float = 0.0  # since when it waits for one, 0 if it does not
    started: float = 0.0
    image_ready: float = 0.0  # the budget's start
    ended: float = 0.0
    again: float = 0.0  # back in the queue: not taken up before then
    awaited: float = 0.0  # since when it waits for its commit to appear in the repository
    attempts: int = 0  # how many workers have started it
    cancel: str = ""  # why it was asked to stop
    busy_until: float = (
        0.0  # when the step that a cancellation waits for ends at the latest, 0 outside of one
    )
    rebuild: bool = False
    unseen: bool = False  # superseded because its commit did not appear in the repository
    command: str = ""  # the step whose command runs now: "release" or "back"
    abandon: str = ""  # why that command is no longer waited for
    across: int | None = None  # of a revert: the newest release that it was confirmed for, see ``Crossed``
    back: tuple[int, ...] = ()  # of a revert: the releases whose `back` it runs first, newest first
    from_release: int | None = None  # use that release's image instead of building one
    by: str = ""  # who requested a deploy or a revert
    author: str = ""  # the commit's, which anyone can write into it; not who pushed it
    failure: Failure | None = None
    ending: Ending | None = None  # decided, not yet recorded as the outcome
    trace: TraceContext = NONE  # of the request that asked for it
    unusual: Difference | None = None  # what made it slower or faster than usual, once it is live
    origin: Origin | None = (
        None  # the commit that ``config`` came from then; None if that was not recorded yet
    )

    @property
    def id(self) -> str:
        return f"{self.pipeline}#{self.number}"

    @property
    def short(self) -> str:
        return self.commit[:7]

    @property
    def waits_for(self) -> str:
        """``live waits for hello#41, which has 20 % of the visitors``; "" unless it waits for another run."""
        if not self.behind:
            return ""
        share = f", which has {self.behind_share:g} % of the visitors" if self.behind_share else ""
        return f"{self.stage} waits for {self.behind}{share}"

    def cancelled_when(self, now: float) -> str:
        """When a cancellation takes effect, as a sentence; "" if at once."""
        if self.busy_until == 0.0:
            return ""
        return (
            f"It takes effect when the release command in {self.stage} has ended, in "
            f"{show_duration(max(0.0, self.busy_until - now))} at the latest: half of a migration helps no one. "
            f"To end it before, look at what it does, then `pushlive release abandon '{self.id}'`."
        )

    def passed(self, stage: str, step: str) -> bool:
        """True if this step of the stage is done and has succeeded."""
        return any((one.stage, one.step, one.ok) == (stage, step, True) for one in self.steps)
