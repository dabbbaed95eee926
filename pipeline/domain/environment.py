"""An environment, its two slots, holds and quarantine: the record that says which slot serves."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.config.engines import DOCKER

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
    until: float = 0.0  # when a warm or failed slot is to be cleared
    secrets: dict[str, int] = field(default_factory=dict)  # the versions that its containers were given


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
class Environment:
    """One environment of one pipeline: the store's word is the truth about which slot serves."""

    pipeline: str
    name: str
    index: int  # deals the loopback port, the subnet and the proxy's backends
    engine: str = DOCKER  # what it runs on; it changes only while nothing is there
    active: Slot | None = None
    slots: dict[Slot, SlotRecord] = field(default_factory=dict)
    switching: Slot | None = None  # intent, written before the switch
    hold: Hold | None = None
    quarantine: tuple[Quarantined, ...] = ()
    good: tuple[int, ...] = ()  # releases that were verified here, oldest first
    pairs: dict[int, tuple[str, str]] = field(default_factory=dict)  # of the good ones: image, fingerprint
    newest_run: int = 0  # the newest push or deploy run that came to serve here: nothing older follows it
    interrupt: int = 0  # a revert's run number: whoever else works here gives up

    @property
    def id(self) -> str:
        return f"{self.pipeline}/{self.name}"

    @property
    def serving(self) -> int | None:
        """The number of the release that takes the traffic, or None."""
        record = self.slots.get(self.active) if self.active else None
        return record.release if record else None
