"""Releases in slots: start, inspect, stop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from pipeline.domain.engine_types import Replica, SlotRef, SlotSpec, Written
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Watch

OUTPUT_LIMIT = 2 << 20  # bytes of the output of one replica; 10,000 lines may have 160 MB


class Slots(Protocol):
    """Runs releases in slots.

    Call order for one deployment: ``prepare · fits · [Commands.command] · start · ready``, then the traffic's, and
    later ``stop``.
    """

    def prepare(self, ref: SlotRef, hosts: tuple[str, ...], *, routes: bool = True) -> None:
        """Creates the environment's network and its routes (host names, loopback port); not these without ``routes``,
        for what has no web process. Idempotent. Until the first
        switch the routes answer 503 with an explanation. Does not reload the proxy nor break a connection."""

    def fits(self, spec: SlotSpec) -> None:
        """Raises DoesNotFit, with the figures, if there is not enough memory for the slot beside what runs."""

    def start(self, spec: SlotSpec, watch: Watch) -> None:
        """Starts containers of that release in that slot; they may not be ready yet. Idempotent: equal containers are
        kept, different ones are removed first. There are ``spec.replicas`` of them then."""

    def ready(self, spec: SlotSpec, emit: Emit, watch: Watch) -> tuple[Replica, ...]:
        """Waits until every replica answers on its health path. Raises AppFailed within a second if one exits (exit
        code, last lines as evidence), and at the watch's deadline (TimedOut becomes AppFailed; it says if the
        application listens on another port, or on 127.0.0.1 only). Removes nothing."""

    def scaled(self, ref: SlotRef) -> int:
        """How many replicas the slot is set to, also if not all of them run; 0 for an empty one, and always if only
        Pushlive sets the number (``EngineKind.scaled_by_others``)."""

    def replicas(self, ref: SlotRef) -> tuple[Replica, ...]:
        """What is in the slot now."""

    def logs(self, ref: SlotRef, lines: int) -> tuple[str, ...]:
        """The slot's last output lines, oldest first, prefixed with the replica if there are several; of each at most
        OUTPUT_LIMIT bytes."""

    def written(self, ref: SlotRef) -> tuple[Written, ...]:
        """What the application in the slot has written in its containers, which ends with them; not what every start
        makes again, nor what is in the volumes of the configuration. Of an anonymous volume at most one file. () if the
        engine does not tell (Kubernetes)."""

    def written_tar(self, ref: SlotRef, paths: tuple[str, ...]) -> Iterator[bytes]:
        """These files and folders of the slot's containers as one tar archive, each under its replica's number."""

    def stop_and_keep(self, ref: SlotRef) -> None:
        """Ends what runs in the slot, within a limit, and takes it out of the proxy. Its output and its files stay
        until ``stop``, if the kind of engine keeps what is stopped (``EngineKind.keeps_stopped``). Idempotent."""

    def stop(self, ref: SlotRef) -> None:
        """Stops the slot's containers (within a limit), removes them and their addresses in the proxy. Idempotent."""

    def remove(self, ref: SlotRef) -> str:
        """Removes the whole environment: both slots, routes and network. Idempotent. Returns "", or what had to stay
        and why, with what to do about it: a network that a container of others is in. If one part cannot be removed,
        the others are removed before that is raised."""

    def slots(self) -> Iterable[SlotRef]:
        """Every slot with containers of this instance, running or kept (for reconciliation)."""

    def environments(self) -> Iterable[SlotRef]:
        """A slot of every environment of which this instance has anything, and be it a network without containers."""
