"""What the containers of an installation take of an engine's machines."""

from __future__ import annotations

from typing import Protocol

from pipeline.domain.cost.taken import Size, Taken


class Metering(Protocol):
    """Read-only."""

    def taken(self) -> tuple[Taken, ...]:
        """All that runs there for this installation now, sorted by name. Raises EngineAway, and EngineFailed if the
        engine cannot tell."""

    def machine_size(self) -> Size | None:
        """What the machine has, or all machines of a cluster; None if this account may not know. Raises as
        ``taken``."""
