"""Which slot takes the traffic."""

from __future__ import annotations

from typing import Protocol

from pipeline.domain.engine_types import Answered, ReplicaHealth, Route, Share, SlotRef, SlotSpec
from pipeline.domain.environment import Slot
from pipeline.domain.judging.latency.times import Timed
from pipeline.domain.visitors.maintenance import Notice
from pipeline.ports.clock import Watch


class Traffic(Protocol):
    """Moves the traffic between the slots of an environment.

    Call order for one deployment: ``expose · preview … [share …] switch · public …`` and later ``drain`` of the other
    slot. ``switch`` to a slot that was not exposed is refused.
    """

    def expose(self, spec: SlotSpec) -> None:
        """Gives the proxy the slot's addresses, for the preview route only. Idempotent."""

    def preview(self, spec: SlotSpec) -> Route:
        """The route to this slot through the proxy, not reachable from outside."""

    def public(self, spec: SlotSpec) -> Route:
        """The environment's public route, with the servers of this spec as the expected ones."""

    def switch(self, spec: SlotSpec) -> None:
        """Moves all traffic to this slot, atomically. Survives a restart of the proxy. Ends a share. Idempotent."""

    def can_share(self, ref: SlotRef, route: str, percent: float) -> None:
        """Returns if the engine could give the slot that part of the visitors, by that HTTPRoute of a cluster; "" where
        it needs none. Raises ConfigError or EngineFailed, with what to do, if it could not. Changes nothing."""

    def share(self, spec: SlotSpec, percent: float, route: str = "") -> None:
        """From now on that part of the visitors who come new goes to this slot, the others to the one that serves.
        Each stays where it went, also if the part of the same spec changes; but an HTTPRoute (``route``, on a cluster)
        decides about each request. ``switch``, ``unshare``, ``pause`` and ``unroute`` end it. The slot counts as one
        that serves: it cannot be stopped or drained meanwhile. Atomic, survives a restart of the proxy. Idempotent.
        Raises RequestError if the slot was not exposed or no other one serves, and what ``can_share`` raises."""

    def unshare(self, ref: SlotRef) -> None:
        """All traffic goes to the slot that serves (``ref.slot`` is ignored). Idempotent."""

    def shared(self, ref: SlotRef) -> Share | None:
        """Which slot gets a part of the visitors beside the one that serves (``ref.slot`` is ignored); 0 % if it is not
        known how large a part. Read-only."""

    def unroute(self, ref: SlotRef) -> None:
        """Makes the environment answer 503 with an explanation again. Idempotent."""

    def pause(self, ref: SlotRef, seconds: float) -> bool:
        """From now on the environment's requests wait for its next ``switch``, each for that long at most; ``unroute``
        ends it as well. Nothing serves meanwhile. False if they get a 503 at once instead: the engine cannot let them
        wait. Survives a restart of the proxy. Idempotent."""

    def can_have_notice(self, ref: SlotRef) -> None:
        """Returns if visitors of the environment can be given a notice (``ref.slot`` is ignored). Raises ConfigError or
        EngineFailed, with what to do, if not. Changes nothing."""

    def set_notice(self, ref: SlotRef, notice: Notice | None) -> None:
        """From now on visitors get that notice with 503 and `Retry-After`, whether anything serves or sleeps; None
        ends it (``ref.slot`` is ignored). Our own checks of the routes and the preview go on as before. It stays
        through ``switch``, ``unroute``, ``pause`` and a restart of the proxy, until the environment is removed.
        Idempotent. Raises RequestError if nothing was prepared there, and what
        ``can_have_notice`` raises."""

    def has_notice(self, ref: SlotRef, notice: Notice | None) -> bool:
        """True if visitors get exactly that notice now (None: none). Read-only."""

    def waited(self, ref: SlotRef) -> int:
        """A count that grows with each request that has to wait in that environment (``ref.slot`` is ignored)."""

    def serving(self, ref: SlotRef) -> Slot | None:
        """The slot that the proxy sends traffic to (``ref.slot`` is ignored)."""

    def renew_checks(self, spec: SlotSpec) -> None:
        """Lets what checks the health of an exposed slot ask as the spec says: an earlier version may not have told it.
        Idempotent."""

    def health(self, spec: SlotSpec) -> tuple[ReplicaHealth, ...]:
        """What the checks found of each replica that was exposed, in order; () if none was. An unhealthy one gets no
        requests, unless all are and it is ``tried``. Read-only."""

    def answered(self, ref: SlotRef) -> Answered | None:
        """What the slot has answered since its proxy started: counters that begin at zero again with the next one. None
        if the engine does not count. Read-only."""

    def sent(self, ref: SlotRef) -> int | None:
        """How many bytes of answers the slot has sent since its proxy started. None if the engine does not count.
        Read-only."""

    def timed(self, ref: SlotRef) -> Timed | None:
        """How long people waited for the slot's answers since its proxy started. None if the engine, or the proxy of an
        earlier version, does not measure it. Read-only."""

    def open_sessions(self, ref: SlotRef) -> int:
        """How many requests or connections the slot still serves."""

    def drain(self, ref: SlotRef, limit: float, watch: Watch) -> int:
        """Waits until the slot has no open session, at most ``limit`` seconds, then closes those that are left.
        Returns how many it closed."""

    def detach(self, ref: SlotRef, mark: str) -> int:
        """Closes connections to a slot that are still open after a switch away from it, and leaves the slot warm.
        Idempotent for one ``mark``, which names the switch. Returns how many containers were replaced for it: 0 if
        the proxy moves every connection with the switch."""
