"""Releases in slots: started, looked at, ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from pipeline.domain.engine_types import Replica, SlotRef, SlotSpec
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch


class Slots(Protocol):
    """Runs releases in slots.

    Call order for one deployment: ``prepare · fits · [Commands.command] · start · ready``, then the traffic's, and
    later ``stop``.
    """

    def prepare(self, ref: SlotRef, hosts: tuple[str, ...]) -> None:
        """The environment's network and its routes (host names, loopback port). Twice. Until the first
        switch the routes answer an explained 503. Costs no reload and no connection of anybody."""

    def fits(self, spec: SlotSpec) -> None:
        """Raises DoesNotFit, with the figures, when the slot's memory is not to be had beside what runs."""

    def start(self, spec: SlotSpec, watch: Watch) -> None:
        """Containers of that release in that slot, started, not yet ready. Twice: what is there and equal
        is kept, what is there and different is removed first."""

    def ready(self, spec: SlotSpec, emit: Emit, watch: Watch) -> tuple[Replica, ...]:
        """Waits until every replica answers its health path. Raises AppFailed within a second when one exits
        (exit code, last lines as evidence), or when the watch's deadline comes (TimedOut becomes AppFailed
        that names the port it listens on instead, or 127.0.0.1). Nothing is removed."""

    def replicas(self, ref: SlotRef) -> tuple[Replica, ...]:
        """What is in the slot now."""

    def logs(self, ref: SlotRef, lines: int) -> tuple[str, ...]:
        """The slot's last output lines, oldest first, prefixed with the replica where there are several."""

    def stop(self, ref: SlotRef) -> None:
        """Empties the slot: containers ended (bounded) and removed, addresses taken from the proxy. Twice."""

    def remove(self, ref: SlotRef) -> None:
        """The whole environment: both slots, routes and network. Twice."""

    def slots(self) -> Iterable[SlotRef]:
        """Every slot that has anything of this instance in it, running or kept (for reconciliation)."""
