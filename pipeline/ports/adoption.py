"""What runs on an engine, for a store that knows nothing of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from pipeline.domain.accessories import FoundAccessory
from pipeline.domain.adoption import FoundEnvironment
from pipeline.domain.engine_types import SlotSpec


class Adoption(Protocol):
    """Read-only. It starts no proxy and changes none."""

    def survey(self) -> Iterable[FoundEnvironment]:
        """Every environment of this instance, also one whose slots are empty. Raises EngineAway, and EngineFailed if
        the proxy's routes cannot be read."""

    def spec_hash(self, spec: SlotSpec, replica: int) -> str:
        """The hash with which the engine would label containers of that spec (on Docker, that replica; without a web
        process, what is in its place): equal to
        ``FoundSlot.spec`` if it would keep those that are there."""

    def accessories_found(self) -> Iterable[FoundAccessory]:
        """Every accessory of this instance that has a container, with the values of its variables."""
