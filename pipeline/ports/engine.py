"""Running releases in slots, and moving traffic between them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from pipeline.domain.engine_types import CommandResult, Replica, Route, SlotRef, SlotSpec
from pipeline.domain.environment import Slot
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch


class Engine(Protocol):
    """Runs releases in slots and moves the traffic between slots.

    Call order for one deployment: ``prepare · fits · [command] · start · ready · expose · preview … switch ·
    public …`` and later ``drain · stop``. ``switch`` to a slot that was not exposed is refused.
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

    def replicas(self, ref: SlotRef) -> tuple[Replica, ...]:
        """What is in the slot now."""

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

    def open_sessions(self, ref: SlotRef) -> int:
        """How many requests or connections the slot still serves."""

    def drain(self, ref: SlotRef, limit: float, watch: Watch) -> int:
        """Waits until the slot serves nothing more, at most ``limit`` seconds, then closes what is left.
        Returns how many were closed."""

    def detach(self, ref: SlotRef, mark: str) -> int:
        """Ends the connections to a slot that outlived a switch away from it, and leaves it warm. ``mark`` names that
        switch: the same one twice does it once. Returns how many containers had to be replaced for it: 0 where the
        proxy moves every connection with the switch."""

    def stop(self, ref: SlotRef) -> None:
        """Empties the slot: containers ended (bounded) and removed, addresses taken from the proxy. Twice."""

    def command(
        self, spec: SlotSpec, name: str, argv: tuple[str, ...], env: dict[str, str], emit: Emit, watch: Watch
    ) -> CommandResult:
        """Runs a command in a container of the release, on the environment's network. ``name`` makes it
        unique: called again, it finds the earlier container and returns or awaits its result. Raises
        OutcomeUnknown when one was begun and its result is not to be had."""

    def forget_command(self, spec: SlotSpec, name: str) -> None:
        """Removes a finished command's container. Twice."""

    def command_runs(self, ref: SlotRef) -> frozenset[int]:
        """The runs of which containers of commands are still in that environment."""

    def forget_commands(self, ref: SlotRef, run: int) -> None:
        """Removes that run's containers of commands from the environment. Twice."""

    def logs(self, ref: SlotRef, lines: int) -> tuple[str, ...]:
        """The slot's last output lines, oldest first, prefixed with the replica where there are several."""

    def remove(self, ref: SlotRef) -> None:
        """The whole environment: both slots, routes and network. Twice."""

    def slots(self) -> Iterable[SlotRef]:
        """Every slot that has anything of this instance in it, running or kept (for reconciliation)."""
