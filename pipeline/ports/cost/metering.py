"""What the containers of an installation take of an engine's machines."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from pipeline.domain.cost.taken import Size, Taken


class Metering(Protocol):
    """Read-only."""

    def taken(self) -> tuple[Taken, ...]:
        """All that runs there for this installation now, sorted by name. Raises EngineAway, and EngineFailed if the
        engine cannot tell."""

    def machine_size(self, labels: Collection[str] = ()) -> Size | None:
        """What the machine has, or all nodes of a cluster, which are told apart by these labels; None if this account
        may not know. Raises as ``taken``."""
