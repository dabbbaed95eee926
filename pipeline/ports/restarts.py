"""Restarts of what serves."""

from __future__ import annotations

from typing import Protocol

from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch


class Restarts(Protocol):
    """Starts the containers of a release again, as they are."""

    def restart_slot(self, spec: SlotSpec, mark: str, emit: Emit, watch: Watch) -> None:
        """One replica after the other, each healthy before the next, so that no request is lost; then the slot's
        processes. ``mark``: names a container that takes the requests meanwhile if there is only one replica; letters
        and digits. Raises AppFailed if one does not become healthy: the others serve on then."""

    def forget_restart(self, ref: SlotRef, mark: str) -> None:
        """Removes that container. Idempotent."""
