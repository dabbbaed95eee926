"""Differences between an engine and what the store says."""

from __future__ import annotations

from typing import Protocol

from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.parity.by_hand import ByHand
from pipeline.domain.parity.seen import Seen


class Drift(Protocol):
    """Finds what was lost or changed in a slot, and repairs it."""

    def missing(self, spec: SlotSpec) -> tuple[str, ...]:
        """Why that slot is not running and exposed as the spec says, one sentence each; () if nothing is missing that
        ``restore`` could bring back. Read-only."""

    def obstacles(self, spec: SlotSpec) -> tuple[str, ...]:
        """What keeps a slot from running that ``restore`` cannot change, one sentence each. Read-only."""

    def restore(self, spec: SlotSpec) -> bool:
        """Restarts or recreates a slot that should run, and exposes it; True if it changed anything."""

    def drift(self, spec: SlotSpec) -> tuple[ByHand, ...]:
        """How a running slot differs from the spec, value by value, from what it was made as to what it is: after a
        manual change, with who made it and when as far as the engine knows; a cluster also says what a changed
        configuration changes. Values of variables are not shown. Read-only."""

    def revert_drift(self, spec: SlotSpec) -> None:
        """Reverts manual changes to that slot without taking it out of service. Idempotent. Raises EngineFailed, with
        what to do, for one that cannot be reverted while it serves; the others are reverted before."""

    def seen(self, spec: SlotSpec) -> Seen:
        """What really runs in that slot. ``inside`` is {} if nothing runs there that was made from the spec. The values
        of variables are in it, for comparison. Read-only."""
