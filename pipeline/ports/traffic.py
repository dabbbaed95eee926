"""Which slot takes the traffic."""

from __future__ import annotations

from typing import Protocol

from pipeline.domain.engine_types import Route, SlotRef, SlotSpec
from pipeline.domain.environment import Slot
from pipeline.ports.clock import Watch


class Traffic(Protocol):
    """Moves the traffic between the slots of an environment.

    Call order for one deployment: ``expose · preview … switch · public …`` and later ``drain`` of the other slot.
    ``switch`` to a slot that was not exposed is refused.
    """

    def expose(self, spec: SlotSpec) -> None:
        """Tells the proxy the slot's addresses, for the preview route only. Twice."""

    def preview(self, spec: SlotSpec) -> Route:
        """The way to this very slot through the proxy; not reachable for the public."""

    def public(self, spec: SlotSpec) -> Route:
        """The environment's public route, with the servers of this spec as the expected ones."""

    def switch(self, spec: SlotSpec) -> None:
        """The one atomic act: traffic goes to this slot. Survives a restart of the proxy. Twice."""

    def unroute(self, ref: SlotRef) -> None:
        """The environment serves the explained 503 again. Twice."""

    def serving(self, ref: SlotRef) -> Slot | None:
        """The slot that the proxy really sends traffic to (``place.slot`` is ignored)."""

    def open_sessions(self, ref: SlotRef) -> int:
        """How many requests or connections the slot still serves."""

    def drain(self, ref: SlotRef, limit: float, watch: Watch) -> int:
        """Waits until the slot serves nothing more, at most ``limit`` seconds, then closes what is left.
        Returns how many were closed."""

    def detach(self, ref: SlotRef, mark: str) -> int:
        """Ends the connections to a slot that outlived a switch away from it, and leaves it warm. ``mark`` names that
        switch: the same one twice does it once. Returns how many containers had to be replaced for it: 0 where the
        proxy moves every connection with the switch."""
