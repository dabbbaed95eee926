"""What the containers of an installation take of an engine's machines."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from pipeline.domain.capacity.room import Room
from pipeline.domain.cost.taken import Size, Taken


class Metering(Protocol):
    """Read-only."""

    def taken(self) -> tuple[Taken, ...]:
        """All that runs there for this installation now, sorted by name. Raises EngineAway, and EngineFailed if the
        engine cannot tell."""

    def machine_size(self, labels: Collection[str] = ()) -> Size | None:
        """What the machine has, or all nodes of a cluster, which are told apart by these labels; None if this account
        may not know. Raises as ``taken``."""

    def room(self, *, takers: bool = False) -> Room:
        """What the machine uses now, or all machines of a cluster, for Pushlive and for others. What this account may
        not know, or what cannot be known from here, is None. ``takers``: also counts what takes the disk, for which an
        engine may need up to a minute and a half. Raises as ``taken``."""
