"""An environment, its two slots, holds and quarantine: the record that says which slot serves."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.config.engines import DOCKER
from pipeline.domain.cron.records import CronState
from pipeline.domain.health import Health
from pipeline.domain.shifting.records import Shift
from pipeline.domain.sleep.records import Asleep
from pipeline.domain.visitors.maintenance import Maintenance

Slot = str  # "blue" or "green"
SLOTS: tuple[Slot, Slot] = ("blue", "green")


def other(slot: Slot) -> Slot:
    return "green" if slot == "blue" else "blue"


class SlotState(StrEnum):
    STARTING = "starting"
    SERVING = "serving"
    WARM = "warm"
    FAILED = "failed"  # kept for inspection until `until`


@dataclass(frozen=True)
class SlotRecord:
    """What the store knows about one slot; an empty slot has no record."""

    release: int
    run: int
    state: SlotState
    since: float
    until: float = 0.0  # when a warm or failed slot is emptied
    secrets: dict[str, int] = field(default_factory=dict)  # versions that its containers were given


@dataclass(frozen=True)
class Hold:
    reason: str
    by: str
    since: float


@dataclass(frozen=True)
class Quarantined:
    image: str
    fingerprint: str  # of that environment's rendered configuration and its secrets' versions
    release: int
    reason: str
    since: float


@dataclass(frozen=True)
class TakenBack:
    """A release that a revert took from an environment: it does not go on to the environments after it."""

    image: str
    fingerprint: str  # as in ``Quarantined``
    release: int
    run: int  # the revert's number
    reason: str
    by: str
    since: float


@dataclass(frozen=True)
class Down:
    """The release that serves does not work, or only with some of its replicas, and the receivers of notifications were
    told. ``said``: why."""

    release: int
    since: float
    said: str


@dataclass(frozen=True)
class CommandRun:
    """That a release's command has succeeded here, at that time in that run. ``undone``: when its `back` did, 0 if it
    has not since."""

    release: int
    run: int
    at: float
    undone: float = 0.0


@dataclass(frozen=True)
class Revival:
    """A replica that did not answer was started again, so often in short succession, the last time then."""

    release: int
    run: int
    count: int
    last: float


class BakeOutcome(StrEnum):
    """How the time after a switch ended for a release."""

    BAKED = "baked"
    TAKEN_BACK = "taken back"
    FAILED = "failed"  # and left where it is: the environment was held, or people were only told
    SUPERSEDED = "superseded"  # a person or another release came first


@dataclass(frozen=True)
class Bake:
    """A release is watched after its switch, by the ``bake`` key; and how that ended. ``since``: the switch; ``lasts``:
    seconds; ``before``: what was wrong before the switch, and with what, see ``pipeline.domain.watching.bake``;
    ``looked``: when someone looked last, 0 before it was verified; ``from_``: from when on what is seen counts, 0
    before the first look; ``watched``: seconds, without the gaps; ``revert``: the run that took it back."""

    release: int
    run: int
    since: float
    lasts: float
    on_failure: str
    before: dict[str, str] = field(default_factory=dict)
    looked: float = 0.0
    from_: float = 0.0
    watched: float = 0.0
    outcome: BakeOutcome | None = None
    reason: str = ""
    ended: float = 0.0
    revert: int = 0


class WorseOutcome(StrEnum):
    """What followed from the verdict that a release is worse than the one before it."""

    TAKEN_BACK = "taken back"
    HELD = "held"
    TOLD = "told"
    OBSERVED = "observed"  # it was told, and what would have followed from ``act`` was recorded


@dataclass(frozen=True)
class Trial:
    """A release is compared with the one before it, by the ``judge`` key. ``since``: the switch; ``judge``: observe,
    act or off; ``on_failure``: what follows with ``act``; ``left``: why it is left to people all the same, "" if it is
    not; ``outcome``: None until it is found to be worse; ``reason``: what was found, for people; ``ended``: when;
    ``would``: what would have followed; ``revert``: the run that took it back."""

    release: int
    run: int
    since: float
    judge: str
    on_failure: str
    left: str = ""
    outcome: WorseOutcome | None = None
    reason: str = ""
    ended: float = 0.0
    would: str = ""
    revert: int = 0


@dataclass(frozen=True)
class Environment:
    """One environment of one pipeline. The store decides which slot serves; reconciliation makes the proxy follow."""

    pipeline: str
    name: str
    index: int  # decides the loopback port, the subnet and the proxy's backends
    engine: str = DOCKER  # `Where.key`; it changes only while both slots are empty
    active: Slot | None = None
    slots: dict[Slot, SlotRecord] = field(default_factory=dict)
    switching: Slot | None = None  # the intended slot, recorded before the switch
    shift: Shift | None = None  # a part of the new visitors goes to a slot that does not serve yet
    asleep: Asleep | None = None  # what serves has ended until a request comes, or is being woken by one
    maintenance: Maintenance | None = None  # visitors read a notice, whatever serves
    hold: Hold | None = None
    quarantine: tuple[Quarantined, ...] = ()
    taken_back: tuple[TakenBack, ...] = ()  # until they are verified here again
    good: tuple[int, ...] = ()  # releases that were verified here, oldest first
    pairs: dict[int, tuple[str, str]] = field(
        default_factory=dict
    )  # image and fingerprint of each good release
    newest_run: int = 0  # the newest push or deploy run that was verified here: no older run may follow
    interrupt: int = 0  # the number of a revert: every other run gives up here
    health: dict[Slot, Health] = field(default_factory=dict)  # of the serving and the warm slot
    down: Down | None = None
    cron: dict[str, CronState] = field(default_factory=dict)  # by process
    degraded: Down | None = None
    processes: dict[str, Health] = field(default_factory=dict)  # of the slot that serves, by name
    failing: dict[str, Down] = field(default_factory=dict)  # processes that the receivers were told of
    commands: tuple[CommandRun, ...] = ()  # one for each release at most, oldest first
    bakes: tuple[Bake, ...] = ()  # oldest first; only the last one can be without an outcome

    trials: tuple[Trial, ...] = ()  # oldest first

    revived: dict[str, Revival] = field(default_factory=dict)  # by replica
    failed: dict[int, Down] = field(
        default_factory=dict
    )  # good releases that went down later, or were passed over by a revert, until they work here again

    @property
    def id(self) -> str:
        return f"{self.pipeline}/{self.name}"

    @property
    def bake(self) -> Bake | None:
        """That of the release which is watched after its switch now."""
        last = self.bakes[-1] if self.bakes else None
        return last if last and last.outcome is None else None

    @property
    def serving(self) -> int | None:
        """The number of the release that takes the traffic, or None."""
        record = self.slots.get(self.active) if self.active else None
        return record.release if record else None
