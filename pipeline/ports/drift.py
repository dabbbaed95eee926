"""What is not as the store says."""

from __future__ import annotations

from typing import Protocol

from pipeline.domain.engine_types import SlotSpec


class Drift(Protocol):
    """Finds what was lost or changed in a slot, and brings it back."""

    def missing(self, spec: SlotSpec) -> tuple[str, ...]:
        """What keeps that slot from running and being exposed as the spec says, in words; empty when all is there.
        Changes nothing."""

    def restore(self, spec: SlotSpec) -> bool:
        """A slot that should run is made to run again (restart, or start anew), exposed; True if it acted."""

    def drift(self, spec: SlotSpec) -> tuple[str, ...]:
        """How a slot that runs differs from the spec, value by value: what somebody changed by hand, or what a changed
        configuration would change. Changes nothing; () where that is not to be known."""

    def revert_drift(self, spec: SlotSpec) -> None:
        """Takes back what somebody changed by hand in that slot, without taking it out of service. Twice."""
